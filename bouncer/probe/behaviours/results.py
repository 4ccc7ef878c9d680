"""Rows on verdicts, in batches and in real time."""

from bouncer.probe.behaviours.row import Behaviour, Mark

__all__ = ["RESULTS"]

_API = "tests/sandbox/test_sandbox_api.py::test_"
_CREDITS = "tests/sandbox/test_sandbox_credits.py::test_"
_VERDICTS = "tests/sandbox/test_sandbox_verdicts.py::test_"
_MODELS = "tests/bouncer/api/test_answers.py::test_"
_LOADING = "tests/bouncer/batches/test_load.py::test_"

RESULTS = (
    Behaviour(
        "required-fields",
        "`email`, `status` and `reason` are always there; all else can be missing or null, and more fields occur",
        Mark.DOCUMENTED,
        "openapi.yml, EmailRecord",
        "an answer without the three is no verdict; what was not told stays untold",
        f"{_LOADING}an_answer_without_status_or_reason_is_no_verdict",
        ("field Verdict.email", "field Verdict.status", "field Verdict.reason", "setting odd_statuses"),
        "such addresses are counted as missing and requeued, three times at most",
    ),
    Behaviour(
        "each-address-once",
        "each address sent comes back once; `email` is echoed, in another case perhaps",
        Mark.ASSUMED,
        "openapi.yml, getBatchResults, by its example",
        "joined on the address; a result for none, an address without one: counted, shown, requeued",
        f"{_LOADING}joined_on_the_address_in_any_order_and_case",
        ("setting missing_results", "setting unmatched_results"),
        "addresses without a result are requeued, three times at most, and may be paid twice",
    ),
    Behaviour(
        "left-out-cost-nothing",
        "an address that a download leaves out is not charged",
        Mark.ASSUMED,
        "nowhere said",
        "it counts as perhaps paid twice if Bouncer charged more than came back",
        f"{_CREDITS}results_that_are_left_out_cost_nothing",
    ),
    Behaviour(
        "reasons",
        "risky: `low_deliverability` (catch-all or full mailbox), `low_quality` (disposable); undeliverable: "
        "`invalid_email`, `invalid_domain`, `rejected_email`; unknown: `dns_error`, `unavailable_smtp`, `unsupported`, "
        "`timeout`, `unknown`",
        Mark.DOCUMENTED,
        "terminology, Reasons",
        "stored word for word, also others",
        f"{_VERDICTS}the_documented_meanings_hold",
        (
            *("reason accepted_email", "reason low_deliverability", "reason low_quality", "reason rejected_email"),
            *("reason invalid_email", "reason invalid_domain", "reason dns_error", "reason timeout"),
            *("reason unavailable_smtp", "reason unsupported", "reason unknown"),
        ),
        "stored as they come; exports and the deep pass go by the status",
    ),
    Behaviour(
        "free-verdicts",
        "the free addresses answer as named: `deliverable`, `free`, `disposable`, `accept-all`, `undeliverable`, "
        "`unknown`, `other`",
        Mark.ASSUMED,
        "sandbox page has the names; what they answer is read out of them",
        "nothing hangs on it",
        f"{_CREDITS}sandbox_addresses_are_free_and_answer_as_named",
        (),
        "a demo with a real key shows other verdicts",
    ),
    Behaviour(
        "broken-addresses",
        "an address of bad syntax has only `email`, echoed raw, `status`, `reason` and `didYouMean`",
        Mark.DOCUMENTED,
        "openapi.yml, verifySingleEmail, its last example",
        "addresses are checked before they are sent; what comes back is normalised, then joined",
        f"{_API}a_broken_address_is_echoed_raw_with_what_was_meant",
        ("field Verdict.did_you_mean",),
    ),
    Behaviour(
        "result-fields",
        "`domain` and `account` hold yes, no or unknown; `score` is 0 to 100 and missing where it makes no sense, "
        "`toxicity` 0 to 5; `dns` has `type` and `record`, in the SDK `records` too",
        Mark.DOCUMENTED,
        "openapi.yml, EmailRecord; terminology; Java SDK",
        "no score is not 0; catch-all is `acceptAll` yes and nothing else; details are stored as they come",
        f"{_MODELS}a_whole_verdict",
        (
            *("field Verdict.domain", "field Verdict.account", "field Verdict.dns", "field Verdict.provider"),
            *("field Verdict.score", "field Verdict.toxic", "field Verdict.toxicity"),
        ),
        "what fits no column counts as not told",
    ),
    Behaviour(
        "resolved-catch-all",
        "`acceptAll` yes comes with deliverable, `accepted_email` and score 90 in 8 of 10 answers",
        Mark.SEEN,
        "answers to a real key",
        "the deep pass leaves them alone",
        "tests/bouncer/repeats/test_deep_pass.py::test_only_doubt_is_bought",
    ),
    Behaviour(
        "deep",
        "deep catch-all verification is a setting of an account or key, not of a call; it resolves most catch-alls",
        Mark.ASSUMED,
        "Bouncer's product pages; the API has no parameter for it",
        "a second account block with a layer of its own",
        "tests/bouncer/repeats/test_deep_pass.py::test_accounts_take_only_their_layer",
    ),
    Behaviour(
        "grey-listing",
        "`retryAfter` tells when a grey-listed address may be retried",
        Mark.DOCUMENTED,
        "verify-email page; openapi.yml, verifySingleEmail",
        "second chances wait for it",
        f"{_VERDICTS}some_unknown_addresses_may_be_retried",
        ("field Verdict.retry_after",),
    ),
    Behaviour(
        "real-time",
        "`GET /email/verify` verifies one address within `timeout` seconds, 10 by default, 30 at most; a plus is sent "
        "as %2B",
        Mark.DOCUMENTED,
        "verify-email page; integration guidelines, Encoding",
        "REALTIME_TIMEOUT_SECONDS; an answer without a verdict is of unknown outcome",
        f"{_API}one_address_can_be_verified_at_once",
        ("call verify", "message NO_EMAIL"),
        "real time is of no use with this account; leave REALTIME_MAX_ADDRESSES at 0",
    ),
    Behaviour(
        "real-time-limits",
        "1,000 verifications a minute, and a number an hour that nothing tells",
        Mark.DOCUMENTED,
        "verify-email page (a minute); integration guidelines, Real-Time (an hour)",
        "15 a second, and REALTIME_PER_HOUR at most: a larger request goes as a batch",
        "tests/sandbox/test_sandbox_limits.py::test_real_time_has_an_hourly_limit",
        ("setting realtime_per_minute", "setting realtime_per_hour"),
    ),
    Behaviour(
        "sync",
        "`POST /email/verify/batch/sync` answers what is known and keeps results for 24 hours",
        Mark.DOCUMENTED,
        "integration guidelines, Batch/Sync; it gave nothing for fresh addresses",
        "not used",
        "tests/docs/test_bouncer_page.py::test_no_call_is_sent_that_has_no_row",
    ),
)
