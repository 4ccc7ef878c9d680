"""Names, reasons and headers that strangers write: they stay text in terminals, logs, artifacts and events."""

import io
import json
import logging
import traceback
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from prefect.server.utilities.user_templates import render_user_template_sync
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine, select

from bouncer.errors import InputRefused
from bouncer.files.csv.reading import inspect
from bouncer.files.importing import import_contacts
from bouncer.files.lists.sources import opened_list
from bouncer.monitoring.charts import verdict_table
from bouncer.safe_text import in_event, in_markdown, visible
from bouncer.storage.engine import read
from bouncer.storage.tables import Request
from deployments.terminal import console as terminal
from deployments.terminal.json_text import json_text
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.deployments.running_commands import clean_environment, run

_ESCAPES = [
    "\x1b[2J\x1b]0;title\x07",
    "\x9b2J",
    "\r\x1b[A all is well",
    "name\nbouncer-flows: all is well",
    "name\x85bouncer-flows: all is well",
    "name\u2028bouncer-flows: all is well",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\x00\x08\x7f",
    "\ufeffname",
    "\u200fname\u200e",
    "name\U000e0041",
]
_MARKDOWN = [
    "![x](http://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "<img src=http://evil.example/x.png>",
    "<script>alert(1)</script>",
    "&lt;img src=x&gt;",
    "| a | b |",
    "text\n# heading\n\n![x](http://evil.example/x.png)",
    "`code` **bold** ~~gone~~ _it_",
    "<http://evil.example>",
    "http://evil.example/ https://evil.example www.evil.example",
    "[x]: http://evil.example\n[x]",
    "\\![x](http://evil.example/x.png)",
    "\\\\[x](http://evil.example)",
    "&#91;x&#93;(http://evil.example)",
]


def _moves(text: str) -> set[str]:
    return {
        c
        for c in text
        if c != "\n"
        and (ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029\u202e\u2066\u200e\u200f\U000e0041")
    }


@pytest.mark.parametrize("text", _ESCAPES)
def test_a_terminal_shows_what_would_move_its_cursor(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard error, standard output, cells of tables and coloured texts alike; a line is a line."""
    shown = io.StringIO()
    screen = terminal.console()
    monkeypatch.setattr(screen, "file", shown)
    table = Table()
    table.add_row(text, Text(text, "bold"))
    screen.print(table)
    screen.print(Text(text))
    terminal.tell(f"request 1 ({text}) is there")
    terminal.say(f"no such request: {text}")
    told = capsys.readouterr()
    assert _moves(shown.getvalue()) == set()
    assert _moves(told.out + told.err) == set()
    assert told.out.count("\n") == 1
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("text", _ESCAPES)
def test_json_moves_no_cursor_and_reads_back_the_same(text: str) -> None:
    """Terminals obey what JSON lets through."""
    line = json_text({"name": text})
    assert _moves(line) == set()
    assert "\n" not in line
    assert json.loads(line) == {"name": text}


@pytest.mark.parametrize("text", _ESCAPES)
@pytest.mark.parametrize("name", ["bouncer.anything", "tasks.queue", "prefect.flow_runs", "prefect.task_runs"])
def test_a_log_line_stays_one_line(text: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever names a request could write lines of the log."""
    caplog.set_level(logging.INFO)
    logging.getLogger(name).warning("request %s was refused: %s", text, ValueError(text))
    logging.getLogger(name).warning("request %(name)s", {"name": text})
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert _moves(record.getMessage()) == set()
        assert "\n" not in record.getMessage()


@pytest.mark.parametrize("text", _ESCAPES)
def test_a_traceback_shows_what_would_move_the_cursor(text: str, tmp_path: Path) -> None:
    """Runs that fail are logged with their traceback, at whose end the error quotes a name or a header."""
    for place in (f"{tmp_path}/{text.replace(chr(0), '')}.csv", f"nosuch://host/{text}.csv"):
        with pytest.raises(InputRefused) as refused, opened_list(place) as source:
            inspect(source.path, name=source.name)
        told = "".join(traceback.format_exception_only(refused.value))
        assert _moves(told) == set()
        assert told.count("\n") == 1


@pytest.mark.parametrize("text", _MARKDOWN)
def test_an_artifact_shows_it_as_it_is(text: str) -> None:
    """The UI loaded a picture from a stranger's server; the judge is a parser of Markdown that allows everything."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for page in (f"## {in_markdown(text)}", f"- **Bouncer**: {in_markdown(text)}", verdict_table({text: 3})):
        tokens = parser.parse(page)
        inline = [child for token in tokens for child in token.children or []]
        assert {child.type for child in inline} <= {"text", "strong_open", "strong_close", "text_special"}, page
        assert all(token.type not in {"html_block", "code_block", "fence"} for token in tokens), page
        assert "://" not in page
        assert "www." not in page
    cells = [token for token in parser.parse(verdict_table({text: 3})) if token.type == "td_open"]
    assert len(cells) == 4


def test_usual_text_is_left_alone() -> None:
    """People's own names stay readable."""
    for name in ("Customers of May (2), 50 % off: a-b/c.csv", "Müller und Söhne", "名前", "\u0645\u06cc\u200c\u062e"):
        assert (visible(name), in_markdown(name)) == (name, name)


@pytest.mark.parametrize(
    "text", ["{{ 7 * 7 }}", "{% for x in y %}", "{# x #}", "<!channel> <@U1> <http://evil.example|here>", "`x`", "a\nb"]
)
def test_a_template_of_an_automation_sees_no_command(text: str) -> None:
    """Neither Jinja's, even where a text is rendered twice, nor those of chats, which would call everybody."""
    safe = in_event(text)
    assert not set("{}<>`\n") & set(safe)
    assert render_user_template_sync(safe, {}) == safe


@on_sqlite
def test_the_name_of_a_request_is_stored_in_one_line(engine: Engine, tmp_path: Path) -> None:
    """The name of a file, or --request, is shown in ten places; it is stored as it may be shown."""
    file = tmp_path / "evil\x1b[2J\nname.csv"
    file.write_text("email\nada@example.com\n")
    import_contacts(engine, file)
    stored = read(engine, lambda connection: connection.scalar(select(Request.name)))
    assert stored == "evil\u241b[2J\u240aname.csv"


@pytest.mark.parametrize("argument", ["no\x1b[2Jsuch.csv", "no\nsuch.csv", "no\x9bsuch.csv"])
def test_a_complaint_is_one_line(tmp_path: Path, argument: str) -> None:
    """A file's name, or a header of it, is quoted in errors."""
    ended = run(["import", argument], clean_environment(tmp_path))
    assert _moves(ended.complaint) == set()
    (tmp_path / "list.csv").write_text("na\x1b[2Jme,other\nx,y\n")
    ended = run(["import", str(tmp_path / "list.csv")], clean_environment(tmp_path))
    assert _moves(ended.complaint) == set()
