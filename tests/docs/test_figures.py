"""The figures of docs/performance.md are those of bench/results.json, and of nothing else."""

from pathlib import Path

import pytest

from bench.measuring import Row
from bench.page import PAGE, RESULTS, figures_of, figures_on, write_page
from bench.report import write_chart, write_json


def test_the_page_shows_what_was_measured() -> None:
    """Page and file agree; where nothing was measured, the page shows nothing."""
    assert figures_on(PAGE) == figures_of(RESULTS)


def test_a_measurement_comes_onto_the_page(tmp_path: Path) -> None:
    """A line for each figure, those that miss their target too, and the rest of the page as it was; safe to repeat."""
    page, results = tmp_path / "performance.md", tmp_path / "results.json"
    page.write_text(PAGE.read_text())
    rows = [
        Row("settle 10,000 results", 0.5, "s", floor=0.25, floor_is="LOAD DATA", most_ratio=2.5),
        Row("import", 10, "s", floor=2, floor_is="LOAD DATA", most_ratio=3),
        Row("memory | peak", 170, "MB"),
    ]
    write_json(results, rows, quick=False, seconds=1_000, load_before=0.1)
    write_chart(results.with_suffix(".svg"), rows)
    write_page(page, results)
    write_page(page, results)
    figures = figures_on(page)
    assert figures == figures_of(results)
    assert "| settle 10,000 results | 0.5 s | 0.25 s: LOAD DATA | 2.00 | at most 2.5 times the floor | yes |" in figures
    assert "| import | 10 s | 2 s: LOAD DATA | 5.00 | at most 3 times the floor | **no** |" in figures
    assert r"| memory \| peak | 170 MB |  |  |  |  |" in figures
    assert page.read_text().replace(figures, "") == PAGE.read_text().replace(figures_on(PAGE), "")


def test_a_page_without_its_marks_is_told_of(tmp_path: Path) -> None:
    """Figures that would silently go nowhere are an error."""
    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="marks"):
        figures_on(page)
