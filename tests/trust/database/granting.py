"""The database users of docs/security.md, made on a real server word by word."""

import re
from pathlib import Path

from sqlalchemy import make_url

from tests.database_server import DatabaseServer

__all__ = ["Granting", "statements"]

_PAGE = Path(__file__).resolve().parents[3] / "docs" / "security.md"
_PASSWORD = "marked-password"


def statements(block: str) -> str:
    """The statements of a block of the page, by the word behind its ``sql``."""
    found = re.search(rf"```sql {block}\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    assert found is not None, block
    return found[1]


class Granting:
    """A database on which the page's users are made, each for this database alone.

    Args:
        server: The server.
        url: Of the database, as a user who may do everything.
    """

    def __init__(self, server: DatabaseServer, url: str) -> None:
        self._server = server
        self._url = make_url(url)
        self.name = str(self._url.database)
        self.forget("bouncer", "bouncer_setup")

    def grant(self, *blocks: str) -> str:
        """Runs blocks of the page for this database, and returns the URL of the user that they are about."""
        suited = (
            "".join(map(statements, blocks))
            .replace("contacts\\_db", self.name.replace("_", "\\_"))
            .replace("contacts_db", self.name)
            .replace("PASSWORD", _PASSWORD)
            .replace("'%'", "'127.0.0.1'")
        )
        assert "contacts" not in suited.replace("Contacts_Global", "")
        self._server.execute(*(each for each in suited.split(";") if each.strip()))
        found = re.search(r"TO '(\w+)'", suited)
        assert found is not None
        return self._url.set(username=found[1], password=_PASSWORD).render_as_string(hide_password=False)

    def forget(self, *users: str) -> None:
        """Drops users."""
        self._server.execute(*(f"DROP USER IF EXISTS '{user}'@'127.0.0.1'" for user in users))
