"""The limits that an account needs: no setting of them can pass Bouncer's limit, and little is given away."""

from hypothesis import given
from hypothesis import strategies as st

from blocks.limits import REALTIME_PER_MINUTE, UPLOADS_PER_MINUTE, limits_of, token_bucket
from bouncer.installation import here


@given(st.integers(min_value=2, max_value=100_000))
def test_no_60_seconds_pass_the_ceiling_and_hardly_anything_is_given_away(per_minute: int) -> None:
    """A full bucket and what flows in a minute after it are never more than the ceiling, and 95 % of it at least."""
    slots, decay = token_bucket(per_minute)
    assert slots >= 1
    assert decay > 0
    assert 0.95 * per_minute <= slots + 60 * decay <= per_minute * (1 + 1e-12)


def test_two_hundred_a_minute_is_the_setting_that_was_measured() -> None:
    """The default ceiling is held by 20 slots and 3 a second, not by 200 slots, which let 364 pass."""
    assert token_bucket(200) == (20, 3.0)


@given(st.integers(min_value=2, max_value=100_000))
def test_slots_are_whole(per_minute: int) -> None:
    """Prefect's limits count in whole slots; a part of one would be refused."""
    assert isinstance(token_bucket(per_minute)[0], int)


def test_each_account_has_limits_of_its_own() -> None:
    """A second account shares no limit with the default one, whose limits have the names that people know."""
    default = limits_of("default", batches=15, requests_per_minute=200)
    deep = limits_of("deep", batches=15, requests_per_minute=200)
    names = ["bouncer-batches", "bouncer-api", "bouncer-uploads", "bouncer-realtime"]
    assert [limit.name for limit in default] == names
    assert [limit.name for limit in deep] == [f"{name}-deep" for name in names]
    assert here().limit("uploads", "deep") == "bouncer-uploads-deep"


def test_fifteen_free_slots_are_filled_at_once() -> None:
    """A third of the minute's uploads may pass at once; with a tenth, fifteen slots took ten seconds."""
    uploads = limits_of("default", batches=15, requests_per_minute=200)[2]
    assert (uploads.slots, uploads.decay_per_second) == (20, 40 / 60)


@given(st.integers(min_value=2, max_value=100_000), st.integers(min_value=1, max_value=1000))
def test_uploads_have_a_lower_limit_of_their_own(per_minute: int, batches: int) -> None:
    """Uploads pass neither Bouncer's 60 a minute nor the account's ceiling, and slots are held, not decaying."""
    slots, _, uploads, realtime = limits_of("default", batches=batches, requests_per_minute=per_minute)
    assert (slots.slots, slots.decay_per_second) == (batches, 0)
    assert realtime.slots + 60 * realtime.decay_per_second <= REALTIME_PER_MINUTE
    assert uploads.slots + 60 * uploads.decay_per_second <= min(per_minute, UPLOADS_PER_MINUTE) * (1 + 1e-12)
