"""Rows on refusals, limits and broken answers."""

from bouncer.probe.behaviours.row import Behaviour, Mark

__all__ = ["ERRORS"]

_API = "tests/sandbox/test_sandbox_api.py::test_"
_FAULTS = "tests/sandbox/test_sandbox_faults.py::test_"
_LIMITS = "tests/sandbox/test_sandbox_limits.py::test_"
_CLIENT = "tests/bouncer/api/test_client.py::test_"
_CLIENT_FAULTS = "tests/bouncer/api/test_client_faults.py::test_"
_TRUST = "tests/trust/test_hostile_answers.py::test_"

ERRORS = (
    Behaviour(
        "version",
        "nothing answers without the version in the path, /v1.1",
        Mark.DOCUMENTED,
        "openapi.yml, servers and paths",
        "BOUNCER_API_BASE_URL has it",
        f"{_API}nothing_answers_without_the_version_in_the_path",
        (),
        "nothing",
    ),
    Behaviour(
        "credits",
        "`GET /credits` tells what a new batch can hold",
        Mark.DOCUMENTED,
        "openapi.yml, getCredits",
        "asked once every ten minutes, and before a paused account resumes",
        f"{_CLIENT}a_batch_from_upload_to_verdicts",
        (),
        "credits cannot be shown, nor the end of a lack of them be found",
    ),
    Behaviour(
        "error-body",
        "an error is `{status, error, message}`; `status` is a string or a number, and may differ from HTTP's",
        Mark.DOCUMENTED,
        "openapi.yml: 401 and 429 are numbers, others strings; too many emails has HTTP 400 and status 404",
        "HTTP's status decides, or the body's where HTTP says 2xx",
        f"{_API}an_error_s_status_is_a_number_or_a_string_as_documented",
        ("fault status",),
        "reasons of refusals are shown less well; what they mean goes by HTTP's status",
    ),
    Behaviour(
        "error-in-200",
        "an error can come with 200",
        Mark.DOCUMENTED,
        "openapi.yml, finishBatch",
        "any 2xx body with `error` is a refusal, unless it names a batch or an address",
        f"{_CLIENT_FAULTS}every_fault_becomes_its_outcome",
    ),
    Behaviour(
        "wrong-key",
        "a wrong key is refused with 401, user not found",
        Mark.DOCUMENTED,
        "openapi.yml; Java SDK",
        "the account stops with a message that names the block to mend; 403 means the same",
        f"{_API}an_unknown_key_is_refused",
        ("message UNKNOWN_KEY", "outcome KeyRefused"),
        "a wrong key is not recognised as one, and would be retried again and again",
    ),
    Behaviour(
        "missing-key",
        "a call without a key is refused with 401, api key is required",
        Mark.DOCUMENTED,
        "Java SDK",
        "an empty key is refused before anything is sent",
        f"{_API}a_call_without_a_key_is_told_so",
        ("message NO_KEY",),
        "nothing: an empty key is never sent",
    ),
    Behaviour(
        "unknown-batch",
        "a batch that is not there, or not there yet, is answered with 404, request … does not exist",
        Mark.DOCUMENTED,
        "openapi.yml, getBatch, getBatchResults, deleting a batch",
        "a minute's patience, then the batch counts as lost and its contacts are requeued",
        f"{_CLIENT_FAULTS}a_batch_that_is_gone",
        ("message NO_SUCH_BATCH", "fault forget", "fault late"),
        "a batch that Bouncer has lost is waited for until its deadline",
    ),
    Behaviour(
        "malformed-upload",
        "an upload that is no list of addresses is refused with 400",
        Mark.DOCUMENTED,
        "integration guidelines, Error Handling; its words are silent",
        "the batch is halved until the culprits are found; these fail with the reason",
        f"{_API}a_malformed_upload_is_refused",
        ("message MALFORMED", "outcome AddressesRefused"),
        "a refused upload could be taken for one in doubt; AMBIGUOUS_UPLOAD decides",
    ),
    Behaviour(
        "credits-limit",
        "`GET /credits` passes 10 times a minute; beyond a limit comes 429, with or without Retry-After",
        Mark.DOCUMENTED,
        "openapi.yml, getCredits (429); the number is from older versions",
        "waits as Bouncer asks, else until the minute has passed; a 429 costs no attempt",
        f"{_LIMITS}calls_for_credits_are_limited_apart",
        (
            *("setting credit_calls_per_minute", "setting send_retry_after"),
            *("message TOO_MANY_REQUESTS", "outcome RateLimited"),
        ),
        "nothing: it is asked once every ten minutes",
    ),
    Behaviour(
        "limits",
        "60 uploads a minute, and 200 calls about batches",
        Mark.DOCUMENTED,
        "introduction to batches",
        "every request, retries included, counts against RATE_LIMIT_PER_MINUTE; uploads against a limit of theirs too",
        f"{_LIMITS}no_more_than_200_calls_pass_in_any_minute",
        ("setting requests_per_minute", "setting uploads_per_minute"),
    ),
    Behaviour(
        "unavailable",
        "503 passes when it is retried",
        Mark.DOCUMENTED,
        "integration guidelines, Error Handling",
        "three attempts from 2 s on, then the circuit breaker counts it; unmade connections are retried too",
        f"{_CLIENT_FAULTS}a_passing_fault_costs_nothing_but_time",
        ("outcome BouncerUnavailable", "fault slow"),
    ),
    Behaviour(
        "no-idempotency",
        "an upload whose answer is lost cannot be found again: no key makes it safe to repeat, no call lists batches",
        Mark.DOCUMENTED,
        "openapi.yml, by what it does not have",
        "AMBIGUOUS_UPLOAD decides; 500, 502, 504 and a broken connection leave it in doubt; a callback can find it",
        f"{_CLIENT_FAULTS}an_upload_whose_answer_was_lost_is_not_sent_again",
        ("fault refuse", "fault lost_answer", "outcome UploadOutcomeUnknown"),
    ),
    Behaviour(
        "broken-answers",
        "an answer can break off, or be no JSON, as a gateway's page",
        Mark.ASSUMED,
        "nowhere said",
        "nothing half-read counts: a download is fetched again, any other call is retried",
        f"{_CLIENT_FAULTS}a_download_that_broke_off_is_downloaded_again",
        ("fault cut_body", "fault malformed", "fault slow_body", "fault garbled", "outcome DownloadTruncated"),
    ),
    Behaviour(
        "undocumented",
        "an answer of another kind can come at any time",
        Mark.ASSUMED,
        "nowhere said",
        "it counts as Bouncer being away, and certainly not as done",
        f"{_TRUST}bodies",
        ("outcome UnexpectedAnswer",),
    ),
)
