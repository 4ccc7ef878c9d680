"""Charts show what the figures are: heights in proportion, gaps where nothing is known, thresholds where crossed."""

import base64
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncer.monitoring.charts import bar, line_chart, sparkline

_VALUES = st.lists(st.none() | st.integers(min_value=0, max_value=2**31 - 1), min_size=1, max_size=60)


def _svg(chart: str) -> ElementTree.Element:
    kind, _, content = chart.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return ElementTree.fromstring(base64.b64decode(content))  # noqa: S314  # our own


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0, 4, 7], "▁▅█"),
        ([None, 5, None, 10], "·▅·█"),
        ([0, 0], "▁▁"),
        ([], ""),
    ],
)
def test_a_sparkline_has_a_character_a_value(values: list[int | None], drawn: str) -> None:
    """The highest value is a full block, nothing is the lowest, and a dot is a value that nobody knows."""
    assert sparkline(values) == drawn


@pytest.mark.parametrize(("share", "drawn"), [(0, "    "), (0.5, "██  "), (0.53, "██▏ "), (1, "████"), (2, "████")])
def test_a_bar_is_filled_to_its_share(share: float, drawn: str) -> None:
    """A bar is as wide as it was asked to be, and finer than its characters."""
    assert bar(share, width=4) == drawn


@given(_VALUES)
def test_a_line_stays_within_its_picture(values: list[int | None]) -> None:
    """Whatever the figures are, no point lies outside, and each stretch without a gap is one line."""
    lines = [part for part in _svg(line_chart(values, width=200, height=24)) if part.tag.endswith("polyline")]
    stretches = re.findall("x+", "".join("." if value is None else "x" for value in values))
    assert len(lines) == len(stretches)
    for line in lines:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 200
            assert 0 <= y <= 24


def test_a_threshold_is_drawn_where_it_was_reached() -> None:
    """A threshold that no figure came near would only press the line to the ground."""

    def dashes(threshold: float) -> int:
        chart = _svg(line_chart([5, 10], width=200, height=24, threshold=threshold))
        return sum("stroke-dasharray" in part.attrib for part in chart)

    assert (dashes(8), dashes(11)) == (1, 0)


def test_the_first_value_of_a_new_day_is_seen() -> None:
    """The first checks stand at the right edge; as a line of one pixel they looked like an empty chart."""
    chart = _svg(line_chart([None, None, 5], width=200, height=24))
    (line,) = (part for part in chart if part.tag.endswith("polyline"))
    left, right = (float(point.split(",")[0]) for point in line.attrib["points"].split())
    assert right - left >= 3
    assert right <= 200
