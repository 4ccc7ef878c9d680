"""A graceful stop: a first signal lets things end, and what waits wakes at once."""

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import FrameType

import pytest

from bouncer.errors import Stopped
from tasks.running.stopping import graceful_run, graceful_signals, is_stopping, sleep_unless_stopping


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


def test_a_signal_is_heard_after_a_subflow_has_put_prefects_handler() -> None:
    """Subflows that overlap within a run, each of which Prefect gives its own handler, all end gracefully."""
    before = signal.getsignal(signal.SIGTERM)

    def prefects(number: int, _frame: FrameType | None) -> None:
        raise AssertionError(number)

    with graceful_run(), ExitStack() as first, ExitStack() as second:
        for run in (first, second):
            ours = signal.signal(signal.SIGTERM, prefects)
            run.callback(signal.signal, signal.SIGTERM, ours)
            run.enter_context(graceful_run())
        first.close()
        os.kill(os.getpid(), signal.SIGTERM)
        assert is_stopping()
    assert signal.getsignal(signal.SIGTERM) is before
    assert not is_stopping()


def test_flows_outside_the_main_thread_leave_signals_alone() -> None:
    """Only the main thread may set handlers; the command line runs its flows in another one."""

    def run() -> bool:
        with graceful_run():
            return signal.getsignal(signal.SIGTERM) is before

    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run).result()


def test_a_run_that_has_ended_lets_its_process_end() -> None:
    """As with a command: for half a second more Python looked for garbage in all that Prefect had made."""
    first = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count()))"
    run = "from tasks.running.stopping import graceful_run\nwith graceful_run(): pass"
    done = subprocess.run([sys.executable, "-c", f"{first}\n{run}"], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10_000
