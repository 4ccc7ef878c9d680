"""An export has a line for every queued contact, as a spreadsheet can take it, and appears whole or not at all."""

import csv
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select

from bouncer.errors import InputRefused
from bouncer.files.export_columns import line
from bouncer.files.exporting import COLUMNS, export_results, result_cells
from bouncer.safe_text import visible
from bouncer.storage.tables import Batch, Contact, Layer, QueuedContact, Request, Result, User
from tests.bouncer.storage.explaining import Explainer

_EXPORT_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from bouncer.storage.engine import engine_for
from bouncer.files.exporting import export_results
export_results(engine_for(sys.argv[1]), Path(sys.argv[2]), progress=lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""
_EARLIER = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  # as the database gives and takes it, in UTC
_VERDICT = {
    "bouncer_status": "risky",
    "bouncer_reason": "low_deliverability",
    "domain_info": {"name": "example.com", "acceptAll": "yes", "disposable": "no", "free": "unknown"},
    "account_info": {"role": "yes", "disabled": "no", "fullMailbox": "unknown"},
    "dns_info": {"type": "MX", "record": "mx.example.com."},
    "provider": "example",
    "score": 0,
    "toxic": "no",
    "toxicity": 3,
    "did_you_mean": "anna@example.org",
    "processed_ts": _EARLIER,
}


@dataclass(frozen=True)
class _Data:
    """A request, with what is needed to put contacts into it."""

    engine: Engine
    user_id: int
    request_id: int
    batch_id: int

    def queue(self, email: str, *, verdict: dict[str, Any] | None = None, latest: Any = None, **queue: Any) -> None:
        """Queues a contact, with the verdict of a batch or the latest of the contact if given."""
        with self.engine.begin() as connection:
            contact = connection.execute(insert(Contact).values(email=email, **(latest or {}))).lastrowid
            if verdict is not None:
                connection.execute(insert(Result).values(batch_id=self.batch_id, global_id=contact, **verdict))
                queue = {"batch_id": self.batch_id, "status": "completed", **queue}
            connection.execute(
                insert(QueuedContact).values(
                    **{"global_id": contact, "user_id": self.user_id, "request_id": self.request_id, **queue}
                )
            )


def _request(engine: Engine, name: str = "leads") -> _Data:
    with engine.begin() as connection:
        user = connection.execute(insert(User).values(email="me@example.com")).lastrowid
        request = connection.execute(insert(Request).values(user_id=user, name=name)).lastrowid
        batch = connection.execute(
            insert(Batch).values(user_id=user, request_id=request, status="completed", quantity=1)
        ).lastrowid
    return _Data(engine, user, request, batch)


@pytest.fixture
def data(engine: Engine) -> _Data:
    return _request(engine)


def _lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _export(data: _Data, folder: Path) -> list[dict[str, str]]:
    path = folder / "results.csv"
    report = export_results(data.engine, path, request_id=data.request_id)
    lines = _lines(path)
    assert (report.rows, report.path) == (len(lines), path)
    return lines


def test_verdict_in_full(data: _Data, tmp_path: Path) -> None:
    """Everything that Bouncer told stands in a column of its own, a score of 0 included."""
    data.queue("anna@example.com", verdict=_VERDICT)
    (line,) = _export(data, tmp_path)
    assert line == {
        "email": "anna@example.com",
        "status": "risky",
        "reason": "low_deliverability",
        "score": "0",
        "provider": "example",
        "domain": "example.com",
        "accept_all": "yes",
        "disposable": "no",
        "free": "unknown",
        "role": "yes",
        "disabled": "no",
        "full_mailbox": "unknown",
        "toxic": "no",
        "toxicity": "3",
        "did_you_mean": "anna@example.org",
        "verified_at": "2026-01-02T03:04:05Z",
        "outcome": "completed",
        "error": "",
        "request_id": str(data.request_id),
        **dict.fromkeys(["deep_status", "deep_reason", "deep_score", "deep_verified_at"], ""),
    }


def test_what_was_not_told_stays_empty(data: _Data, tmp_path: Path) -> None:
    """A verdict of nothing but a status leaves the rest empty: no 0 for a score, nothing of an older verdict."""
    older = {"bouncer_status": "deliverable", "bouncer_reason": "accepted_email", "bouncer_score": 99}
    data.queue("anna@example.com", verdict={"bouncer_status": "unknown", "processed_ts": _EARLIER}, latest=older)
    (line,) = _export(data, tmp_path)
    told = {name: value for name, value in line.items() if value}
    assert told == {
        "email": "anna@example.com",
        "status": "unknown",
        "verified_at": "2026-01-02T03:04:05Z",
        "outcome": "completed",
        "request_id": str(data.request_id),
    }


def test_latest_verdict_where_there_is_no_result(data: _Data, tmp_path: Path) -> None:
    """A contact without a result of its own batch shows the latest verdict that is stored with it."""
    latest = {
        "bouncer_status": "deliverable",
        "bouncer_reason": "accepted_email",
        "bouncer_score": 97,
        "bouncer_verified_ts": _EARLIER,
    }
    data.queue("anna@example.com", latest=latest, status="completed", reused=True)
    (line,) = _export(data, tmp_path)
    assert (line["status"], line["reason"], line["score"]) == ("deliverable", "accepted_email", "97")
    assert (line["verified_at"], line["outcome"]) == ("2026-01-02T03:04:05Z", "completed")


def test_contacts_without_a_verdict(data: _Data, tmp_path: Path) -> None:
    """Contacts that wait or failed are there too, with the reason, in the order of the queue."""
    data.queue("waiting😀@example.com")
    data.queue("assigned@example.com", batch_id=data.batch_id, status="assigned")
    data.queue("failed@example.com", status="failed", error_message='Bouncer \\ "refused" it,\r\nfor good\x01')
    lines = _export(data, tmp_path)
    assert [(line["email"].split("@")[0], line["outcome"]) for line in lines] == [
        ("waiting😀", "queued"),
        ("assigned", "assigned"),
        ("failed", "failed"),
    ]
    assert lines[2]["error"] == 'Bouncer \\ "refused" it,\r\nfor good\x01'
    assert {line["status"] for line in lines} == {""}


def test_one_request_or_all(data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's contacts are found among those of others, each once, over as many chunks as it takes."""
    monkeypatch.setattr("bouncer.files.exporting._CHUNK_ROWS", 3)
    other = _request(data.engine, "other")
    for i in range(10):
        data.queue(f"mine{i}@example.com")
        for j in range(i % 4):
            other.queue(f"theirs{i}.{j}@example.com")
    assert [line["email"] for line in _export(data, tmp_path)] == [f"mine{i}@example.com" for i in range(10)]
    told: list[int] = []
    report = export_results(data.engine, tmp_path / "all.csv", progress=told.append)
    assert report.rows == 10 + 13
    assert told[-1] == 23
    assert len({line["email"] for line in _lines(tmp_path / "all.csv")}) == 23


def test_a_small_request_among_many_others_does_not_read_the_whole_queue(data: _Data, tmp_path: Path) -> None:
    """One that was added to over months was exported along the primary key, through all that others had queued."""
    user, engine = data.user_id, data.engine
    with engine.begin() as connection:
        other = connection.execute(insert(Request).values(user_id=user, name="others")).lastrowid
    data.queue("first@example.com")
    with engine.begin() as connection:
        (contact,) = connection.execute(insert(Contact).values(email="other@example.com")).inserted_primary_key
        row = {"global_id": contact, "user_id": user, "request_id": other}
        connection.execute(insert(QueuedContact), [row] * 3_000)
    data.queue("last@example.com")
    explainer = Explainer(engine)
    export_results(engine, tmp_path / "small.csv", request_id=data.request_id)
    export_results(engine, tmp_path / "others.csv", request_id=other)
    small, others = (plan for plan in explainer.plans if "json_array" in plan.lower())
    assert "idx_request_status" in small
    assert "idx_request_status" not in others
    lines = (tmp_path / "small.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["email", "first@example.com", "last@example.com"]
    assert len((tmp_path / "others.csv").read_text().splitlines()) == 3_001


def test_no_contacts(data: _Data, tmp_path: Path) -> None:
    """A request without contacts gives a file with a header."""
    assert _export(data, tmp_path) == []
    assert (tmp_path / "results.csv").read_text().strip().split(",") == list(COLUMNS)


@pytest.mark.parametrize(
    ("provider", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+SUM(1)", "'+SUM(1)"),
        ("-cmd", "'-cmd"),
        ("@import", "'@import"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-5", "-5"),
        ("+49.5", "+49.5"),
        ("plain", "plain"),
        ('\'quoted, "text"', '\'quoted, "text"'),
        ("Müller 漢字", "Müller 漢字"),
    ],
)
def test_no_formulas(data: _Data, tmp_path: Path, provider: str, written: str) -> None:
    """A text that a spreadsheet would run is made harmless; numbers and other texts stay as they are."""
    data.queue("anna@example.com", verdict={**_VERDICT, "provider": provider})
    (line,) = _export(data, tmp_path)
    assert line["provider"] == written


def test_no_character_moves_a_cell_into_another_column(data: _Data, tmp_path: Path) -> None:
    """Whatever Bouncer or an application writes, cells stay in their columns: also with ASCII's separators in them."""
    odd = "a\x1fb\x1ec\x1dd,e"
    domain = {"name": odd, "acceptAll": "yes"}
    verdict = {**_VERDICT, "provider": odd, "bouncer_reason": odd, "did_you_mean": odd, "domain_info": domain}
    data.queue("anna@example.com", verdict=verdict, error_message=odd)
    data.queue("berta@example.com", verdict=_VERDICT)
    first, second = _export(data, tmp_path)
    assert {len(line) for line in (first, second)} == {len(COLUMNS)}
    shown = {odd, odd.replace("\x1f", " "), visible(odd)}
    assert {first["provider"], first["reason"], first["did_you_mean"], first["domain"], first["error"]} <= shown
    assert (first["accept_all"], first["outcome"], first["verified_at"]) == ("yes", "completed", "2026-01-02T03:04:05Z")
    assert second["provider"] == "example"


def _awkward(data: _Data) -> None:
    texts = [
        "",
        "=1+1",
        "-5",
        '"',
        '="',
        "a,b",
        "a;=b",
        "\r\n",
        "\n",
        " =x",
        "'",
        "\\",
        "漢字",
        "x\ty",
        "\u200b=x",
        "|",
        "null",
    ]
    nothing: dict[str, Any] = {"bouncer_status": "", "domain_info": None, "account_info": {}}
    for number, text in enumerate(texts):
        cells = {"bouncer_reason": text, "provider": text, "toxic": text[:3], "did_you_mean": text}
        domain = {"name": text, "acceptAll": [text], "disposable": {"a": text}, "free": None}
        account = {"role": number, "disabled": 0.5, "fullMailbox": True}
        times = {"processed_ts": _EARLIER.replace(microsecond=number % 2 * 700_000)}
        verdict = {**_VERDICT, **cells, **times, "domain_info": domain, "account_info": account}
        data.queue(f"{text}{number}@example.com", verdict=verdict, error_message=text)
        data.queue(text, latest={"bouncer_status": text, "bouncer_verified_ts": _EARLIER.replace(microsecond=7)})
        data.queue(f"empty{number}@example.com", verdict=nothing, status="failed")
    with data.engine.begin() as connection:
        deep = insert(Batch).values(user_id=data.user_id, request_id=data.request_id, quantity=1, layer=Layer.DEEP)
        batch = connection.execute(deep).lastrowid
        looked_at = connection.execute(
            insert(Contact).values(email="deep@example.com", bouncer_deep_ts=_EARLIER)
        ).lastrowid
        connection.execute(insert(Result).values(batch_id=batch, global_id=looked_at, **_VERDICT))
        row = {"user_id": data.user_id, "request_id": data.request_id, "global_id": looked_at}
        connection.execute(insert(QueuedContact).values(**row))


def _cell_by_cell(data: _Data, path: Path) -> bytes:
    asked = (
        select(*result_cells())
        .select_from(QueuedContact)
        .join(Contact, Contact.global_id == QueuedContact.global_id)
        .outerjoin(Result, (Result.batch_id == QueuedContact.batch_id) & (Result.global_id == Contact.global_id))
        .order_by(QueuedContact.queue_id)
    )
    with data.engine.connect() as connection, path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *map(line, connection.execute(asked).all())])
    return path.read_bytes()


def test_awkward_cells_are_written_as_one_by_one(data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However an export takes contacts out of the database, the file has the same bytes."""
    _awkward(data)
    expected = _cell_by_cell(data, tmp_path / "expected.csv")
    assert len(expected.splitlines()) > 50
    export_results(data.engine, tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_bytes() == expected
    monkeypatch.setattr("bouncer.files.exporting._stretch", lambda *_: None)
    export_results(data.engine, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == expected


def test_no_contact_is_lost_where_the_server_cuts_long_texts(data: _Data, tmp_path: Path) -> None:
    """Servers cut what they put together from many rows, with no error."""

    @event.listens_for(data.engine, "connect")
    def _cut(connection: Any, _entry: Any) -> None:
        if data.engine.dialect.name != "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("SET group_concat_max_len = 1024")

    data.engine.dispose()
    for number in range(20):
        data.queue(f"anna{number}@example.com", verdict=_VERDICT)
    assert [line["email"] for line in _export(data, tmp_path)] == [f"anna{number}@example.com" for number in range(20)]


def test_gaps_in_the_queue_are_not_searched(data: _Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contacts with far numbers between them are all there, in their order, and asked for in few statements."""
    monkeypatch.setattr("bouncer.files.exporting._CHUNK_ROWS", 3)
    monkeypatch.setattr("bouncer.files.exporting._STRETCH", 3)
    numbers = [*range(1, 9), 1_000, 500_000, *range(1_000_000, 1_000_010), 2_000_000_000]
    for number in numbers:
        data.queue(f"{number}@example.com", queue_id=number)
    statements: list[str] = []
    event.listen(data.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    assert [line["email"] for line in _export(data, tmp_path)] == [f"{number}@example.com" for number in numbers]
    assert len([statement for statement in statements if "Contacts_Global" in statement]) < len(numbers)


def test_standard_output(data: _Data, capsys: pytest.CaptureFixture[str]) -> None:
    """A dash writes to standard output, and nothing else there."""
    data.queue("anna@example.com")
    report = export_results(data.engine, "-")
    assert (report.rows, report.path) == (1, None)
    assert [line["email"] for line in csv.DictReader(capsys.readouterr().out.splitlines())] == ["anna@example.com"]


def test_a_pipe_is_written_into(data: _Data, tmp_path: Path) -> None:
    """An export to /dev/stdout or a named pipe reaches the reader, and does not put a file in the pipe's place."""
    data.queue("anna@example.com")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(max_workers=1) as reader:
        received = reader.submit(pipe.read_text)
        export_results(data.engine, pipe)
        assert [line["email"] for line in csv.DictReader(received.result().splitlines())] == ["anna@example.com"]
    assert pipe.is_fifo()


def test_a_link_stays_a_link(data: _Data, tmp_path: Path) -> None:
    """Where the name is a link, the file that it leads to is replaced."""
    data.queue("anna@example.com")
    (tmp_path / "results.csv").symlink_to(tmp_path / "of today.csv")
    _export(data, tmp_path)
    assert (tmp_path / "results.csv").is_symlink()
    assert "anna@example.com" in (tmp_path / "of today.csv").read_text()


def test_replaces_an_older_export(data: _Data, tmp_path: Path) -> None:
    """A second export takes the place of the first, and no other file is left in the folder."""
    data.queue("anna@example.com")
    assert len(_export(data, tmp_path)) == 1
    data.queue("ben@example.com")
    assert len(_export(data, tmp_path)) == 2
    assert [file.name for file in tmp_path.iterdir() if "results" in file.name] == ["results.csv"]


def test_failure_leaves_the_older_file(data: _Data, tmp_path: Path) -> None:
    """An export that fails halfway changes no file and leaves none behind."""
    data.queue("anna@example.com")
    path = tmp_path / "results.csv"
    path.write_text("older")

    def interrupt(_rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_results(data.engine, path, progress=interrupt)
    assert path.read_text() == "older"
    assert [file.name for file in tmp_path.iterdir() if "results" in file.name] == ["results.csv"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files without a name")
def test_kill_leaves_nothing(data: _Data, database_url: str, tmp_path: Path) -> None:
    """An export killed -9 halfway leaves no file with addresses behind."""
    data.queue("anna@example.com")
    folder = tmp_path / "exports"
    folder.mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", _EXPORT_UNTIL_KILLED, database_url, folder / "results.csv"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(folder.iterdir()) == []


def test_refusals(data: _Data, tmp_path: Path) -> None:
    """A request that does not exist and a place that takes no file are refused in one line."""
    (tmp_path / "file").touch()
    for path, request_id, words in [
        (tmp_path / "results.csv", data.request_id + 1, f"no request {data.request_id + 1}"),
        (tmp_path, None, "is a directory"),
        (tmp_path / "nowhere" / "results.csv", None, "No such file or directory"),
        (tmp_path / "file" / "results.csv", None, "Not a directory"),
    ]:
        with pytest.raises(InputRefused, match=words) as refused:
            export_results(data.engine, path, request_id=request_id)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "results.csv").exists()
