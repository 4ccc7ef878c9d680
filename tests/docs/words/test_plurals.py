"""Messages have the grammar of English at every count: no "1 contacts", no "1 contact wait"."""

import re
from pathlib import Path

from bouncer.plurals import counted

_ROOT = Path(__file__).parents[3]
_FOLDERS = ("bouncer", "blocks", "tasks", "flows", "deployments", "sandbox")
_THINGS = (
    "accounts|addresses|artifacts|batches|calls|contacts|credits|dead letters|lines|lists|requests|results|rows|runs|"
    "slots|uploads|verdicts"
)
_VERBS = "are|come|go|have|stay|still wait|wait|were"
# A number in a template or a log line, and right behind it a noun for many, or a verb of theirs.
_FOR_MANY = re.compile(rf"(?<!batch )(%d|\{{[^{{}}]*\}}) (([a-z]+ )?({_THINGS})|{_VERBS})\b")
_NUMBER = re.compile(r"%d|\{[^{}]*(:,|:\.0f|len\(|count)[^{}]*\}")
# Never one: the largest sheet; calls and requests near a limit, so many that an alert may judge
# them; twice a number; the addresses of a cell with several.
_NEVER_ONE = (
    "{LARGEST_SHEET:,} lines",
    "{health.account.calls.total:,} calls",
    "{health.account.requests_a_minute} requests",
    "{2 * len(addresses)} credits",
    "{len(found)} addresses",
)


def _wrong(line: str) -> list[str]:
    return [
        found[0]
        for found in _FOR_MANY.finditer(line)
        if _NUMBER.match(found[1]) and "counted(" not in found[1] and found[0] not in _NEVER_ONE
    ]


def test_counts_have_the_noun_and_the_verb_of_their_number() -> None:
    """They are put together by ``counted``, which knows one from many."""
    wrong = {
        f"{file.relative_to(_ROOT)}:{number}": found
        for folder in _FOLDERS
        for file in (_ROOT / folder).rglob("*.py")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if (found := _wrong(line))
    }
    assert wrong == {}


def test_the_search_finds_what_is_wrong() -> None:
    """As such messages stood here."""
    assert _wrong('log.info("%d contacts waited for batches", n)')
    assert _wrong('f"{failed:,} failed, {after.open:,} still wait"')
    assert _wrong('f"{len(users)} rows of Users"')
    assert not _wrong("f\"{counted(contacts, 'contact waits', 'contacts wait')} while\"")
    assert counted(1, "contact waits", "contacts wait") == "1 contact waits"
    assert counted(2_000, "contact waits", "contacts wait") == "2,000 contacts wait"
