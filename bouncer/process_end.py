"""The end of a process: what ends with it anyway is not taken apart first."""

import atexit
import gc
from functools import cache

__all__ = ["end_at_once"]


@cache
def end_at_once() -> None:
    """Has no garbage looked for when this process ends.

    Python would go through everything that imports have made, for what refers to each other in circles: with Prefect
    and pandas half a second after a command's last word. Whatever has to be closed, closes by itself before.
    """
    atexit.register(gc.freeze)
