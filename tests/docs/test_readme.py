"""The tables of the README are complete and true."""

import json
import re
from pathlib import Path

from deployments.command_line import app
from deployments.settings import Settings
from deployments.terminal.exit_codes import MEANINGS
from tests.docs.reference.flows import deployments_of_file

_README = (Path(__file__).parents[2] / "README.md").read_text()
_OF_PREFECT = {"PREFECT_API_URL"}
_SHOWN_OTHERWISE = {"DATABASE_URL", "BOUNCER_FLOWS_HOME", "PREFECT_API_URL"}


def _table(head: str) -> list[list[str]]:
    """The cells of the table whose first line begins with a head."""
    lines = _README.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def test_every_command_is_in_the_table() -> None:
    """What bouncer-flows --help lists, the README lists, with the same options."""
    shown = {row[0].strip("`").split()[0]: row[0] for row in _table("command")}
    commands = {name for name in app if not name.startswith("-")}
    assert shown.keys() == commands
    help_texts = app.generate_docs(output_format="markdown").split("\n## bouncer-flows ")[1:]
    for text in help_texts:
        command = text.split()[0]
        options = set(re.findall(r"^\* `(--[a-z-]+)", text, flags=re.MULTILINE))
        assert set(re.findall(r"--[a-z-]+", shown[command])) == options, command


def test_every_exit_code_is_in_the_table() -> None:
    """What commands end with, the README explains in the same words."""
    assert _table("exit code") == [[str(int(code)), meaning] for code, meaning in MEANINGS.items()]


def test_every_setting_is_in_the_table_with_its_default() -> None:
    """What Settings reads, the README explains."""
    shown: dict[str, str] = {}
    for names, defaults, *_ in _table("name"):
        variables = re.findall(r"`(\w+)`", names)
        values = [default.strip().strip("`") for default in defaults.split(",")]
        shown.update(zip(variables, values, strict=True))
    assert shown.keys() == {name.upper() for name in Settings.model_fields} | _OF_PREFECT
    for name, field in Settings.model_fields.items():
        if name.upper() not in _SHOWN_OTHERWISE:
            default = "none" if field.default is None else str(json.loads(json.dumps(field.default)))
            assert shown[name.upper()] == default, name


def test_every_deployment_is_in_the_table() -> None:
    """What prefect.yaml deploys, the README explains."""
    assert {row[0].strip("`") for row in _table("deployment")} == {one["name"] for one in deployments_of_file()}
