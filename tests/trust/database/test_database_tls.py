"""TLS to the contacts database: asked for by URL or block, and always verified."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from blocks.contacts_database import ContactsDatabase
from bouncer.errors import DatabaseUnavailable, SettingRefused
from bouncer.storage.engine import engine_for, probe
from bouncer.storage.migrate import upgrade
from tests.database_server import DatabaseServer, skip_or_fail
from tests.mariadb_server import MariaDB118Server, MariaDBServer
from tests.mysql_server import MySQLServer
from tests.trust.database.certificates import Authority


@dataclass(frozen=True)
class _Site:
    url: str
    authority: Authority
    stranger: Authority


_KINDS = [MariaDBServer, MySQLServer, pytest.param(MariaDB118Server, marks=pytest.mark.thorough)]


@pytest.fixture(scope="module", params=_KINDS, ids=lambda kind: kind.NAME)
def kind(request: pytest.FixtureRequest) -> type[DatabaseServer]:
    """A kind of server."""
    chosen: type[DatabaseServer] = request.param
    skip_or_fail(chosen.missing())
    return chosen


@pytest.fixture(scope="module")
def site(kind: type[DatabaseServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    """A server that lets nobody in without TLS, and whose certificate is for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("authorities")
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    own = authority.sign("127.0.0.1")
    options = (
        f"--ssl-ca={authority.file}",
        f"--ssl-cert={own.certificate}",
        f"--ssl-key={own.key}",
        "--require-secure-transport=ON",
    )
    with kind(options=options) as server:
        yield _Site(server.url(server.create_database()), authority, stranger)


def _cipher(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1])


def test_a_verified_connection_by_the_url(site: _Site) -> None:
    """With the authority named in the URL, tables are made over an encrypted connection."""
    engine = engine_for(f"{site.url}?ssl_ca={site.authority.file}")
    probe(engine)
    upgrade(engine)
    assert _cipher(engine) != ""
    engine.dispose()


def test_a_verified_connection_by_the_block(site: _Site) -> None:
    """The certificate in the block does the same on every worker, without a file."""
    engine = ContactsDatabase(url=SecretStr(site.url), tls_authority=site.authority.file.read_text()).get_engine()
    probe(engine)
    assert _cipher(engine) != ""
    engine.dispose()


@pytest.mark.parametrize("how", ["ssl=true", "ssl_mode=REQUIRED", "ssl_ca={stranger}"])
def test_a_certificate_of_a_stranger_is_refused(site: _Site, how: str) -> None:
    """A server whose certificate no trusted authority has signed may be somebody else's."""
    engine = engine_for(f"{site.url}?{how.format(stranger=site.stranger.file)}")
    with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
        probe(engine)


def test_a_server_without_tls_is_refused(kind: type[DatabaseServer], tmp_path: Path) -> None:
    """Somebody in between who says that the server has none once got the password and the contacts in the clear."""
    authority = Authority(tmp_path, "authority")
    with kind(options=("--tls-version=" if kind is MySQLServer else "--skip-ssl",)) as server:
        url = server.url(server.create_database())
        for how in ("ssl=true", "ssl_mode=REQUIRED", "ssl_mode=VERIFY_CA", f"ssl_ca={authority.file}"):
            with pytest.raises(DatabaseUnavailable, match="SSL is required but the server doesn't support it"):
                probe(engine_for(f"{url}?{how}"))


def test_the_block_can_ask_for_tls_alone(site: _Site) -> None:
    """Require TLS without a certificate trusts the system's authorities, none of which signed this one."""
    with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
        probe(ContactsDatabase(url=SecretStr(site.url), tls=True).get_engine())


def test_a_certificate_for_another_name_is_refused(site: _Site) -> None:
    """A good certificate of another server is no proof."""
    elsewhere = site.url.replace("@127.0.0.1", "@localhost")
    with pytest.raises(DatabaseUnavailable, match="not valid for 'localhost'"):
        probe(engine_for(f"{elsewhere}?ssl_ca={site.authority.file}"))


def test_verify_ca_takes_a_certificate_for_any_name(site: _Site) -> None:
    """As with MySQL's own client: who signed it is verified, and not for which name, as private networks need it."""
    elsewhere = site.url.replace("@127.0.0.1", "@localhost")
    engine = engine_for(f"{elsewhere}?ssl_mode=VERIFY_CA&ssl_ca={site.authority.file}")
    probe(engine)
    assert _cipher(engine) != ""
    engine.dispose()
    with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
        probe(engine_for(f"{elsewhere}?ssl_mode=VERIFY_CA&ssl_ca={site.stranger.file}"))


def test_without_tls_means_without(server_url: str) -> None:
    """Where the server can encrypt, ssl=false once did so all the same."""
    for query, encrypted in (("", True), ("?ssl=false", False), ("?ssl_mode=DISABLED", False)):
        engine = engine_for(server_url + query)
        assert (_cipher(engine) != "") == (encrypted and _can_encrypt(engine))
        engine.dispose()


def _can_encrypt(engine: Engine) -> bool:
    with engine.connect() as connection:
        found = dict(connection.execute(text("SHOW VARIABLES WHERE Variable_name IN ('ssl_cert', 'have_ssl')")).all())
    # MariaDB from 11.4 on has a certificate that it makes for itself.
    return bool(found["ssl_cert"]) or found.get("have_ssl") == "YES"


@pytest.mark.parametrize(
    "parameters",
    [
        "ssl_verify_cert=false",
        "ssl_verify_identity=0",
        "ssl_check_hostname=false",
        "ssl=true&ssl_check_hostname=no",
        "ssl=false&ssl_ca=/etc/ca.pem",
        "ssl_mode=PREFERRED",
        "ssl_mode=VERIFY_CA&ssl_verify_identity=true",
        "ssl_ca=/no/such/file.pem",
        "ssl_cipher=NULL",
        "read_default_file=/etc/passwd",
    ],
)
def test_nothing_switches_the_verification_off(parameters: str) -> None:
    """What would weaken the connection, and what is not known, is refused by name and not passed over."""
    with pytest.raises(SettingRefused, match=r"DATABASE_URL|TLS cannot be used"):
        engine_for(f"mysql://someone:marked@127.0.0.1/name?{parameters}")


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    """A text in the block that is no certificate is named as such, not met as a failure to connect."""
    block = ContactsDatabase(url=SecretStr("mysql://someone@127.0.0.1/name"), tls_authority="not a certificate")
    with pytest.raises(SettingRefused, match="the CA certificate in block contacts-database"):
        block.get_engine()
