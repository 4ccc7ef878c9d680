"""A graceful stop: a first signal lets things end, and what waits wakes at once."""

import asyncio
import os
import signal

import pytest

from bouncer.errors import Stopped
from tasks.stopping import graceful_signals, is_stopping, sleep_unless_stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_wakes_what_sleeps(number: signal.Signals) -> None:
    """A run that would sleep for an hour ends at the first signal, and says that nothing is lost."""
    with graceful_signals():
        sleeping = asyncio.create_task(sleep_unless_stopping(3600))
        await asyncio.sleep(0)
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped, match="the batch goes on with the next run"):
            await asyncio.wait_for(sleeping, 10)
        assert is_stopping()
    assert not is_stopping()


def test_the_second_signal_ends_the_process_as_usual() -> None:
    """Somebody who presses Ctrl-C twice need not wait."""
    with graceful_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


async def test_a_sleep_that_nobody_disturbs_ends_by_itself() -> None:
    """No signal, no exception."""
    with graceful_signals():
        await sleep_unless_stopping(0.01)
