"""Reads the bodies of answers in bounded memory, whatever they are packed in."""

import zlib

import httpx

__all__ = ["ACCEPTED_ENCODINGS", "read_body"]

ACCEPTED_ENCODINGS = "gzip"
"""For the header Accept-Encoding. One layer of gzip and no other: httpx would unpack layers within layers, and 64 kB of
two layers can be 60 GB."""

_GZIP = 16 + zlib.MAX_WBITS


async def read_body(response: httpx.Response, most_bytes: int) -> bytes | None:
    """Reads a body to its end.

    Args:
        response: Of a request that streams.
        most_bytes: The most that is kept, unpacked.

    Returns:
        The body; None where it is longer.

    Raises:
        httpx.HTTPError: The connection broke off, or the body is packed in a way that was not asked for, or not whole.
    """
    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed not in {"", "identity", "gzip", "x-gzip"}:
        raise httpx.DecodingError("the answer is packed in a way that was not asked for", request=response.request)
    unpacker = zlib.decompressobj(_GZIP) if packed.endswith("gzip") else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        try:
            # One byte beyond what is kept shows that there is more.
            body += chunk if unpacker is None else unpacker.decompress(chunk, most_bytes + 1 - len(body))
        except zlib.error:
            raise httpx.DecodingError("the answer cannot be unpacked", request=response.request) from None
        if len(body) > most_bytes:
            return None
        if unpacker is not None and unpacker.unused_data:
            # zlib would keep all that comes behind the end.
            raise httpx.DecodingError("there is more behind the packed answer", request=response.request)
    if unpacker is not None and body and not unpacker.eof:
        raise httpx.DecodingError("the packed answer is not whole", request=response.request)
    return bytes(body)
