"""The bar of a batch moves as people see it, not with every poll."""

from prefect import flow, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from deployments.server.local_server import LocalServer
from tasks.batches.progress_bar import ProgressBar, is_worth_showing


def _updates(batch_seconds: int, poll_seconds: int = 30) -> int:
    """How often the bar of a steady batch is moved."""
    shown, since, updates = 0, 0, 0
    for elapsed in range(poll_seconds, batch_seconds, poll_seconds):
        percent = 100 * elapsed // batch_seconds
        if is_worth_showing(shown, percent, elapsed - since):
            shown, since, updates = percent, elapsed, updates + 1
    return updates


def test_an_hour_long_batch_does_not_move_its_bar_at_all_of_its_120_polls() -> None:
    """A bar moves at each poll of a short batch, once a minute in an hour, and a hundred times in half a day."""
    assert _updates(60) == 1
    assert _updates(600) == 19
    assert _updates(3_600) <= 60
    assert _updates(12 * 3_600) < 100


def test_a_bar_moves_at_a_leap_or_once_a_minute_but_never_within_a_percent() -> None:
    """What nobody would see costs no request; a batch that leaps ahead is seen to at once."""
    assert is_worth_showing(10, 15, 0)
    assert not is_worth_showing(10, 14, 59)
    assert is_worth_showing(10, 11, 60)
    assert not is_worth_showing(10, 10, 10_000)


async def test_a_bar_ends_at_a_hundred_percent(prefect_server: LocalServer) -> None:
    """However little was left when it last moved, a verified batch has a full bar."""

    @flow
    async def polling() -> None:
        bar = await ProgressBar.begin(8_000_001, 10_000, 3, 0)
        await bar.move(4, 1)
        assert (await _bar()).data == 3
        await bar.move(99, 2)
        assert (await _bar()).data == 99
        await bar.end(3)

    await polling()
    assert (await _bar()).data == 100


async def _bar() -> Artifact:
    async with get_client() as client:
        of_batch = ArtifactFilter(key=ArtifactFilterKey(any_=["batch-8000001"]))
        (bar,) = await client.read_artifacts(artifact_filter=of_batch)
    return bar
