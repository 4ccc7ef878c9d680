"""One meaning, one word: docs/glossary.md says which, and nothing uses another."""

import re
from collections.abc import Iterator

from tests.docs.words.prose import PRODUCT, ROOT, prose_of_code, prose_of_page, rows_of_table

_GLOSSARY = ROOT / "docs" / "glossary.md"
# A twin that means something else where it stands, by file.
_ALLOWED = {
    "bouncer/files/csv/headers.py": {"email address", "mail address", "customer"},  # the headers of others
    "bouncer/addresses/normalisation.py": {"email address"},  # the words of the library that refuses others
    "sandbox/errors.py": {"email address"},  # the words of Bouncer
    "docs/production.md": {"job"},  # of Kubernetes
    # Job variables, as Prefect calls them.
    "deployments/commands/installing/deploy.py": {"job"},
    "deployments/serving/deploy.py": {"job"},
    "deployments/setup/deployments_from_yaml.py": {"job"},
    "docs/reference/commands.md": {"job"},
    "docs/prefect-server.md": {"job"},
    "docs/decisions.md": {"job"},
}


def _twins() -> dict[str, str]:
    """The words that are never used, each with the one to say."""
    return {twin.strip(): say for say, twins in rows_of_table(_GLOSSARY, "say") for twin in twins.split(",")}


def _prose() -> Iterator[tuple[str, int, str]]:
    for layer in PRODUCT:
        for file in sorted((ROOT / layer).rglob("*.py")):
            yield str(file.relative_to(ROOT)), 1, prose_of_code(file)
    for page in {*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {_GLOSSARY}:
        for line, text in prose_of_page(page):
            yield str(page.relative_to(ROOT)), line, text


def test_no_twin_of_a_word_is_used() -> None:
    """Whoever searches for a word of the glossary finds all there is, since nothing has a second name."""
    twins = _twins()
    assert twins
    words = "|".join(re.escape(twin).replace(r"\ ", r"\s+") for twin in sorted(twins, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])({words})(?:e?s)?\b", re.IGNORECASE)
    found = []
    for file, line, text in _prose():
        for match in pattern.finditer(text):
            twin = " ".join(match[1].lower().split())
            if twin not in _ALLOWED.get(file, set()):
                place = line + text.count("\n", 0, match.start())
                found.append(f"{file}:{place}: {twin!r}; say {twins[twin]!r}")
    assert not found, "\n".join(found)


def test_every_word_stands_once_in_order() -> None:
    """A word is found where the alphabet has it, with one meaning."""
    words = [word.lower() for word, _ in rows_of_table(_GLOSSARY, "word")]
    assert words == sorted(set(words))
