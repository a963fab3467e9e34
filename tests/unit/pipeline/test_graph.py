"""Rules of the graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.errors import GraphInvalidError
from sightloop.pipeline.config import EvaluateConfig, PipelineConfig, TrainConfig
from sightloop.pipeline.graph import STEP_NAMES, build_graph, check_graph
from sightloop.pipeline.step import Input, Output, Step
from sightloop.testing.toy_steps import toy_step

_CONFIG = PipelineConfig(line="plate", semver="1.0.0", data=Path("/d/data.yaml"))


def _by_name(config: PipelineConfig) -> dict[str, Step]:
    return {step.name: step for step in build_graph(config)}


def test_steps_stand_in_an_order_that_fits() -> None:
    assert tuple(step.name for step in build_graph(_CONFIG)) == STEP_NAMES


def test_only_the_step_with_side_effects_is_not_cacheable() -> None:
    assert [step.name for step in build_graph(_CONFIG) if not step.cacheable] == ["register"]


def test_expected_detections_never_see_the_exported_weights_alone() -> None:
    reads = {given.output for given in _by_name(_CONFIG)["calibrate"].inputs}
    assert "training" in reads


def test_place_of_the_weights_is_no_parameter() -> None:
    config = _CONFIG.model_copy(update={"train": TrainConfig(weights="/w/a.pt")})
    steps = _by_name(config)
    assert steps["train"].files["weights"].path == "/w/a.pt"
    assert all("/w/a.pt" not in map(str, step.parameters.values()) for step in steps.values())
    assert _by_name(_CONFIG)["train"].files == {}


def test_parent_is_a_file_as_folder_and_a_parameter_as_digest() -> None:
    by_path = _by_name(_CONFIG.model_copy(update={"parent": "/bundles/one"}))["gate"]
    assert by_path.files["parent"].kind == "folder"
    assert by_path.parameters["parent"] is None
    by_digest = _by_name(_CONFIG.model_copy(update={"parent": "ab" * 32}))["gate"]
    assert by_digest.files == {}
    assert by_digest.parameters["parent"] == "ab" * 32


def test_check_knows_the_parent_and_split_the_table_of_groups() -> None:
    by_path = _by_name(_CONFIG.model_copy(update={"parent": "/bundles/one"}))["check"]
    assert by_path.files["parent"].kind == "folder"
    assert by_path.parameters["parent"] is None
    by_digest = _by_name(_CONFIG.model_copy(update={"parent": "ab" * 32}))["check"]
    assert by_digest.parameters["parent"] == "ab" * 32
    table = _CONFIG.split.model_copy(update={"group_csv": "/groups.csv"})
    split = _by_name(_CONFIG.model_copy(update={"split": table}))["split"]
    assert split.files["groups"].path == "/groups.csv"
    assert _by_name(_CONFIG)["split"].files == {}


def test_step_that_starts_a_trainer_declares_its_code() -> None:
    steps = _by_name(_CONFIG)
    for name in ("train", "export", "calibrate"):
        assert "sightloop.pipeline.training.ultralytics_trainer" in steps[name].code


def test_trainer_decides_code_licence_and_origin() -> None:
    config = _CONFIG.model_copy(update={"train": TrainConfig(trainer="compact")})
    steps = _by_name(config)
    for name in ("train", "export", "calibrate"):
        assert steps[name].code == ("sightloop.pipeline.training.compact_trainer",)
    assert steps["train"].parameters["trainer"] == "compact"
    assert steps["gate"].parameters["license"] == "not stated"
    assert steps["gate"].parameters["origin"] == "compact trained from random weights"
    assert _by_name(_CONFIG)["gate"].parameters["license"] == "AGPL-3.0"
    assert _by_name(_CONFIG)["gate"].parameters["origin"] == "yolov8n trained from random weights"


def test_input_that_nothing_earlier_makes_is_refused() -> None:
    a, b = toy_step("a", reads=["b"]), toy_step("b")
    check_graph([b, a])
    with pytest.raises(GraphInvalidError, match=r"step a: input b names b\.out"):
        check_graph([a, b])


def test_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(GraphInvalidError, match="twice"):
        check_graph([toy_step("a"), toy_step("a")])
    for step in (
        Step("a", "m", outputs=(Output("o", "file"), Output("o", "folder"))),
        Step("b", "m", inputs=(Input("i", "z", "out"), Input("i", "z", "out"))),
    ):
        with pytest.raises(GraphInvalidError, match="twice"):
            check_graph([toy_step("z"), step])


@pytest.mark.parametrize("data", ["data.yaml", "."])
def test_the_table_of_slices_lies_in_the_folder_of_the_data(tmp_path: Path, data: str) -> None:
    (tmp_path / "data.yaml").write_text("")
    config = PipelineConfig(
        line="plate",
        semver="1.0.0",
        data=tmp_path / data,
        evaluate=EvaluateConfig(slices="slices.csv"),
    )
    steps = _by_name(config)
    for name in ("evaluate", "gate"):
        assert steps[name].files["slices"].path == str(tmp_path / "slices.csv")
