"""``python -m tests.releases.freeze VERSION``: writes down the tables of a version with data in them."""

import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pymysql.converters import encoders, escape_item
from sqlalchemy import Engine, inspect, text

from bouncer.batches import endings
from bouncer.storage.engine import engine_for, write
from bouncer.storage.migrate import upgrade
from tests.bouncer.contacts import claim, load_verdicts, queue, take, upload, verdicts, verify
from tests.mariadb_server import MariaDBServer

__all__ = ["FOLDER"]

FOLDER = Path(__file__).parent
"""Where the dumps are: ``VERSION.sqlite.sql`` and ``VERSION.mariadb.sql``."""


def main(version: str) -> None:
    """Writes both dumps of the present tables."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "contacts.db"
        _fill(engine_for(f"sqlite:///{file}"))
        connection = sqlite3.connect(file)
        (FOLDER / f"{version}.sqlite.sql").write_text("\n".join(connection.iterdump()) + "\n")
        connection.close()
    with MariaDBServer() as server:
        engine = engine_for(server.url(server.create_database()))
        _fill(engine)
        (FOLDER / f"{version}.mariadb.sql").write_text("\n".join(_dump(engine)) + "\n")
        engine.dispose()


def _fill(engine: Engine) -> None:
    # Something at every step: settled, failed, at Bouncer, with a lost upload, waiting.
    upgrade(engine)
    for prefix in ("settled", "failed", "flying", "lost"):
        queue(engine, [f"{prefix}.{number}@example.com" for number in range(3)])
        (batch,) = claim(engine).batches
        if prefix == "settled":
            names = [f"{prefix}.{number}@example.com" for number in range(3)]
            load_verdicts(engine, verify(engine, batch.id), verdicts(names, score=80, domain={"acceptAll": "no"}))
        elif prefix == "failed":
            write(engine, endings.fail, take(engine, batch.id), "Bouncer refused them")
        elif prefix == "flying":
            upload(engine, batch.id)
        else:
            with engine.begin() as connection:
                begun = f"UPDATE Bouncer_Batches SET upload_begun_ts = CURRENT_TIMESTAMP WHERE id = {int(batch.id)}"
                connection.execute(text(begun))
    queue(engine, [f"waiting.{number}@example.com" for number in range(3)])
    engine.dispose()


def _dump(engine: Engine) -> Iterator[str]:
    yield "SET FOREIGN_KEY_CHECKS = 0;"
    with engine.connect() as connection:
        for table in sorted(inspect(connection).get_table_names()):
            yield str(connection.exec_driver_sql(f"SHOW CREATE TABLE `{table}`").one()[1]).replace("\n", " ") + ";"
            for row in connection.exec_driver_sql(f"SELECT * FROM `{table}`"):
                yield f"INSERT INTO `{table}` VALUES ({', '.join(map(_literal, row))});"


def _literal(value: object) -> str:
    return str(escape_item(value, "utf8mb4", mapping=encoders))


if __name__ == "__main__":
    main(sys.argv[1])
