"""Rules of likeness: copies are found however they were saved, other pictures are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightloop.dataset.likeness import Look, alike_pairs, are_alike, clusters, look_of
from sightloop.dataset.reading import read_dataset
from sightloop.vision.decode import decode_image, encode_jpeg

_SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
Frame = NDArray[np.uint8]


def scene(seed: int, *, width_px: int = 160, height_px: int = 120) -> Frame:
    """A picture with structure at every scale: blurred noise and a few bodies."""
    random = np.random.default_rng(seed)
    frame = np.zeros((height_px, width_px, 3), np.float32)
    for side in (4, 9, 20):
        noise = random.normal(0, 40, (side, side, 3)).astype(np.float32)
        frame += cv2.resize(noise, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(frame + 120, 0, 255), np.uint8)


def encoded(frame: Frame, quality: int) -> Frame:
    return decode_image(encode_jpeg(frame, quality=quality))


def resized(frame: Frame, scale_x: float, scale_y: float) -> Frame:
    made = cv2.resize(frame, None, fx=scale_x, fy=scale_y, interpolation=cv2.INTER_AREA)
    return np.asarray(made, np.uint8)


def toned(frame: Frame, gain: float, shift: float) -> Frame:
    return np.asarray(np.clip(frame * gain + shift, 0, 255), np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    quality=st.integers(30, 95),
    scale=st.tuples(st.floats(0.4, 2.0), st.floats(0.4, 2.0)),
    gain=st.floats(0.6, 1.1),
    shift=st.floats(-10, 10),
)
def test_copy_is_alike_however_it_was_encoded_resized_and_lit(
    seed: int, quality: int, scale: tuple[float, float], gain: float, shift: float
) -> None:
    frame = scene(seed)
    copy = encoded(toned(resized(frame, *scale), gain, shift), quality)
    assert are_alike(look_of(frame), look_of(copy))


@settings(max_examples=60, deadline=None)
@given(seeds=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)))
def test_other_picture_is_not_alike(seeds: tuple[int, int]) -> None:
    one, other = (look_of(scene(seed)) for seed in seeds)
    assert are_alike(one, other) == (seeds[0] == seeds[1])


def test_picture_turned_or_mirrored_is_another() -> None:
    frame = scene(5, width_px=128, height_px=128)
    look = look_of(frame)
    for turned in (frame[::-1], frame[:, ::-1], np.rot90(frame)):
        assert not are_alike(look, look_of(np.ascontiguousarray(turned)))


def test_images_without_structure_are_like_no_other() -> None:
    flat = [look_of(np.full((40, 50, 3), grey, np.uint8)) for grey in (0, 0, 128)]
    assert list(alike_pairs(flat)) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (31, 33), (500, 7)])
def test_image_of_any_size_has_a_look_with_its_mean_luma(size: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    frame = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = float((frame @ np.array([0.299, 0.587, 0.114])).mean())
    assert look_of(frame).mean_luma == pytest.approx(expected, abs=0.01)


def test_pairs_are_found_beyond_one_block_of_rows() -> None:
    random = np.random.default_rng(1)
    pictures = random.normal(size=(1200, 1024)).astype(np.float32)
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    bits = [int(value) for value in random.integers(0, 2**63, 1200)]
    looks = [Look(one, picture, 100.0) for one, picture in zip(bits, pictures, strict=True)]
    looks[1100], looks[700] = looks[3], looks[698]
    assert list(alike_pairs(looks)) == [(3, 1100), (698, 700)]


def test_near_hash_alone_is_not_alike() -> None:
    one, other = look_of(scene(1)), look_of(scene(2))
    assert not are_alike(one, Look(one.bits, other.picture, one.mean_luma))
    assert not are_alike(one, Look(one.bits ^ 0x7FF, one.picture, one.mean_luma))
    assert are_alike(one, Look(one.bits ^ 0x3FF, one.picture, one.mean_luma))


def test_clusters_join_what_is_linked_and_leave_out_single_ones() -> None:
    assert clusters(7, [(5, 1), (1, 3), (2, 6)]) == [[1, 3, 5], [2, 6]]


@pytest.mark.parametrize("name", ["neu-det", "coco-mini"])
def test_no_two_images_of_a_real_dataset_are_alike_but_their_copies_are(name: str) -> None:
    if not (_SHARED / name).is_dir():
        pytest.skip(f"the dataset {name} is not beside the repository, in ../shared/data")
    items = read_dataset(_SHARED / name).items
    frames = [decode_image(item.image.read_bytes()) for item in items]
    looks = [look_of(frame) for frame in frames]
    assert list(alike_pairs(looks)) == []
    copies: dict[str, Callable[[Frame], Frame]] = {
        "jpeg": lambda frame: encoded(frame, 40),
        "half": lambda frame: resized(frame, 0.5, 0.5),
        "dark": lambda frame: toned(frame, 0.6, 0.0),
    }
    for copy in copies.values():
        found = [
            are_alike(look, look_of(copy(frame)))
            for look, frame in list(zip(looks, frames, strict=True))[::12]
        ]
        assert np.mean(found) == 1.0
