"""Lives of batches in a simulated world: the project's own code, in virtual time, with a seed.

Time is made virtual before anything of the product is imported, some of which takes the clock's function by name.
"""

from tests.simulation.machine import virtual_time

virtual_time.install()
