"""The script that follows the documentation notices what is not true, and what it cannot follow."""

import os
from pathlib import Path

import pytest

from tests.docs.following import PageWrong, follow, plain_environment
from tests.docs.page import PageRefused, commands_of, matches, pages_with_commands

_ROOT = Path(__file__).parents[2]
_LANGUAGES = {"sh", "text", "sql", "mermaid", "yaml", "json", "ini", "python", "nginx", "dockerfile", "toml", "csv"}


def _followed(tmp_path: Path, text: str) -> list[str]:
    page = tmp_path / "page.md"
    page.write_text(text)
    (tmp_path / "clean").mkdir()
    environment = plain_environment(tmp_path)
    return list(follow(page, tmp_path / "clean", tmp_path / "notes", environment))


def _block(commands: str) -> str:
    return f"```sh\n{commands}\n```\n"


def _output(text: str) -> str:
    return f"\n<!-- output -->\n```text\n{text}\n```\n"


def test_a_page_keeps_its_folder_and_its_variables(tmp_path: Path) -> None:
    """Blocks are typed into one terminal, so what one sets the next one has."""
    text = _block("mkdir there && cd there\nexport NAME=value") + _block("echo $NAME in ${PWD##*/}")
    assert len(_followed(tmp_path, text + _output("value in there"))) == 2


@pytest.mark.parametrize(
    "text",
    [
        _block("false"),
        _block("false\ntrue"),
        _block("echo one") + _output("two"),
        _block("echo one; echo two") + _output("one"),
        "<!-- exit code: 1 -->\n" + _block("true"),
        "<!-- exit code: 1 -->\n" + _block("exit 2"),
        "<!-- terminal: other -->\n" + _block("echo one; false") + _output("two"),
    ],
)
def test_what_is_not_true_is_found(tmp_path: Path, text: str) -> None:
    """A command that fails, another output or another exit code than the page states makes the page wrong."""
    with pytest.raises(PageWrong, match="page"):
        _followed(tmp_path, text)


def test_an_exit_code_that_is_stated_is_no_failure(tmp_path: Path) -> None:
    """What the page announces may happen, and the page goes on."""
    assert len(_followed(tmp_path, "<!-- exit code: 3 -->\n" + _block("(exit 3)") + _block("true"))) == 2


def test_another_terminal_runs_on_until_the_page_is_over(tmp_path: Path) -> None:
    """A server in another terminal is waited for until it says that it is ready, and is gone afterwards."""
    text = (
        "<!-- terminal: server -->\n"
        + _block("echo $$ > pid; echo ready; exec sleep 100")
        + _output("ready")
        + _block('kill -0 "$(cat pid)"')
    )
    assert len(_followed(tmp_path, text)) == 2
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "clean" / "pid").read_text()), 0)


def test_a_command_is_repeated_where_the_page_says_so(tmp_path: Path) -> None:
    """What takes a moment is looked at again, as a reader would."""
    text = "<!-- repeat -->\n" + _block("echo x >> lines; wc -l < lines") + _output("2")
    assert len(_followed(tmp_path, text)) == 1


def test_what_a_page_takes_for_granted_is_run_first(tmp_path: Path) -> None:
    """A how-to begins where its reader stands; the script has to be brought there."""
    text = "<!-- run first:\nexport NAME=value\n-->\n\n" + _block("echo $NAME") + _output("value")
    assert len(_followed(tmp_path, text)) == 2


def test_what_is_not_run_has_a_reason(tmp_path: Path) -> None:
    """A block can be left out, but not without saying why."""
    assert "needs an account" in _followed(tmp_path, "<!-- not run: needs an account -->\n" + _block("false"))[0]
    (tmp_path / "page.md").write_text("<!-- not run: -->\n" + _block("false"))
    with pytest.raises(PageRefused, match="no reason"):
        commands_of(tmp_path / "page.md")


def test_a_comment_that_is_misspelt_is_refused(tmp_path: Path) -> None:
    """A comment that nobody understands must not pass for one that was heeded."""
    (tmp_path / "page.md").write_text("<!-- never run: because -->\n" + _block("false"))
    with pytest.raises(PageRefused, match="nothing is known of"):
        commands_of(tmp_path / "page.md")


@pytest.mark.parametrize(
    ("stated", "printed", "same"),
    [
        ("one", "one\n", True),
        ("one", "one\ntwo\n", False),
        ("one\n…", "one\ntwo\nthree\n", True),
        ("…\nthree", "one\ntwo\nthree\n", True),
        ("…\ntwo\n…", "one\nthree\n", False),
        ("at … o'clock", "at 12 o'clock\n", True),
        ("at … o'clock", "at 12\no'clock\n", False),
        ("a.c", "abc\n", False),
    ],
)
def test_an_output_is_compared_whole(stated: str, printed: str, same: bool) -> None:
    """An ellipsis stands for any characters, or alone for any lines; all else is compared letter by letter."""
    assert matches(stated, printed) is same


def _pages() -> list[Path]:
    return [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *sorted((_ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", _pages(), ids=lambda page: str(page.relative_to(_ROOT)))
def test_every_page_can_be_followed(page: Path) -> None:
    """Each block says what it is, so that no command hides from the script, and each comment is understood."""
    lines = page.read_text().splitlines()
    blocks = [number for number, line in enumerate(lines, 1) if line.lstrip().startswith("```sh")]
    # The others are comments with what is run first.
    assert [found.line for found in commands_of(page) if not lines[found.line - 1].startswith("<!--")] == blocks
    fences = [line.strip() for line in lines if line.lstrip().startswith("```")]
    assert {fence.removeprefix("```").partition(" ")[0] for fence in fences[::2]} <= _LANGUAGES


def test_every_page_with_commands_is_followed() -> None:
    """The tutorial comes first, since it installs; no page of docs can have commands that nobody types."""
    followed = pages_with_commands(_ROOT)
    assert followed[:2] == ["docs/tutorial.md", "README.md"]
    with_commands = {str(page.relative_to(_ROOT)) for page in _pages() if commands_of(page)}
    # Contributing lists the targets of make, among them this script.
    assert sorted(followed) == sorted(with_commands - {"CONTRIBUTING.md"})
