"""Where the fuzzers begin: small examples of what each of them is given."""

__all__ = ["SEEDS"]

_VERDICT = (
    b'{"email": "anna@example.com", "status": "risky", "reason": "low_deliverability", "score": 61, "toxic": "no",'
    b' "domain": {"name": "example.com", "acceptAll": "yes"}, "account": {"role": "no"}, "toxicity": 2,'
    b' "dns": {"type": "MX", "record": "mx."}, "retryAfter": "2026-01-01T00:00:00Z", "didYouMean": "ann@example.com"}'
)

SEEDS: dict[str, list[bytes]] = {
    "csv": [
        b"email,name\nanna@example.com,Anna\n",
        b'"id\nof anna@example.com";name\n1;Anna\n',
        b'sep=;\r\nname;email\r\n"A;B";anna@example.com\r\n"open;\n',
        "email\nanna@exämple.com\n".encode("utf-16"),
        b"anna@example.com\nben@example.com\n\n\xff\n",
    ],
    "address": [
        b"anna@example.com",
        b'"anna b"@example.com',
        "anna@bücher.example".encode(),
        b"a@[127.0.0.1]",
        b"a" * 320,
    ],
    "answer": [
        b"[" + _VERDICT + b"]",
        b'[{"email": "ben@example.com", "provider": "\\ud83d"}]',
        b'{"batchId": "abc", "duplicates": 1, "status": "completed", "processed": 2, "credits": 3}',
        b'{"status": 402, "error": "payment", "message": "1 credits left for anna@example.com"}',
        b"Wed, 21 Oct 2026 07:28:00 GMT",
    ],
    "cell": [b"=1+1", b"-1", b"+4.5", b"@x", b"plain"],
    "setting": [b"a=5", b"bb=mysql://u:p@h:1/n?ssl_ca=x", b"ccc=https://h/v1", b"dddd=nan", b"eeeee=resubmit"],
}
"""The inputs that each fuzzer starts with."""
