"""What must hold for any bytes that a stranger sends; tried by hypothesis in CI and by fuzzers in ``make audit``."""

import atexit
import csv
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from unittest import mock

import pandas as pd
from pydantic import ValidationError
from sqlalchemy import Engine, text

from bouncer.accounts.call_statistics import Call
from bouncer.addresses.normalisation import InvalidAddress, normalise, normalise_all
from bouncer.api.answers import BatchCreated, BatchProgress, Credits, Verdict, verdicts_in
from bouncer.api.failures import error_of_answer, until_told
from bouncer.errors import BouncerFlowsError, InputRefused, SettingRefused
from bouncer.files.csv.cells import harmless
from bouncer.files.csv.reading import Layout, inspect, read_chunks
from bouncer.files.importing import import_contacts
from bouncer.safe_text import clean_message
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from deployments.settings import Settings, read_settings, variable_of
from tests.bouncer.contacts import claim, load_verdicts, queue, verify

__all__ = ["PROPERTIES", "csv_import"]

_LONGEST_KEPT = 1000
_LONGEST_MESSAGE = 400
_FORMULA = tuple("=+-@\t\r")
_NAMES = sorted(variable_of(name) for name in Settings.model_fields)


def csv_file(data: bytes) -> None:
    """A file is refused in one line, or each of its lines comes once: with an address, or with why it has none."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(data)
        file.flush()
        try:
            layout = inspect(Path(file.name))
        except InputRefused as refusal:
            _assert_one_line(refusal)
            return
        seen: set[int] = set()
        for chunk in read_chunks(layout, 50):
            assert len(chunk.lines) == len(chunk.addresses)
            lines = [*chunk.lines, *(line.line for line in chunk.rejected)]
            assert seen.isdisjoint(lines)
            assert len(set(lines)) == len(lines)
            seen.update(lines)
            assert all(len(cell) <= _LONGEST_KEPT for cell in chunk.addresses)
            assert all(len(line.value) <= _LONGEST_KEPT and line.reason for line in chunk.rejected)
            checked = normalise_all(pd.Series(chunk.addresses, dtype=object))
            assert (checked["reason"].isna() != checked["address"].isna()).all()
        assert _lines_of(layout) in (None, seen)


def csv_import(data: bytes) -> None:
    """Of a file that is imported, each line is queued, a duplicate or rejected."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "contacts.csv"
        file.write_bytes(data)
        try:
            report = import_contacts(_engine(), file)
            lines = _lines_of(inspect(file))
        except InputRefused as refusal:
            _assert_one_line(refusal)
            return
        finally:
            _empty("Bouncer_Queue", "Contacts_Global", "Requests")
    assert report.lines == report.queued + report.duplicates + report.rejected
    assert lines is None or report.lines == len(lines)


def address(data: bytes) -> None:
    """An address is normal and stays so, or is refused with a reason."""
    given = data.decode(errors="replace")
    try:
        normal = normalise(given)
    except InvalidAddress as refusal:
        _assert_one_line(refusal)
        return
    assert normalise(normal) == normal
    assert len(normal.encode()) <= 254
    assert not any(character.isspace() or not character.isprintable() for character in normal)


def answer(data: bytes) -> None:
    """An answer is understood or refused, says nothing of addresses, and never keeps a contact from its end."""
    for model in (BatchCreated, BatchProgress, Credits):
        try:
            understood = model.model_validate_json(data)
        except ValidationError:
            continue
        if isinstance(understood, BatchCreated):
            assert understood.batch_id.isascii()
            assert 1 <= len(understood.batch_id) <= 50
    words = data.decode(errors="replace")
    until_told(words, datetime.now(UTC))
    for call in Call:
        for status in (200, 400, 401, 404, 429, 500, 503):
            error = error_of_answer(call, status, words, None)
            assert isinstance(error, BouncerFlowsError)
            assert len(str(error)) <= _LONGEST_MESSAGE + 100
    assert len(clean_message(words)) <= _LONGEST_MESSAGE
    try:
        verdicts = verdicts_in(data)
    except ValidationError:
        return
    _load(verdicts)


def cell(data: bytes) -> None:
    """No spreadsheet runs an exported text, whatever separates its cells; nothing else of the text is changed."""
    given = data.decode(errors="replace")
    written = harmless(given)
    assert written.replace("'", "") == given.replace("'", "")
    if written.startswith(_FORMULA):
        float(written)
    _, *behind = re.split(r"[;\t|\r\n]", written)
    assert not any(part.lstrip().startswith(_FORMULA) for part in behind)


def setting(data: bytes) -> None:
    """A setting is taken or refused in one line that does not show what may be a secret."""
    name, _, value = data.decode(errors="ignore").replace("\0", "").partition("=")
    chosen = _NAMES[len(name) % len(_NAMES)]
    with mock.patch.dict(os.environ, {chosen: value}):
        try:
            settings = read_settings()
            if not settings.url.startswith("sqlite"):
                engine_for(settings.url).dispose()
        except SettingRefused as refusal:
            _assert_one_line(refusal, without=value)


PROPERTIES: dict[str, Callable[[bytes], None]] = {
    "csv": csv_file,
    "address": address,
    "answer": answer,
    "cell": cell,
    "setting": setting,
}
"""The properties by the names of their fuzzers."""


def _assert_one_line(refusal: BouncerFlowsError, without: str = "") -> None:
    assert str(refusal)
    # A short one is a part of any text.
    assert len(without) < 8 or without not in str(refusal)
    assert "\n" not in str(refusal)
    assert len(str(refusal)) < 2000


@cache
def _engine() -> Engine:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    engine = engine_for(f"sqlite:///{folder / 'contacts.db'}")
    upgrade(engine)
    return engine


def _lines_of(layout: Layout) -> set[int] | None:
    """Where the records of a file begin that are not blank, by the csv module alone; None where its quotes are odd."""
    text = layout.path.read_bytes().decode(layout.encoding, errors="replace")
    lines = list(io.StringIO(text, newline=""))[layout.prefix_lines :]
    if '"' not in text:
        records = [(number, line.split(layout.delimiter)) for number, line in enumerate(lines)]
    else:
        reader = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=True, strict=True)
        records, begins = [], 0
        try:
            for cells in reader:
                records.append((begins, cells))
                begins = reader.line_num
        except csv.Error:
            return None
    found = [number for number, cells in records if any(cell.strip() for cell in cells)]
    return {number + layout.prefix_lines + 1 for number in found[layout.header :]}


def _load(verdicts: list[Verdict]) -> None:
    engine = _engine()
    queue(engine, ["anna@example.com", "ben@example.com"])
    (batch,) = claim(engine).batches
    report = load_verdicts(engine, verify(engine, batch.id), verdicts)
    assert report.settled + report.missing == 2
    _empty("Bouncer_Results", "Bouncer_Queue", "Bouncer_Batches", "Contacts_Global")


def _empty(*tables: str) -> None:
    with _engine().begin() as connection:
        for table in tables:
            connection.execute(text(f"DELETE FROM {table}"))
