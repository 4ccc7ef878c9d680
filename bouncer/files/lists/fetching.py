"""Fetches lists from URLs, as their servers keep them: what is packed stays packed."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import aclosing

import fsspec  # type: ignore[import-untyped]  # it brings no types
import httpx

from bouncer.errors import InputRefused
from bouncer.files.lists.bounded_file import BoundedFile

__all__ = ["MOST_SECONDS", "fetch", "refuse_what_wraps"]

MOST_SECONDS = 3_600.0
"""Seconds that a list may take to come: a server that is slow enough never ends."""

_PIECE = 1 << 20
_TIMEOUT_SECONDS = 30
"""For each look at the network: a server may be slow, but not silent."""
_MOST_REDIRECTS = 20
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})
_PLAIN = frozenset({"file", "ftp", "hdfs", "local", "memory", "sftp", "smb", "ssh", "webhdfs"})


def fetch(url: str, name: str, target: BoundedFile) -> None:
    """Writes to a file what a URL leads to.

    Args:
        url: One that fsspec knows, such as ``s3://…``, or ``https://…``.
        name: The list's name for messages.
        target: Bounded, because a server can send without an end.

    Raises:
        InputRefused: It cannot be fetched, or is too large.
    """
    try:
        if url.lower().startswith(("http://", "https://")):
            # By itself, because fsspec needs a further package for it.
            _within_an_hour(url, name, target)
            return
        refuse_what_wraps(url)
        with fsspec.open(url, "rb") as remote:
            _write(iter(lambda: remote.read(_PIECE), b""), name, target)
    except InputRefused:
        raise
    except ImportError as error:
        raise InputRefused(f"{name} cannot be fetched: {error}") from None
    except httpx.HTTPStatusError as error:
        raise InputRefused(f"{name} cannot be fetched: its server answers {error.response.status_code}") from None
    except Exception as error:  # noqa: BLE001  # each file system of fsspec has errors of its own
        # Not their texts, which may show what a URL holds.
        raise InputRefused(
            f"{name} cannot be fetched ({type(error).__name__}); check its address and your rights to it"
        ) from None


def refuse_what_wraps(url: str) -> None:
    """Checks that a URL names one server or store, and no file system of fsspec's that is made of others.

    Those fetch a whole file before a bound counts its bytes, and take from a file which other files, of this machine
    too, stand in its place.

    Raises:
        InputRefused: It does not.
        ImportError: A package for it is missing.
        ValueError: There is no such file system.
    """
    system = url.partition("://")[0].lower()
    if "::" in url or (system not in _PLAIN and fsspec.get_filesystem_class(system).__module__.startswith("fsspec.")):
        raise InputRefused(
            "a URL names one server or store, such as https://, ftp:// or s3://, not what packs or caches another; "
            "download the file, and give that"
        )


def _within_an_hour(url: str, name: str, target: BoundedFile) -> None:
    try:
        asyncio.run(_fetch_over_http(url, name, target))
    except TimeoutError:
        raise _too_slow(name) from None


async def _fetch_over_http(url: str, name: str, target: BoundedFile) -> None:
    # The library would read the bodies of redirects into memory, and unpack layers within layers. Its own timeout
    # begins anew with each byte, of headers too.
    async with (
        asyncio.timeout(MOST_SECONDS),
        httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, headers={"Accept-Encoding": "identity"}) as client,
    ):
        request = client.build_request("GET", url)
        for _ in range(1 + _MOST_REDIRECTS):
            async with aclosing(await client.send(request, stream=True)) as answer:
                if answer.next_request is not None:
                    request = answer.next_request
                    continue
                answer.raise_for_status()
                if answer.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
                    raise InputRefused(
                        f"{name} comes packed in a way that was not asked for; download it, and give the file"
                    )
                # As they come: pieces of a size are waited for until they are full.
                async for piece in answer.aiter_raw():
                    target.write(piece)
                return
        raise httpx.TooManyRedirects("too many", request=request)


def _write(pieces: Iterable[bytes], name: str, target: BoundedFile) -> None:
    end = time.monotonic() + MOST_SECONDS
    for piece in pieces:
        if time.monotonic() > end:
            raise _too_slow(name)
        target.write(piece)


def _too_slow(name: str) -> InputRefused:
    return InputRefused(f"{name} does not come within an hour; download it, and give the file")
