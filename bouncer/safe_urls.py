"""URLs as they may be shown and kept: without the passwords, signatures and tokens that people write into them."""

import re

__all__ = ["has_password", "without_secrets"]

# Between the slashes and the @, in each part of a chain of fsspec.
_USER = re.compile(r"(?<=://)[^/]*@")
_PASSWORD = re.compile(r"://[^/@:]*:[^/]*@")


def without_secrets(url: str) -> str:
    """Takes out what may be secret: passwords stand before the @, signatures behind the question mark.

    Args:
        url: However badly it is written; of a chain such as ``zip://list.csv::ftp://host/lists.zip``, each part.
    """
    parts = (part.partition("?")[0].partition("#")[0] for part in url.split("::"))
    return "::".join(_USER.sub("", part) for part in parts)


def has_password(url: str) -> bool:
    """Tells whether a URL names a user with a password."""
    return _PASSWORD.search(url) is not None
