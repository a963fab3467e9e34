from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightloop._support.files import sha256_file
from sightloop.dataset.version import Item
from sightloop.errors import DatasetError
from sightloop.pipeline.evaluation import LabelledFrame
from sightloop.pipeline.steps.calibrate import choose_frames
from sightloop.release.calibration import Expected, expected_from_bytes
from sightloop.testing.step_chain import StepChain
from sightloop.testing.tiny_detectors import build_tiny_detector
from sightloop.vision.detections import Labels


def _frame(name: str, *classes: int) -> LabelledFrame:
    item = Item(name=name, image=Path(name), label=None, split="val")
    labels = Labels(np.zeros((len(classes), 4), np.float32), np.array(classes, np.int64))
    return LabelledFrame(item, b"", np.zeros((1, 1, 3), np.uint8), labels)


def _names(chosen: list[LabelledFrame]) -> list[str]:
    return [frame.item.name for frame in chosen]


def _expected(chain: StepChain) -> Expected:
    data = (chain.out("calibration") / "expected.json").read_bytes()
    return expected_from_bytes(data, class_count=2)


@pytest.fixture
def chain(tmp_path: Path) -> StepChain:
    chain = StepChain(tmp_path)
    chain.dataset()
    chain.train()
    chain.export()
    return chain


def test_every_class_is_among_the_frames_however_rare() -> None:
    frames = [_frame(f"{n:02d}", 0) for n in range(20)] + [_frame("90", 1), _frame("91", 2)]
    chosen = choose_frames(frames, count=4, class_count=3)
    assert {"90", "91"} <= set(_names(chosen))
    assert len(chosen) == 4


def test_frames_are_spread_over_the_names() -> None:
    frames = [_frame(f"{n:02d}", 0) for n in range(20)]
    assert _names(choose_frames(frames, count=4, class_count=1)) == ["00", "05", "10", "15"]


def test_choice_does_not_depend_on_the_order_read() -> None:
    frames = [_frame(f"{n:02d}", n % 3) for n in range(20)]
    forwards = choose_frames(frames, count=5, class_count=3)
    assert _names(forwards) == _names(choose_frames(frames[::-1], count=5, class_count=3))


def test_frames_without_labels_are_not_taken() -> None:
    frames = [_frame("empty"), _frame("full", 0)]
    assert _names(choose_frames(frames, count=5, class_count=1)) == ["full"]


def test_image_bytes_are_those_of_the_dataset(chain: StepChain) -> None:
    chain.calibrate()
    kept = {sha256_file(path) for path in (chain.out("calibration") / "frames").iterdir()}
    given = {sha256_file(path) for path in (chain.folder / "user/images/val").iterdir()}
    assert len(kept) == 8
    assert kept <= given


def test_expectation_holds_labels_and_the_checkpoints_detections(chain: StepChain) -> None:
    chain.calibrate()
    expected = _expected(chain)
    assert expected.source == "checkpoint"
    assert all(len(frame.labels) > 0 for frame in expected.frames)
    assert all(frame.detections is not None for frame in expected.frames)


def test_exported_file_never_vouches_for_itself(chain: StepChain) -> None:
    build_tiny_detector(chain.out("model") / "model.onnx", kind="dark", variant=5, side_px=96)
    chain.calibrate()
    spots = sum(
        int((frame.detections.classes == 1).sum())
        for frame in _expected(chain).frames
        if frame.detections is not None
    )
    assert spots > 0


def test_split_without_labels_is_refused(tmp_path: Path) -> None:
    chain = StepChain(tmp_path)
    chain.dataset(val=0)
    chain.train()
    chain.export()
    with pytest.raises(DatasetError) as caught:
        chain.calibrate()
    assert caught.value.reason == "split_empty"
