"""The history of the figures: what became worse is told, and a slower machine is no worse program."""

from dataclasses import replace
from pathlib import Path

from bench.history import append, machine_seconds, worse_than_last, write_history_chart
from bench.measuring import Row

_RATIO = Row("settling", 2.0, "s", floor=1.0, most_ratio=2.5)
_SECONDS = Row("status", 0.4, "s", most=0.5)
_RATE = Row("requests", 170.0, "a minute", least=150)


def test_what_became_worse_is_told(tmp_path: Path) -> None:
    """A tenth more of its floor, of its seconds on an equally fast machine, or a tenth less of a rate."""
    path = tmp_path / "history.csv"
    append(path, [_RATIO, _SECONDS, _RATE], machine=0.1)
    worse = [replace(_RATIO, measured=2.4), replace(_SECONDS, measured=0.48), replace(_RATE, measured=140)]
    assert worse_than_last(path, worse, 0.1) == [
        "settling: 20% worse than in the last measurement",
        "status: 20% worse than in the last measurement",
        "requests: 21% worse than in the last measurement",
    ]
    # On a machine half as fast, seconds say nothing; a ratio does.
    assert worse_than_last(path, worse[:2], 0.2) == ["settling: 20% worse than in the last measurement"]
    assert worse_than_last(path, [_RATIO, _SECONDS, _RATE], 0.1) == []


def test_each_row_is_drawn(tmp_path: Path) -> None:
    """The file grows by a line a row and measurement; the chart has a line for each row."""
    path, chart = tmp_path / "history.csv", tmp_path / "history.svg"
    for measured in (2.0, 2.2, 2.1):
        append(path, [replace(_RATIO, measured=measured), Row("no target", 1, "s")], machine=machine_seconds())
    assert len(path.read_text().splitlines()) == 4
    write_history_chart(path, chart)
    drawn = chart.read_text()
    assert drawn.count("<polyline") == 1
    assert "settling" in drawn
