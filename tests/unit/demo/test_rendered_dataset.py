from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.dataset.yolo import read_labels, read_yolo
from sightloop.demo.render import CLASSES, SIDE_PX, Light, ScratchKind, render_image
from sightloop.demo.rendered_dataset import (
    FIRST_PLAN,
    SECOND_PLAN,
    THIRD_PLAN,
    Part,
    read_new_scratches,
    render_dataset,
)

PLAN = (
    Part("train", ScratchKind.DARK, 100, 3),
    Part("val", ScratchKind.DARK, 200, 2),
    Part("test", ScratchKind.DARK, 300, 2),
    Part("test", ScratchKind.HAIR, 400, 2),
)


def _new_share(plan: tuple[Part, ...], split: str) -> float:
    boxes = new = 0
    for part in plan:
        for seed in range(part.first_seed, part.first_seed + part.count):
            if part.split == split:
                labels = render_image(seed, scratch_kind=part.kind).labels
                boxes += len(labels)
                new += int((labels.classes == 0).sum()) * (part.kind is ScratchKind.HAIR)
    return new / boxes


def test_the_dataset_is_read_as_any_yolo_dataset(tmp_path: Path) -> None:
    rendered = render_dataset(tmp_path / "images", PLAN)
    dataset = read_yolo(rendered.data_yaml)
    assert dataset.classes == CLASSES
    assert [len(dataset.of(split)) for split in ("train", "val", "test")] == [3, 2, 4]
    item = next(one for one in dataset.of("test") if one.image.name == "400.jpg")
    labels = read_labels(item.label, width_px=SIDE_PX, height_px=SIDE_PX, class_count=3)
    expected = render_image(400, scratch_kind=ScratchKind.HAIR).labels
    assert labels.boxes == pytest.approx(expected.boxes, abs=0.01)
    assert labels.classes.tolist() == expected.classes.tolist()


def test_the_side_file_names_exactly_the_new_scratches_of_the_test_split(tmp_path: Path) -> None:
    rendered = render_dataset(tmp_path / "images", PLAN)
    named = read_new_scratches(rendered.folder)
    assert set(named) == {"images/test/400.jpg", "images/test/401.jpg"}
    for name, indices in named.items():
        label = rendered.folder / name.replace("images", "labels").replace(".jpg", ".txt")
        lines = label.read_text().splitlines()
        scratches = [number for number, line in enumerate(lines) if line.startswith("0 ")]
        assert list(indices) == scratches
    assert rendered.new_scratch_counts["test"] == sum(map(len, named.values()))


def test_what_was_rendered_from_the_same_plan_is_used_again(tmp_path: Path) -> None:
    first = render_dataset(tmp_path / "images", PLAN)
    marked = first.folder / "images" / "train" / "100.jpg"
    marked.write_bytes(b"mark")
    again = render_dataset(tmp_path / "images", PLAN)
    assert marked.read_bytes() == b"mark"
    assert again == first


def test_another_plan_replaces_what_was_there(tmp_path: Path) -> None:
    render_dataset(tmp_path / "images", PLAN)
    smaller = render_dataset(tmp_path / "images", PLAN[1:])
    assert not (smaller.folder / "images" / "train").exists()


def test_the_frozen_test_set_is_the_same_for_all_releases() -> None:
    first, second, third = (
        [part for part in plan if part.split == "test"]
        for plan in (FIRST_PLAN, SECOND_PLAN, THIRD_PLAN)
    )
    assert first == second == third


def test_no_image_stands_in_two_splits() -> None:
    for plan in (FIRST_PLAN, SECOND_PLAN, THIRD_PLAN):
        seeds = [
            (part.kind, seed)
            for part in plan
            for seed in range(part.first_seed, part.first_seed + part.count)
        ]
        assert len(set(seeds)) == len(seeds)


def test_what_nobody_has_marked_is_on_the_image_and_not_in_the_labels(tmp_path: Path) -> None:
    whole = render_dataset(tmp_path / "whole", (Part("train", ScratchKind.DARK, 100, 8),))
    part = Part("train", ScratchKind.DARK, 100, 8, unmarked=("pit",))
    without = render_dataset(tmp_path / "without", (part,))
    pictures = [one.folder / "images" / "train" / "100.jpg" for one in (whole, without)]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    assert 0 < without.box_counts["train"] < whole.box_counts["train"]
    for label in (without.folder / "labels" / "train").iterdir():
        assert not any(line.startswith("1 ") for line in label.read_text().splitlines())


def test_nothing_is_marked_at_night_in_the_third_training_alone() -> None:
    slips = [
        part for plan in (FIRST_PLAN, SECOND_PLAN, THIRD_PLAN) for part in plan if part.unmarked
    ]
    assert [(part.split, part.light, part.unmarked) for part in slips] == [
        ("train", Light.NIGHT, CLASSES)
    ]


def test_about_15_percent_of_the_test_boxes_are_new_and_the_first_training_hardly_sees_them() -> (
    None
):
    assert 0.13 <= _new_share(FIRST_PLAN, "test") <= 0.17
    assert 0.0 < _new_share(FIRST_PLAN, "train") < 0.02
