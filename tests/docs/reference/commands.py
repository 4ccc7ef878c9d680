"""The page of commands, from the command line itself."""

import re

from deployments.command_line import app
from deployments.terminal.exit_codes import MEANINGS
from tests.docs.markdown import table

__all__ = ["commands_page"]

_SECTION = re.compile(r"^## `(.+)`\n+```console\n.*\n```\n+(.+)$", re.MULTILINE)
# Between a command and its arguments (options, or in capitals or brackets) stands how this process was started.
_BETWEEN = re.compile(r"^(bouncer-flows [a-z-]+)(?: (?!--)[^A-Z\[\s]\S*)*((?: (?:[A-Z\[]|--)\S*)*)$", re.MULTILINE)


def commands_page() -> str:
    """Each command with its arguments and options."""
    text = app.generate_docs(output_format="markdown", include_hidden=False)
    # The title is ours, and what stands between it and the first command is a list of the headings below.
    _, _, commands = text.partition("\n## bouncer-flows")
    body = re.sub(r"^## (bouncer-flows .+)$", r"## `\1`", "## bouncer-flows" + commands, flags=re.MULTILINE)
    body = _BETWEEN.sub(r"\1\2", body)
    return "\n\n".join(
        [
            "# Commands",
            "Data goes to standard output, everything else to standard error.",
            "What cannot be done is one line on standard error that says what to do next.",
            table(("command", "what it does"), [_row(section) for section in _SECTION.findall(body)]),
            table(("exit code", "meaning"), [(str(int(code)), meaning) for code, meaning in MEANINGS.items()]),
            body.replace("```console", "```text").strip(),
        ]
    )


def _row(section: tuple[str, str]) -> tuple[str, str]:
    """A command with a link to its section, and the first line of its help."""
    command, help_line = section
    return f"[`{command.removeprefix('bouncer-flows ')}`](#{command.replace(' ', '-')})", help_line
