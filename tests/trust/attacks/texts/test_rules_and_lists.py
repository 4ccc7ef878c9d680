"""Attacks by what people may fill into a form: the rule of a result, and the list itself."""

import gzip
import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from bouncer.errors import InputRefused
from bouncer.files.lists import sources
from bouncer.files.lists.rules import lines_of_rule
from bouncer.files.lists.sources import opened_list

_FRAME = pd.DataFrame(
    {
        "email": ["a@example.com", "b@example.org"],
        "status": ["risky", "unknown"],
        "score": [3, 80],
        "my col": ["x", "y"],
    }
)
_FILE = "written-by-a-rule"
_ACTING = (
    f"status.to_csv('{_FILE}') == 1",
    f"status.apply('to_csv', path_or_buf='{_FILE}') == 1",
    f"status.to_pickle('{_FILE}') == 1",
    f"email == '`' and status.to_csv('{_FILE}') == '`'",
    f'email == "`" and status.to_csv("{_FILE}") == "`"',
    f'email == """`""" and status.to_csv(\'{_FILE}\') == \'`\'',
    f"`my col`.to_csv('{_FILE}') == 1",
    f"status.str.lower().to_csv('{_FILE}') == 1",
    f"status.isin([status.to_csv('{_FILE}')])",
    f"status.str.contains(pat=status.to_csv('{_FILE}')).isna()",
    f"status.str.contains('x', na=status.to_csv('{_FILE}'))",
    f"status.str.strip(to_strip=status.to_csv('{_FILE}')).isna()",
    f"[status.to_csv('{_FILE}')][0] == 1",
    f"(lambda: status.to_csv('{_FILE}'))() == 1",
    f"status.map({{}}.get).to_csv('{_FILE}') == 1",
    f"index.to_series().to_csv('{_FILE}') == 1",
    "status.array.dtype.type.mro() == 1",
    "status.__class__ == 1",
    "__import__('os').getcwd() == ''",
    "@pd.io.common.os.getcwd() == ''",
    "score == 9 ** 9 ** 9",
    "email == 'a' * 1000000000",
    "email == " + " + ".join(["email"] * 1_000),
    "f'{status}' == ''",
    "status == 'risky'\nstatus.isna()",
    "(" * 3_000 + "score" + ")" * 3_000 + " > 1",
    "-" * 100_000 + "score > 1",
)


@pytest.mark.parametrize("rule", _ACTING)
def test_a_rule_compares_and_does_nothing(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``status.to_csv('…')`` overwrote any file that the worker may write to."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputRefused) as refused:
        lines_of_rule(_FRAME, rule)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "rule",
    [
        "status == 'risky' and score < 60",
        "status in ['risky', 'undeliverable'] or score > 99",
        "not (status == 'unknown') & ~(score >= 60)",
        "`my col` == 'x'",
        "email.str.endswith('example.com')",
        "email.str.lower().str.contains('EXAMPLE.COM', case=False, regex=False)",
        "email.str.len() == 13 and status.isin(['risky'])",
        "score.between(1, 10) and status.notna()",
        "score + 1 == 4",
    ],
)
def test_rules_that_compare_are_followed(rule: str) -> None:
    """As the documentation has them."""
    assert 0 in lines_of_rule(_FRAME, rule).index


_SLOW = (
    "email.str.contains('(a+)+$')",
    "email.str.contains('(' + 'a+)+$')",
    "email.str.contains(pat='(a+)+$')",
    "email.str.contains('(a+)+$', regex=True)",
    "email.str.contains('(a+)+$', True, 0, None, False)",
    "email.str.contains('(a+)+$', regex=0)",
    "email.str.contains('(a+)+$', regex=False == True)",
    "email.str.lower().str.contains('(a+)+$').isna()",
    "email.isin([email.str.contains('(a+)+$')])",
    "email.str.contains('x', na=email.str.contains('(a+)+$'))",
    "email.str.match('(a+)+$')",
    "email.str.match('(a+)+$', regex=False)",
    "email.str.fullmatch('(a|aa)+')",
    "email.str.contains('a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b')",
    "email.str.contains('" + "a?" * 30 + "a" * 30 + "b')",
    "email.str.contains('a{1,30}a{1,30}a{1,30}a{1,30}b')",
    "email.str.contains('" + "(a|a)" * 30 + "b')",
    "email.str.contains('" + "." * 1_000 + "b')",
    "email.str.contains(email)",
    "email.str.len() > 1" + " and score > 1" * 1_000,
)


@pytest.mark.parametrize("rule", _SLOW)
def test_no_rule_takes_for_ever(rule: str) -> None:
    """One pattern on one address of thirty letters did not come back, and the worker with it."""
    frame = pd.DataFrame({"email": ["a" * 30 + "@example.com"], "score": [1]})
    with pytest.raises(InputRefused) as refused:
        lines_of_rule(frame, rule)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "rule",
    [
        "email.str.contains('example.com$')",
        "email.str.contains('^a@|gmail|[xyz]@', case=False, na=False)",
        "email.str.match('a@example') and email.str.fullmatch('a@example.com')",
        "status == 'risky' and not email.str.contains('(a+)+$', regex=False)",
        "email.str.startswith('a') and not email.str.contains('+', regex=False, case=False)",
        "score == 3" + " or score > 99" * 100,
    ],
)
def test_patterns_that_neither_repeat_nor_group_are_followed(rule: str) -> None:
    """Which are those that people write."""
    assert list(lines_of_rule(_FRAME, rule).index) == [0]


def test_a_list_that_unpacks_to_far_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes of gzip filled the disk."""
    monkeypatch.setattr(sources, "MOST_UNPACKED", 1_000_000)
    bomb = tmp_path / "list.csv.gz"
    bomb.write_bytes(gzip.compress(b"email\n" + b"\n" * 20_000_000))
    with pytest.raises(InputRefused, match="unpacks to far more"), opened_list(str(bomb)):
        pass
    whole = tmp_path / "whole.csv.gz"
    whole.write_bytes(gzip.compress(b"email\na@example.com\n"))
    with opened_list(str(whole)) as source:
        assert source.path.read_text() == "email\na@example.com\n"


def test_a_workbook_that_unpacks_to_far_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its texts are read into memory, all at once."""
    monkeypatch.setattr(sources, "MOST_UNPACKED", 1_000_000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/sharedStrings.xml", b"<t>a</t>" * 2_000_000)
    bomb = tmp_path / "list.xlsx"
    bomb.write_bytes(packed.getvalue())
    with pytest.raises(InputRefused, match="unpacks to far more"), opened_list(str(bomb)):
        pass
