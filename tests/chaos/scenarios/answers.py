"""What Bouncer may answer, or fail to: every row of the error table."""

import random
from typing import Any

from tests.chaos.invariants import Expected
from tests.chaos.scenarios.registry import Play, scenario
from tests.chaos.site import Account, Site
from tests.ports import free_port

__all__: list[str] = []

_END_SECONDS = 300.0
_CALLS = ("create", "status", "download")


def _faults(*faults: dict[str, Any], expected: Expected, batches: int = 4, **settings: Any) -> Play:
    # Each fault comes at a moment that the seed draws.
    def play(site: Site, draw: random.Random) -> Expected:
        if settings:
            site.sandbox.post("/_sandbox/settings", settings)
        site.queue(draw, batches)
        for fault in faults:
            site.sandbox.fault(**{"after": draw.randrange(batches - 1), **fault})
        site.ingest().wait(_END_SECONDS)
        return expected

    return play


def _put(name: str, *faults: dict[str, Any], expected: Expected | None = None, **more: Any) -> None:
    scenario(name, short=False)(_faults(*faults, expected=expected or Expected(), **more))


_put("429 with Retry-After", *({"kind": "status", "operation": o, "code": 429, "retry_after": 2} for o in _CALLS))
_put("429 without Retry-After", {"kind": "status", "operation": "any", "code": 429})
_put("503 to each call", *({"kind": "status", "operation": o, "code": 503, "times": 2} for o in _CALLS))
_put("502 as a page to a status check", {"kind": "status", "operation": "status", "code": 502, "html": True})
_put("504 to status and download", *({"kind": "status", "operation": o, "code": 504} for o in _CALLS[1:]))
_put(
    "500 to an upload that was taken",
    {"kind": "status", "operation": "create", "code": 500, "processed": True},
    expected=Expected(lost_uploads=1),
)
_put(
    "502 to an upload that was not taken",
    {"kind": "status", "operation": "create", "code": 502, "html": True},
    expected=Expected(lost_uploads=1),
)
_put(
    "504 to uploads, taken and not",
    {"kind": "status", "operation": "create", "code": 504, "processed": True},
    {"kind": "status", "operation": "create", "code": 504},
    expected=Expected(lost_uploads=2),
)
_put("answer to an upload lost", {"kind": "lost_answer", "operation": "create"}, expected=Expected(lost_uploads=1))
_put("answer to an upload cut", {"kind": "cut_body", "operation": "create"}, expected=Expected(lost_uploads=1))
_put("answer to an upload malformed", {"kind": "malformed", "operation": "create"}, expected=Expected(lost_uploads=1))
_put("connection cut before an upload", {"kind": "refuse", "operation": "create"}, expected=Expected(lost_uploads=1))
_put("connection cut before other calls", *({"kind": "refuse", "operation": o, "times": 2} for o in _CALLS[1:]))
_put("status cut and malformed", *({"kind": k, "operation": "status"} for k in ("cut_body", "malformed")))
_put("download cut mid-body", {"kind": "cut_body", "operation": "download", "times": 2})
_put("download malformed", {"kind": "malformed", "operation": "download", "times": 2})
_put("download cut again and again", {"kind": "cut_body", "operation": "download", "times": 8, "after": 0})
_put("slow answers", *({"kind": "slow", "operation": o, "seconds": 5} for o in _CALLS))
_put("slow bodies", *({"kind": "slow_body", "operation": o, "seconds": 5} for o in _CALLS))
_put("400 to an upload, once", {"kind": "status", "operation": "create", "code": 400})
_put("400 to uploads, three times", {"kind": "status", "operation": "create", "code": 400, "times": 3})
_put("404 at first", {"kind": "late", "seconds": 3, "times": 2})
_put("Bouncer forgets a batch", {"kind": "forget"})
_put("results removed before they are fetched", {"kind": "removed"})
_put("405 to a download", {"kind": "not_completed", "times": 2})
_put("400 not completed to a download", {"kind": "not_completed", "code": 400, "times": 2})
_put("results are missing", expected=Expected(failed=None), missing_results=0.1)
_put("results match nothing", unmatched_results=0.1)
_put("unknown statuses", expected=Expected(true_verdicts=False), odd_statuses=0.2)
_put("Bouncer is away: the breaker opens", {"kind": "status", "operation": "any", "code": 503, "times": 20, "after": 2})


@scenario("400 to every upload", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(batch_size=4)
    site.queue(draw, 2)
    site.sandbox.fault("status", operation="create", code=400, times=None)
    site.ingest().wait(_END_SECONDS)
    return Expected(failed=site.imported)


@scenario("a batch is stuck beyond its deadline", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(deadline_seconds=4)
    site.queue(draw, 3)
    site.sandbox.fault("stuck", fraction=draw.choice([0.0, 0.5, 0.9]), times=draw.randint(1, 2))
    site.ingest().wait(_END_SECONDS)
    return Expected()


@scenario("a finish is refused, then granted", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(deadline_seconds=4)
    site.queue(draw, 3)
    site.sandbox.fault("stuck", fraction=draw.choice([0.0, 0.5, 0.9]))
    site.sandbox.fault("finish_refused", code=draw.choice([200, 400]), times=draw.randint(1, 3))
    site.ingest().wait(_END_SECONDS)
    return Expected()


@scenario("a download can never be read", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(deadline_seconds=6)
    site.queue(draw, 4)
    site.sandbox.fault("garbled", times=draw.randint(1, 3), after=draw.randrange(2))
    site.ingest().wait(_END_SECONDS)
    return Expected()


@scenario("out of credits, then topped up", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw)
    site.sandbox.post("/_sandbox/credits", {"key": site.key, "credits": draw.randint(0, 120)})
    site.ends_with(site.ingest(), 2)
    site.sandbox.post("/_sandbox/credits", {"key": site.key, "credits": 10_000})
    return Expected()


@scenario("the key is revoked, then another is set", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.sandbox.post("/_sandbox/settings", {"fixed_seconds": 2})
    site.queue(draw)
    site.sandbox.post("/_sandbox/keys", {"key": "rotated-key", "same_account_as": site.key})
    run = site.ingest()
    site.until_seen(draw.choice(["create", "status"]), draw.randint(1, 3))
    site.sandbox.revoke(site.key)
    site.ends_with(run, 2)
    site.key = "rotated-key"
    return Expected()


@scenario("403 to one call", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 3)
    site.sandbox.fault("status", operation=draw.choice(_CALLS), code=403, after=draw.randrange(2))
    site.ends_with(site.ingest(), 2)
    return Expected()


@scenario("nobody listens at Bouncer's address", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw, 2)
    site.ends_with(site.ingest(BOUNCER_API_BASE_URL="http://127.0.0.1:9/v1.1"), 2)
    return Expected()


@scenario("more 429 than calls", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.sandbox.post("/_sandbox/settings", {"requests_per_minute": 20})
    site.queue(draw, 5)
    site.ingest().wait(_END_SECONDS)
    return Expected()


@scenario("hold: answers to uploads lost", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(ambiguous_upload="hold", slots=5)
    site.queue(draw, 4)
    lost = draw.randint(1, 3)
    kind = draw.choice(["lost_answer", "cut_body", "malformed", "refuse"])
    site.sandbox.fault(kind, operation="create", after=draw.randrange(2), times=lost)
    site.ingest().wait(_END_SECONDS)
    return Expected(lost_uploads=None, held=True)


@scenario("hold: kill -9 between a request and its answer", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(ambiguous_upload="hold", slots=4)
    site.queue(draw, 3)
    before = draw.randrange(3)
    site.sandbox.fault("slow_body", operation="create", after=before, seconds=60)
    run = site.ingest()
    site.until(lambda: len(site.sandbox.batches()) > before, "the batch at the sandbox")
    run.kill()
    return Expected(lost_uploads=None, held=True)


@scenario("hold: as many answers lost as there are slots", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(ambiguous_upload="hold", slots=2)
    site.queue(draw, 3)
    site.sandbox.fault(draw.choice(["lost_answer", "cut_body"]), operation="create", times=2)
    site.ends_with(site.ingest(), 2)
    site.send_held_again()
    return Expected(lost_uploads=2)


@scenario("502 to as many uploads as there are slots", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.queue(draw)
    site.sandbox.fault("status", operation="create", code=502, processed=True, times=site.account.slots)
    site.ingest().wait(_END_SECONDS)
    return Expected(lost_uploads=site.account.slots)


@scenario("five answers to one upload lost", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(slots=6)
    site.queue(draw, 1)
    site.sandbox.fault("lost_answer", operation="create", times=5)
    site.ingest().wait(_END_SECONDS)
    return Expected(failed=site.imported, lost_uploads=5)


@scenario("callbacks: answers to uploads lost", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(callback_port=free_port(), ambiguous_upload=draw.choice(["resubmit", "hold"]))
    # More of them than one, and not all at once, as an unsteady network does.
    site.sandbox.post("/_sandbox/settings", {"callback_shape": draw.choice(["summary", "nested", "form"])})
    site.queue(draw)
    kind = draw.choice(["lost_answer", "cut_body", "malformed"])
    site.sandbox.fault(kind, operation="create", after=draw.randrange(2), times=draw.randint(1, 3))
    site.ingest().wait(_END_SECONDS)
    return Expected(paid_once=True)


@scenario("callbacks: kill -9 between a request and its answer", short=False)
def _(site: Site, draw: random.Random) -> Expected:
    site.account = Account(callback_port=free_port(), slots=2)
    # Nobody receives them for a while, so they come more than once.
    site.sandbox.post("/_sandbox/settings", {"callback_repeats": 60, "callback_delay_seconds": 1})
    site.queue(draw, 3)
    before = draw.randrange(3)
    site.sandbox.fault("slow_body", operation="create", after=before, seconds=60)
    run = site.ingest()
    site.until(lambda: len(site.sandbox.batches()) > before, "the batch at the sandbox")
    run.kill()
    # Where another upload was killed before it was sent, nobody calls, and it counts as lost.
    return Expected(lost_uploads=None, paid_once=True)
