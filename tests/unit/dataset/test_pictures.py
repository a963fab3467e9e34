"""Rules of the page with pictures."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.dataset.checks import check_dataset
from sightloop.dataset.pictures import PICTURES_MAX, cut_out, render_page
from sightloop.dataset.yolo import read_yolo
from sightloop.testing.yolo_folder import SIDE_PX, write_image, write_yolo_folder
from sightloop.vision.decode import decode_image

edges_in_image = st.tuples(
    st.floats(0, 0.99), st.floats(0, 0.99), st.floats(1e-4, 1), st.floats(1e-4, 1)
).map(lambda v: np.array([v[0], v[1], min(1, v[0] + v[2]), min(1, v[1] + v[3])]))


@given(edges=edges_in_image, width_px=st.integers(1, 3000), height_px=st.integers(1, 3000))
def test_cut_lies_in_the_image_and_holds_the_box(
    edges: np.ndarray[tuple[int], np.dtype[np.float64]], width_px: int, height_px: int
) -> None:
    left, top, right, bottom = cut_out(edges, width_px=width_px, height_px=height_px)
    x1, y1, x2, y2 = edges * np.array([width_px, height_px, width_px, height_px])
    assert 0 <= left <= x1
    assert 0 <= top <= y1
    assert x2 <= right <= width_px
    assert y2 <= bottom <= height_px


def write_tiny(root: Path, count: int) -> Path:
    data = write_yolo_folder(root, images={"train": count})
    for index in range(count):
        (root / f"labels/train/train-{index}.txt").write_text("0 0.5 0.5 0.05 0.05\n")
    return data


def test_suspicious_box_is_shown_in_place_with_its_words(tmp_path: Path) -> None:
    data = write_tiny(tmp_path, 1)
    picture = np.full((SIDE_PX, SIDE_PX, 3), 40, np.uint8)
    picture[14:18, 14:18] = 250
    write_image(tmp_path / "images/train/train-0.png", picture)
    page = render_page(check_dataset(read_yolo(data)), "<here>", [("class pit", "5", "none")])
    (cut,) = re.findall(r"base64,([^\"]+)", page)
    shown = decode_image(base64.b64decode(cut))
    assert shown.shape == (SIDE_PX, SIDE_PX, 3)
    assert shown[16, 16].min() > 200 > 90 > shown[4, 4].max()
    assert "left:47.50%;top:47.50%;width:5.00%;height:5.00%" in page
    assert "box_tiny" in page
    assert "&lt;here&gt;" in page
    assert "<td>class pit<td class=n>5<td class=n>none" in page


def test_page_holds_the_oddest_and_says_how_many_there_are(tmp_path: Path) -> None:
    page = render_page(check_dataset(read_yolo(write_tiny(tmp_path, PICTURES_MAX + 3))), "here", [])
    assert page.count("<figure>") == PICTURES_MAX
    assert f"({PICTURES_MAX + 3}, the oddest {PICTURES_MAX})" in page
    assert "http" not in page


@pytest.mark.parametrize("gone", [True, False])
def test_page_of_an_image_that_went_meanwhile_has_its_words(tmp_path: Path, gone: bool) -> None:
    report = check_dataset(read_yolo(write_tiny(tmp_path, 1)))
    image = tmp_path / "images/train/train-0.png"
    image.unlink() if gone else image.write_bytes(b"no image")
    page = render_page(report, "here", [])
    assert "train-0.png, box 1" in page
    assert "base64" not in page
