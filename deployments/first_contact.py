"""Tries the key and the address of Bouncer before a server is started or a block written, once for each of them."""

from hashlib import blake2b

from bouncer.errors import BouncerUnavailable, SettingRefused
from bouncer.installation import here
from deployments.server.address import configured_server
from deployments.settings import Settings

__all__ = ["try_key", "try_key_unless_away"]


def try_key(settings: Settings) -> None:
    """Asks Bouncer for the credits, where it has not taken this key at this address before.

    A key that only a block has is not asked about: it was tried when it was saved.

    Args:
        settings: The environment.

    Raises:
        SettingRefused: There is no key, and no installation yet that could have one; or what answers is not Bouncer.
        KeyRefused: Bouncer does not take the key.
        BouncerUnavailable: Bouncer does not answer.
    """
    home = settings.bouncer_flows_home
    if settings.api_key is None:
        if configured_server() is None and not (home / "prefect").exists():
            raise SettingRefused(
                "BOUNCER_API_KEY is not set; take the key from app.usebouncer.com, "
                "or try things out with bouncer-flows sandbox"
            )
        return
    key = settings.api_key.get_secret_value().strip()
    # By a digest: the file is no place for the key.
    tried = blake2b(f"{key}\n{settings.base_url}".encode(), digest_size=16).hexdigest()
    note = home / f"{here().name}.key-tried"
    if note.is_file() and note.read_text() == tried:
        return
    from bouncer.api.first_contact import ask_for_credits  # noqa: PLC0415  # mostly there is nothing to ask

    ask_for_credits(settings.base_url, key)
    if home.is_dir():
        note.write_text(tried)


def try_key_unless_away(settings: Settings) -> str | None:
    """Tries the key like ``try_key``, for commands that can begin while Bouncer is away, but not with a wrong key.

    Args:
        settings: The environment.

    Returns:
        What stood in the way of trying it, in one line; None where nothing did.

    Raises:
        SettingRefused: Like ``try_key``.
        KeyRefused: Bouncer does not take the key.
    """
    try:
        try_key(settings)
    except BouncerUnavailable as error:
        return f"{error}. The key was not tried"
    return None
