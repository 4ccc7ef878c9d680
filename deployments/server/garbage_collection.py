"""Collects what Python's reference counts leave: seldom in commands, in the local server on a thread of its own.

There it must never stop the event loop. A cursor of SQLite that is collected resets its statement, which needs the
mutex of its connection. Another thread may hold that for the whole busy timeout of 60 s, waiting for the writer whose
commit the event loop was about to send. With four ingests at once the loop of a Prefect server met that within a
minute, and nothing went on for 60 s.
"""

import gc
import threading
import time

__all__ = ["collect_aside", "collect_seldom"]

_NEW_OBJECTS = 20_000
_EVERY_SECONDS = 1
_WHOLE_EVERY = 60


def collect_aside() -> None:
    """Has garbage collected on a thread of its own from now on: what is young each second, all of it each minute."""
    gc.collect()
    # What the imports made stays for good.
    gc.freeze()
    gc.disable()
    threading.Thread(target=_collect, name="garbage", daemon=True).start()


def collect_seldom() -> None:
    """Has garbage looked for after 20,000 new objects, not 700.

    That was a tenth of the time that imports take, which leave none.
    """
    gc.set_threshold(_NEW_OBJECTS)


def _collect() -> None:
    rounds = 0
    while True:
        time.sleep(_EVERY_SECONDS)
        rounds += 1
        gc.collect(2 if rounds % _WHOLE_EVERY == 0 else 1)
