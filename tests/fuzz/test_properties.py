"""Bytes of strangers, by the hundred; ``make audit`` tries them by the million."""

import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz import properties

_SOME = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_FULL_WIDTH = "\N{FULLWIDTH EQUALS SIGN}1+1".encode()
_PIECES = st.sampled_from(
    [
        *(b"email", b"name", b",", b";", b"\t", b"|", b'"', b'""', b"\n", b"\r\n", b"\r", b"\0", b" ", b"sep=;\n"),
        *(b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"=1+1", _FULL_WIDTH, b"' OR 1=1 --", b"x" * 140_000),
        *(b"anna@example.com", b'"anna b"@example.com', "anna@exämple.com".encode(), b"anna@[127.0.0.1]"),
        b"a" * 320 + b"@example.com",
    ]
)
_CSV = st.lists(_PIECES | st.binary(max_size=12), max_size=40).map(b"".join)
_TEXTS = st.text(max_size=30) | st.sampled_from(
    ["anna@example.com", "ANNA@EXAMPLE.COM", "ben@example.com", "'; DROP TABLE Users; --", "=1", "\0", "x" * 400, "😀"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from(
    [
        *("email", "status", "reason", "domain", "account", "dns", "provider", "score", "toxic", "toxicity"),
        *("retryAfter", "didYouMean", "credits", "batchId"),
    ]
)
_VERDICT = st.dictionaries(_FIELDS, _JSON, max_size=10)
_VALUES = st.text(max_size=60) | st.sampled_from(
    [
        *("mysql://u:marked-pw@h/n?ssl_ca=/no", "mysql://[::1", "mysql://u:p@h:99999999/n", "sqlite:///\x01", "://"),
        *("mysql://", "mysql+asyncpg://h/n", "mysql://h/n?charset=none", "http://[", "https://x\ny", "http://[::1"),
        *("nan", "inf", "1e309", "-1", "٣", "1_0", "0x10", "true", "~", "~nobody/x", "/"),
    ]
)


@_SOME
@given(_CSV)
@example(b'email\n"a@b.com\n' + b'x","\n' * 3)
def test_csv_files(data: bytes) -> None:
    """Every line of a file that is read comes once, with an address or with a reason."""
    properties.csv_file(data)


@_FEW
@given(_CSV)
@example(b"email\na@b.com\nA@b.com\nno address\n\nc@d.com\n")
def test_imported_csv_files(data: bytes) -> None:
    """No line is lost on its way into the queue; too slow for the fuzzers."""
    properties.csv_import(data)


@_SOME
@given(st.text(max_size=330).map(str.encode) | st.emails().map(str.encode))
@example(b'"anna b"@example.com')
@example(b"a" * 64 + b"@" + b"b" * 63 + b"." + b"c" * 63 + b"." + b"d" * 63 + b"." + b"e" * 60)
def test_addresses(data: bytes) -> None:
    """Addresses are normal or refused."""
    properties.address(data)


@_FEW
@given(st.lists(_VERDICT, max_size=4).map(lambda found: json.dumps(found).encode()) | st.binary(max_size=60))
@example(b"[" * 100_000)
@example(b'[{"email": "anna@example.com", "status": "\\ud800"}]')
@example(b'[{"email": "anna@example.com", "provider": "\xff\xfe"}]')
@example(b'[{"email": "anna@example.com", "email": "ben@example.com"}]')
@example(b'[{"email": "anna@example.com", "score": ' + b"9" * 5000 + b"}]")
def test_answers(data: bytes) -> None:
    """Whatever Bouncer answers, no contact is stuck."""
    properties.answer(data)


@_SOME
@given(st.text(max_size=40).map(str.encode))
@example(_FULL_WIDTH)
@example(b"-1+1")
@example(b"bad; =1+1")
@example(b"bad\n=1+1")
def test_cells(data: bytes) -> None:
    """Exported texts are harmless."""
    properties.cell(data)


@_SOME
@given(st.integers(0, 60), _VALUES)
def test_settings(number: int, value: str) -> None:
    """Settings are taken or refused."""
    properties.setting(b"x" * number + b"=" + value.encode(errors="ignore"))
