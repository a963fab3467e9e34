from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.dataset.version import Item
from sightloop.errors import DatasetError
from sightloop.pipeline.slice_column import read_column, with_table, with_values
from sightloop.vision.slices import FrameFacts

FACTS = (FrameFacts(10, 10, 100.0),) * 2
ITEMS = tuple(
    Item(name=f"images/test/{name}.png", image=Path("x"), label=None, split="test")
    for name in ("a", "b")
)


def _table(folder: Path, text: str) -> Path:
    path = folder / "slices.csv"
    path.write_text(text)
    return path


def test_images_are_named_by_path_or_by_bare_name(tmp_path: Path) -> None:
    path = _table(tmp_path, "image,camera\nimages/test/a.png,left\nb.png,right\n")
    facts = with_table(FACTS, ITEMS, path, column="camera")
    assert [one.value for one in facts] == ["left", "right"]


def test_column_file_names_images_too_and_other_columns_do_not_matter(tmp_path: Path) -> None:
    path = _table(tmp_path, "split,file,slice\ntest,a.png,dark\ntrain,z.png,normal\n")
    assert read_column(path, "slice") == {"a.png": "dark", "z.png": "normal"}


def test_image_without_a_value_has_none(tmp_path: Path) -> None:
    path = _table(tmp_path, "image,camera\na.png,left\nb.png,\n")
    facts = with_table(FACTS, ITEMS, path, column="camera")
    assert [one.value for one in facts] == ["left", None]


def test_without_a_table_nothing_changes() -> None:
    assert with_table(FACTS, ITEMS, None, column="camera") == FACTS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found nothing"),
        ("name,camera\na.png,left\n", "found name, camera"),
        ("image,kamera\na.png,left\n", "found image, kamera"),
        ("image,camera\na.png,left\na.png,right\n", "left and right: a.png"),
    ],
)
def test_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(DatasetError, match=found) as caught:
        read_column(_table(tmp_path, text), "camera")
    assert caught.value.reason == "slices_invalid"


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent\.csv"):
        read_column(tmp_path / "absent.csv", "camera")


def test_table_of_other_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"images/test/a\.png, found q\.png"):
        with_values(FACTS, ITEMS, {"q.png": "left"}, path=tmp_path / "slices.csv")
