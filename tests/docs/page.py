"""The commands of a Markdown page, in order, with what the page says of them.

A comment before a block of commands (three backticks and ``sh``) says how it is to be followed:

- ``<!-- not run: REASON -->``: it cannot be, and why.
- ``<!-- exit code: N -->``: it ends with N and not with 0.
- ``<!-- terminal: NAME -->``: in another terminal, opened in the same folder; the block need not end.
- ``<!-- repeat -->``: again and again, until it prints what is stated.

A comment ``<!-- run first: COMMANDS -->`` stands alone, and has commands that the page takes for granted, such as those
that start what its reader has long had.

A block ``text`` after the comment ``<!-- output -->`` is what the commands before it print. In it, ``…`` stands for
any characters, and alone on a line for any lines.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["Commands", "PageRefused", "commands_of", "matches", "pages_with_commands"]

_COMMENT = re.compile(r"<!--\s*(.+?)\s*-->", re.DOTALL)
_FIRST = "<!-- run first:"
_OPTIONS = {"exit code", "not run", "output", "repeat", "terminal"}


class PageRefused(Exception):
    """A page says something of its commands that cannot be understood."""


@dataclass(frozen=True)
class Commands:
    """One block of commands.

    Attributes:
        line: Where it begins, from 1.
        text: The commands.
        terminal: Which terminal they are typed into; empty for the first.
        exit_code: How they must end.
        not_run: Why they are not run; empty where they are.
        repeat: Whether they are run until they print what is stated.
        output: What they print, or None where the page does not tell.
    """

    line: int
    text: str
    terminal: str = ""
    exit_code: int = 0
    not_run: str = ""
    repeat: bool = False
    output: str | None = None


def commands_of(page: Path) -> list[Commands]:
    """Reads the blocks of commands of a page.

    Raises:
        PageRefused: A comment cannot be understood.
    """
    found: list[Commands] = []
    before = None
    for token in MarkdownIt().parse(page.read_text()):
        line = token.map[0] + 1 if token.map else 0
        place = f"{page.name}:{line}"
        if token.type == "html_block" and token.content.startswith(_FIRST):
            text = token.content.removeprefix(_FIRST).strip().removesuffix("-->")
            found.append(Commands(line, text))
        elif token.type == "fence":
            said = _said(before, place)
            if token.info == "sh":
                found.append(_commands(token.content, line, said, place))
            elif "output" in said:
                if not found:
                    raise PageRefused(f"{place}: an output without commands before it")
                found[-1] = replace(found[-1], output=token.content)
        before = token
    return found


def pages_with_commands(root: Path) -> list[str]:
    """Lists the pages that are followed, in this order: tutorial, README, how-to pages, all others of ``docs``.

    Args:
        root: The folder of the project.

    Returns:
        Their paths in that folder.
    """
    docs = root / "docs"
    pages = [
        docs / "tutorial.md",
        root / "README.md",
        *sorted((docs / "how-to").glob("*.md")),
        *sorted(docs.glob("*.md")),
    ]
    return list(dict.fromkeys(str(page.relative_to(root)) for page in pages if _has_commands(page)))


def matches(stated: str, printed: str) -> bool:
    """Whether commands printed what a page states; spaces at the ends of lines do not matter."""
    expression = ""
    for line in stated.strip("\n").splitlines():
        if line.strip() == "…":
            expression += r"(?:.*\n)*?"
        else:
            expression += ".*".join(map(re.escape, line.rstrip().split("…"))) + r"[ \t]*\n"
    return re.fullmatch(expression, printed.strip("\n") + "\n") is not None


def _has_commands(page: Path) -> bool:
    try:
        return bool(commands_of(page))
    except PageRefused:
        # Whoever follows it is told why.
        return True


def _said(token: Token | None, place: str) -> dict[str, str]:
    said: dict[str, str] = {}
    if token is None or token.type != "html_block" or token.content.startswith(_FIRST):
        return said
    for comment in _COMMENT.findall(token.content):
        option, _, value = comment.partition(":")
        if option not in _OPTIONS:
            raise PageRefused(f"{place}: nothing is known of {option!r}; one of {', '.join(sorted(_OPTIONS))}")
        said[option] = value.strip()
    return said


def _commands(text: str, line: int, said: dict[str, str], place: str) -> Commands:
    if "not run" in said and not said["not run"]:
        raise PageRefused(f"{place}: not run, and no reason is given")
    return Commands(
        line=line,
        text=text,
        terminal=said.get("terminal", ""),
        exit_code=int(said.get("exit code", 0)),
        not_run=said.get("not run", ""),
        repeat="repeat" in said,
    )
