"""Fetches lists from URLs, as their servers keep them: what is packed stays packed."""

import time
from collections.abc import Iterable
from contextlib import closing

import fsspec  # type: ignore[import-untyped]  # it brings no types
import httpx

from bouncer.errors import InputRefused
from bouncer.files.lists.bounded_file import BoundedFile

__all__ = ["MOST_SECONDS", "fetch"]

MOST_SECONDS = 3_600.0
"""Seconds that a list may take to come: a server that is slow enough never ends."""

_PIECE = 1 << 20
_TIMEOUT_SECONDS = 30
"""For each look at the network: a server may be slow, but not silent."""
_MOST_REDIRECTS = 20
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})


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
        if url.startswith(("http://", "https://")):
            # By itself, because fsspec needs a further package for it.
            _fetch_over_http(url, name, target)
            return
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


def _fetch_over_http(url: str, name: str, target: BoundedFile) -> None:
    # The library would read the bodies of redirects into memory, and unpack layers within layers.
    with httpx.Client(timeout=_TIMEOUT_SECONDS, headers={"Accept-Encoding": "identity"}) as client:
        request = client.build_request("GET", url)
        for _ in range(1 + _MOST_REDIRECTS):
            with closing(client.send(request, stream=True)) as answer:
                if answer.next_request is not None:
                    request = answer.next_request
                    continue
                answer.raise_for_status()
                if answer.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
                    raise InputRefused(
                        f"{name} comes packed in a way that was not asked for; download it, and give the file"
                    )
                # As they come: pieces of a size are waited for until they are full.
                _write(answer.iter_raw(), name, target)
                return
        raise httpx.TooManyRedirects("too many", request=request)


def _write(pieces: Iterable[bytes], name: str, target: BoundedFile) -> None:
    end = time.monotonic() + MOST_SECONDS
    for piece in pieces:
        if time.monotonic() > end:
            raise InputRefused(f"{name} does not come within an hour; download it, and give the file")
        target.write(piece)
