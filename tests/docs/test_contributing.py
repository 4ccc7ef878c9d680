"""CONTRIBUTING.md answers where things are changed, with files that are there."""

import re

import pytest

from tests.docs.words.prose import ROOT, rows_of_table

_PAGE = ROOT / "CONTRIBUTING.md"
_ANSWERS = rows_of_table(_PAGE, "where do I change …")


@pytest.mark.parametrize(("question", "answer"), _ANSWERS, ids=[question for question, _ in _ANSWERS])
def test_the_files_of_an_answer_are_there(question: str, answer: str) -> None:
    """Whoever asks where something is changed opens the file at once; who moves a file mends its row."""
    files = re.findall(r"`([^`]+)`", answer)
    assert files
    missing = [file for file in files if not (ROOT / file).exists()]
    assert missing == [], f"Where do I change {question}"


def test_thirty_questions_are_answered() -> None:
    """Thirty, each once: the test of a house is the first guess."""
    assert len({question for question, _ in _ANSWERS}) == len(_ANSWERS) >= 30
