"""The words of the project: of its pages, and of its code's names, docstrings, comments, messages and help texts."""

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["PRODUCT", "ROOT", "prose_of_code", "prose_of_page", "rows_of_table"]

ROOT = Path(__file__).parents[3]
PRODUCT = ("bouncer", "blocks", "tasks", "flows", "deployments", "sandbox", "bench")

# Values and names that are quoted stay as they are, so they are no prose.
_QUOTED = re.compile(r"""``[^`\n]*``|`[^`\n]*`|"[\w.:/-]*"|'[\w.:/-]*'|https?://\S+""")


def prose_of_page(page: Path) -> Iterator[tuple[int, str]]:
    """The text of a Markdown page by lines, without code, links' targets and comments."""
    for block in MarkdownIt().enable("table").parse(page.read_text()):
        if block.type == "inline" and block.map:
            yield (
                block.map[0] + 1,
                "".join(
                    "\n" if child.type == "softbreak" else child.content
                    for child in block.children or []
                    if child.type in {"text", "softbreak"}
                ),
            )


def prose_of_code(file: Path) -> str:
    """The whole of a Python file, line by line, with its names as words and without quoted ones."""
    return _QUOTED.sub("", file.read_text()).replace("_", " ")


def rows_of_table(page: Path, head: str) -> list[list[str]]:
    """The cells of a page's table whose first line begins with a head."""
    lines = page.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = takewhile(lambda line: line.startswith("|"), lines[first + 2 :])
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
