"""URLs as they may be shown and kept: without the passwords, signatures and tokens that people write into them."""

import re

__all__ = ["has_password", "without_secrets"]

# Between the slashes and the @, in each part of a chain of fsspec.
_USER = re.compile(r"(?<=://)[^/]*@")
_PASSWORD = re.compile(r"://[^/@:]*:[^/]*@")
# A slash that a password has ends the host for whoever reads it as a URL; what stands before is no port then.
_MISWRITTEN = re.compile(r"^([^/:]*://)(?!\[)[^/@:]*:(?!\d*/)[^/@]*/.*@", re.DOTALL)


def without_secrets(url: str) -> str:
    """Takes out what may be secret: passwords stand before the @, signatures behind the question mark.

    Args:
        url: However badly it is written, a chain such as ``zip://list.csv::ftp://host/lists.zip`` too.
    """
    # The user first: a password may have a question mark in it.
    return _MISWRITTEN.sub(r"\1", _USER.sub("", url)).partition("?")[0].partition("#")[0]


def has_password(url: str) -> bool:
    """Tells whether a URL names a user with a password."""
    return (_PASSWORD.search(url) or _MISWRITTEN.search(url)) is not None
