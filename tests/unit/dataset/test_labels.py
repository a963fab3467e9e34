"""Rules of label files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightloop.dataset.labels import parse_labels, read_labels
from sightloop.errors import DatasetError


def test_box_becomes_edges_in_pixels_of_the_image(tmp_path: Path) -> None:
    label = tmp_path / "a.txt"
    label.write_text("1 0.5 0.25 0.5 0.1\n\n0 0.1 0.1 0.2 0.2\n")
    labels = read_labels(label, width_px=200, height_px=100, class_count=2)
    np.testing.assert_allclose(labels.boxes, [[50, 20, 150, 30], [0, 0, 40, 20]], atol=1e-4)
    assert labels.boxes.dtype == np.float32
    assert labels.classes.tolist() == [1, 0]


def test_polygon_becomes_the_box_around_it() -> None:
    parsed = parse_labels("0 0.1 0.2 0.5 0.3 0.3 0.9", class_count=1)
    np.testing.assert_allclose(parsed.boxes, [[0.1, 0.2, 0.5, 0.9]])


def test_empty_file_is_an_image_without_objects() -> None:
    parsed = parse_labels("\n  \n", class_count=1)
    assert parsed.boxes.shape == (0, 4)
    assert not parsed.faults


def test_rounding_outside_is_clipped() -> None:
    parsed = parse_labels("0 0.5 0.5 1.001 1.0", class_count=1)
    assert not parsed.faults
    assert parsed.boxes.min() == 0.0
    assert parsed.boxes.max() == 1.0


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0 0.5 0.5 0.2", "label_malformed"),
        ("0 0.5 0.5 0.2 0.2 0.9", "label_malformed"),
        ("0 0.5 0.5 0.2 x", "label_malformed"),
        ("0 0.5 0.5 0.2 nan", "label_malformed"),
        ("0 0.5 0.5 0.0 0.2", "label_malformed"),
        ("0 0.5 0.5 -0.2 0.2", "label_malformed"),
        ("2 0.5 0.5 0.2 0.2", "label_class_unknown"),
        ("-1 0.5 0.5 0.2 0.2", "label_class_unknown"),
        ("0.5 0.5 0.5 0.2 0.2", "label_class_unknown"),
        ("pit 0.5 0.5 0.2 0.2", "label_malformed"),
        ("0 0.95 0.5 0.2 0.2", "label_outside"),
        ("0 100 100 20 20", "label_outside"),
        ("0 0.1 0.1 0.5 0.1 1.5 0.5", "label_outside"),
    ],
)
def test_faulty_line_is_named_with_its_kind_and_number(line: str, kind: str) -> None:
    parsed = parse_labels(f"0 0.5 0.5 0.2 0.2\n{line}\n", class_count=2)
    assert [(fault.kind, fault.line) for fault in parsed.faults] == [(kind, 2)]
    assert "expected" in parsed.faults[0].message
    assert "found" in parsed.faults[0].message
    assert len(parsed.boxes) == 1


def test_missing_label_is_an_error_never_an_empty_image(tmp_path: Path) -> None:
    for label in (None, tmp_path / "none.txt"):
        with pytest.raises(DatasetError) as caught:
            read_labels(label, width_px=10, height_px=10, class_count=1)
        assert caught.value.reason == "label_missing"


def test_error_names_file_and_line(tmp_path: Path) -> None:
    label = tmp_path / "a.txt"
    label.write_text("0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\n")
    with pytest.raises(
        DatasetError, match=r"a\.txt, line 2: expected a class from 0 to 1"
    ) as caught:
        read_labels(label, width_px=10, height_px=10, class_count=2)
    assert caught.value.reason == "label_class_unknown"


def test_bytes_that_are_no_text_are_a_fault(tmp_path: Path) -> None:
    label = tmp_path / "a.txt"
    label.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError) as caught:
        read_labels(label, width_px=10, height_px=10, class_count=2)
    assert caught.value.reason == "label_malformed"
