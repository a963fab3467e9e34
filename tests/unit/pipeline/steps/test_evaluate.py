from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightloop.errors import DatasetError
from sightloop.testing.fake_trainer import FakeTrainer
from sightloop.testing.step_chain import StepChain


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> StepChain:
    chain = StepChain(tmp_path_factory.mktemp("evaluate"))
    chain.dataset()
    chain.train()
    chain.export()
    chain.evaluate()
    return chain


def _json(chain: StepChain, name: str) -> Any:
    return json.loads((chain.out("evaluation") / name).read_text())


def test_a_right_detector_is_measured_as_right(evaluated: StepChain) -> None:
    metrics = _json(evaluated, "metrics.json")
    assert metrics["map50"] > 0.9
    assert metrics["map50_95"] < metrics["map50"]
    assert metrics["images"] == 8
    assert metrics["labels"] == sum(metrics["per_class_labels"].values())
    assert set(metrics["per_class_ap50"]) == {"pit", "spot"}
    assert metrics["operating_point"]["recall"] > 0.9
    assert metrics["operating_point"]["precision"] > 0.9
    assert 0 < metrics["latency"]["cpu_ms_p50"] <= metrics["latency"]["cpu_ms_p99"]


def test_curves_have_a_grid_of_recall(evaluated: StepChain) -> None:
    curves = _json(evaluated, "pr_curves.json")
    assert len(curves["pit"]["recall"]) == len(curves["pit"]["precision"]) == 101


def test_detections_stand_under_the_users_image_names(evaluated: StepChain) -> None:
    detections = _json(evaluated, "detections.json")
    assert "images/test/plate-000.png" in detections
    first = detections["images/test/plate-000.png"][0]
    assert set(first) == {"class", "class_id", "score", "box"}


def test_pictures_are_drawn(evaluated: StepChain) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra `registry`)")
    for name in ("pr_curve.png", "confusion_matrix.png"):
        assert (evaluated.out("evaluation") / name).read_bytes().startswith(b"\x89PNG")


def test_confusion_agrees_with_recall_and_precision(evaluated: StepChain) -> None:
    matrix = _json(evaluated, "confusion_matrix.json")
    counts = np.array(matrix["counts"])
    point = _json(evaluated, "metrics.json")["operating_point"]
    assert (matrix["score"], matrix["match_iou"]) == (0.25, 0.5)
    assert np.trace(counts) / counts[:-1].sum() == point["recall"]
    assert np.trace(counts) / counts[:, :-1].sum() == point["precision"]


def test_worst_frames_are_drawn_and_shown_with_their_reasons(tmp_path: Path) -> None:
    chain = StepChain(tmp_path, trainer=FakeTrainer(variant=1))
    chain.dataset()
    chain.train()
    chain.export()
    chain.evaluate(score=0.9)
    worst = _json(chain, "worst_frames.json")
    assert worst[0]["mistakes"][0].startswith("missed ")
    pictures = sorted(path.name for path in (chain.out("evaluation") / "worst_frames").iterdir())
    assert pictures == [f"{place:02d}.jpg" for place in range(1, len(worst) + 1)]
    page = (chain.out("evaluation") / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(worst) > 0
    assert worst[0]["image"] in page


def test_empty_test_split_is_an_error_not_a_zero(tmp_path: Path) -> None:
    chain = StepChain(tmp_path)
    chain.dataset(test=0)
    chain.train()
    chain.export()
    with pytest.raises(DatasetError) as caught:
        chain.evaluate()
    assert caught.value.reason == "split_empty"


def test_figures_stand_by_slice_too(evaluated: StepChain) -> None:
    metrics = _json(evaluated, "metrics.json")
    slices = metrics["slices"]
    assert {"all", "class=pit", "class=spot", "size=small"} <= set(slices)
    assert slices["all"]["labels"] == metrics["labels"]
    assert slices["all"]["recall"] == metrics["operating_point"]["recall"]
    assert slices["all"]["precision"] == metrics["operating_point"]["precision"]
    assert metrics["per_slice_ap50"]["all"] == metrics["map50"]
    assert metrics["per_slice_ap50"]["class=pit"] == metrics["per_class_ap50"]["pit"]


def test_users_table_makes_slices_of_its_own(evaluated: StepChain, tmp_path: Path) -> None:
    table = tmp_path / "slices.csv"
    table.write_text("image,slice\nplate-000.png,old press\nplate-001.png,old press\n")
    evaluated.evaluate(slices=table)
    slices = _json(evaluated, "metrics.json")["slices"]
    assert slices["slice=old press"]["frames"] == 2
