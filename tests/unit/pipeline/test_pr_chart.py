from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from sightloop.pipeline.pr_chart import Curve, Point, precision_chart

CURVE = Curve("first", "1.0.0 <x>", (0.0, 1.0), (1.0, 0.5))


def test_picture_is_well_formed_and_texts_are_escaped() -> None:
    ElementTree.fromstring(precision_chart("pits", [CURVE], points=[Point("first", "<", 0.5, 1)]))
    assert "<x>" not in precision_chart("pits", [CURVE])


def test_more_recall_is_further_right_and_more_precision_higher() -> None:
    svg = precision_chart("pits", [CURVE])
    points = re.search(r'points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"', svg)
    assert points is not None
    x1, y1, x2, y2 = map(float, points.groups())
    assert x1 < x2
    assert y1 < y2
