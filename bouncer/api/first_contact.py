"""The first contact: one question that costs nothing, before anything is made that a wrong key or URL would spoil."""

import time
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
from pydantic import TypeAdapter, ValidationError

from bouncer.api.answers import Credits
from bouncer.api.base_url import refuse_to_send_in_the_clear, stays_here
from bouncer.api.tls import tls_of
from bouncer.errors import BouncerUnavailable, KeyRefused, SettingRefused

__all__ = ["ask_for_credits"]

_PATIENCE_SECONDS = 10
_LONGEST_ANSWER = 10_000


def ask_for_credits(base_url: str, key: str) -> int:
    """Asks what an account can still pay for, once; Bouncer counts this question apart from all others.

    Args:
        base_url: Where the batch API answers.
        key: The API key.

    Raises:
        KeyRefused: Bouncer does not take the key.
        SettingRefused: What answers there is not Bouncer's API.
        BouncerUnavailable: Nothing answers there now.
    """
    refuse_to_send_in_the_clear(base_url, key)
    host = urlsplit(base_url).hostname
    # Not packed, since it is read as it comes.
    headers = {"x-api-key": key, "Accept-Encoding": "identity"}
    end = time.monotonic() + _PATIENCE_SECONDS
    try:
        with (
            httpx.Client(
                timeout=_PATIENCE_SECONDS, trust_env=not stays_here(base_url), verify=tls_of(base_url)
            ) as client,
            client.stream("GET", f"{base_url}/credits", headers=headers) as answer,
        ):
            status, body = answer.status_code, b""
            for piece in answer.iter_raw():
                body += piece
                # Whoever sends a letter now and then would be listened to for a day.
                if len(body) > _LONGEST_ANSWER or time.monotonic() > end:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise BouncerUnavailable(
            f"Bouncer cannot be reached at {host} ({type(error).__name__}); check BOUNCER_API_BASE_URL and the network"
        ) from None
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise KeyRefused(f"Bouncer answered {status}: set BOUNCER_API_KEY to the right key, from app.usebouncer.com")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise BouncerUnavailable(f"Bouncer answered {status} at {host}, and does not work now; try again later")
    try:
        return TypeAdapter(Credits).validate_json(body).credits
    except ValidationError:
        pass
    # Out here, or it would carry the first error, whose text quotes the body.
    raise SettingRefused(
        f"BOUNCER_API_BASE_URL: what answers at {host} is not Bouncer's API (HTTP {status}, no credits); correct it"
    )
