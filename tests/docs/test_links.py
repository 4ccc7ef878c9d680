"""Links between pages lead somewhere."""

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

_ROOT = Path(__file__).parents[2]
_PAGES = [*sorted(_ROOT.glob("*.md")), *sorted((_ROOT / "docs").rglob("*.md"))]


def _links(page: Path) -> list[str]:
    tokens = [child for token in MarkdownIt().enable("table").parse(page.read_text()) for child in token.children or []]
    return [
        str(token.attrGet("href") or token.attrGet("src")) for token in tokens if token.type in {"link_open", "image"}
    ]


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    tokens = MarkdownIt().parse(page.read_text())
    headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the repository finds it, and its heading where it names one."""
    dead = []
    for link in _links(page):
        if link.startswith(("https:", "http:", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_is_linked_from_the_index() -> None:
    """Whoever reads docs/README.md finds all pages."""
    index = _ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in _links(index)}
    assert set((_ROOT / "docs").rglob("*.md")) - linked - {index} == set()
