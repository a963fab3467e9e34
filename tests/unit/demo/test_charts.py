from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np

from sightloop.demo.charts import (
    Band,
    Dot,
    Mark,
    latency_chart,
    missed_labels,
    sample_picture,
)
from sightloop.vision.detections import Detections, Labels

DOTS = [Dot(float(n), 5.0 + n, "first" if n < 5 else "second") for n in range(10)]
LABELS = Labels(np.array([[10, 10, 30, 30], [50, 50, 90, 90]], np.float32), np.array([0, 1]))
FOUND = Detections(
    np.array([[11, 10, 31, 30], [50, 50, 90, 90]], np.float32),
    np.array([0.9, 0.8], np.float32),
    np.array([0, 0]),
)


def _points(svg: str, series: str) -> list[tuple[float, float]]:
    found = re.search(rf'class="dots {series}" d="([^"]*)"', svg)
    assert found is not None
    return [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)h0", found[1])]


def test_every_frame_is_one_dot_of_its_series() -> None:
    svg = latency_chart(DOTS)
    assert len(_points(svg, "first")) == 5
    assert len(_points(svg, "second")) == 5


def test_later_is_further_right_and_slower_is_higher() -> None:
    points = _points(latency_chart(DOTS), "first") + _points(latency_chart(DOTS), "second")
    assert points == sorted(points)
    heights = [y for _, y in points]
    assert heights == sorted(heights, reverse=True)


def test_a_frame_beyond_the_scale_stays_on_the_chart() -> None:
    svg = latency_chart([Dot(0.0, 5.0, "first"), Dot(1.0, 90_000.0, "first")], size=(400, 200))
    assert all(0 <= y <= 200 for _, y in _points(svg, "first"))


def test_a_chart_without_frames_says_so() -> None:
    assert "No frame" in latency_chart([])


def test_pictures_are_well_formed_and_texts_escaped() -> None:
    bands = (Band(0.0, 9.0, "<training> & more", "training"),)
    chart = latency_chart(DOTS, bands=bands, marks=(Mark(2.0, 'a "mark"', "update"),))
    picture = sample_picture(b"jpeg", (160, 160), ("a<b", "c"), labels=LABELS, found=FOUND)
    for svg in (chart, picture):
        ElementTree.fromstring(svg)
    assert "<training>" not in chart


def test_a_label_found_under_another_class_is_missed() -> None:
    assert missed_labels(LABELS, FOUND) == [1]
    picture = sample_picture(b"", (160, 160), ("pit", "spot"), labels=LABELS, found=FOUND)
    assert picture.count("spot missed") == 1
    assert "pit missed" not in picture


def test_the_truth_is_shown_without_scores() -> None:
    picture = sample_picture(b"", (160, 160), ("pit", "spot"), labels=LABELS, found=None)
    assert "pit<" in picture
    assert "0.9" not in picture
