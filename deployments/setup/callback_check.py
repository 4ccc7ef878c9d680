"""Check that the callback address is answered."""

import httpx

__all__ = ["is_answered"]

_ANSWER_SECONDS = 5.0


async def is_answered(url: str) -> bool:
    """Tells whether anything answers at the callback address, as far as this machine can see."""
    try:
        # Without a token, so that it counts as no guess of one.
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as client, client.stream("GET", url) as answer:
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    # A proxy with no receiver behind it says 502, 503 or 504.
    return status < 500
