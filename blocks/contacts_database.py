"""The block that holds the contacts database."""

import functools
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr
from sqlalchemy import Engine

from blocks.pictures import picture
from bouncer.storage.engine import engine_for

__all__ = ["ContactsDatabase", "engine_of"]


class ContactsDatabase(Block):
    """The MySQL, MariaDB or SQLite database that holds the contacts, their queue and their verdicts.

    Example:
        Load the saved database:

        ```python
        from blocks.contacts_database import ContactsDatabase

        engine = ContactsDatabase.load("BLOCK_NAME").get_engine()
        ```
    """

    # Pydantic's errors quote what was given, and the password is a part of it.
    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "Contacts Database"
    _block_type_slug = "contacts-database"
    _description = "The MySQL, MariaDB or SQLite database that holds the contacts, their queue and their verdicts."
    _documentation_url = HttpUrl("https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls")
    # Prefect's picture for databases.
    _logo_url = picture("fb3f4debabcda1c5a3aeea4f5b3f94c28845e23e-250x250.png")

    url: SecretStr = Field(
        title="Database URL", description="mysql://USER:PASSWORD@HOST/NAME, mariadb://… or sqlite:////PATH."
    )
    tls: bool = Field(
        default=False, title="Require TLS", description="Encrypt the connection and verify the server's certificate."
    )
    tls_authority: str | None = Field(
        default=None,
        title="CA certificate",
        description="The certificate (PEM) of the authority that signed the server's; empty for the system's list.",
    )

    def get_engine(self) -> Engine:
        """The engine of this database; one a process, however many runs ask for it.

        Raises:
            SettingRefused: The URL cannot be used.
        """
        url = self.url.get_secret_value()
        return engine_of(url, self.tls_authority or "") if self.tls or self.tls_authority else engine_of(url)


@functools.lru_cache(maxsize=8)
def engine_of(url: str, authority: str | None = None) -> Engine:
    """The one engine of this process for a database; the arguments are those of ``engine_for``."""
    return engine_for(url, authority)
