from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sightloop.errors import ReleaseRefusedError, SignatureInvalidError
from sightloop.pipeline.steps.gate import judge_floor
from sightloop.pipeline.training.results import read_origin
from sightloop.release.bundle import verify_bundle
from sightloop.release.signing import create_key, load_trust
from sightloop.release.verdict import Outcome
from sightloop.testing.bad_models import shift_image
from sightloop.testing.step_chain import StepChain
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    StepChain(folder).up_to_gate()
    return folder


@pytest.fixture
def chain(prepared: Path, tmp_path: Path) -> StepChain:
    shutil.copytree(prepared, tmp_path / "chain")
    return StepChain(tmp_path / "chain")


def _kept_verdicts(chain: StepChain) -> list[dict[str, Any]]:
    text = (chain.workspace.runs / "run-1" / "verdicts.json").read_text()
    verdicts: list[dict[str, Any]] = json.loads(text)
    return verdicts


def _refused(chain: StepChain) -> str:
    """Run the gate, make sure it says no and publishes no verdicts; give the reason."""
    with pytest.raises(ReleaseRefusedError):
        chain.gate()
    assert not chain.out("verdicts.json").exists()
    last = _kept_verdicts(chain)[-1]
    assert last["outcome"] != "PASS"
    return f"{last['gate']} {last['reason']}"


def test_good_candidate_becomes_a_signed_release_with_its_origin(chain: StepChain) -> None:
    chain.gate()
    bundle = verify_bundle(chain.out("bundle"), load_trust(chain.workspace.keys))
    manifest, origin = bundle.manifest, read_origin(chain.out("training"))
    assert (manifest.line, manifest.semver) == ("plate", "1.0.0")
    assert manifest.lineage.run == origin.run_id == "run-1"
    assert manifest.lineage.hyperparameters["epochs"] == 2
    assert manifest.lineage.dataset_version is not None
    assert manifest.metrics.map50 is not None
    assert manifest.metrics.map50 > 0.9
    assert manifest.metrics.per_slice_ap50["all"] == manifest.metrics.map50
    assert "size=small" in manifest.metrics.per_slice_ap50
    assert manifest.calibration.expected_from == "checkpoint"
    assert manifest.latency is not None
    verdicts = json.loads(chain.out("verdicts.json").read_text())
    assert [one["gate"] for one in verdicts] == [
        "quality",
        "integrity",
        "load",
        "behaviour",
        "latency",
    ]
    assert all(one["outcome"] == "PASS" for one in verdicts)


def test_unproven_release_does_not_reach_the_store(chain: StepChain) -> None:
    chain.gate()
    assert not chain.workspace.releases.exists()


def test_same_inputs_make_the_same_release(chain: StepChain) -> None:
    chain.gate()
    trust = load_trust(chain.workspace.keys)
    first = verify_bundle(chain.out("bundle"), trust).digest
    shutil.rmtree(chain.out("bundle"))
    chain.out("verdicts.json").unlink()
    chain.out("dataset").joinpath("data.yaml").touch()
    chain.gate()
    assert verify_bundle(chain.out("bundle"), trust).digest == first


def test_low_quality_is_refused_before_anything_is_signed(chain: StepChain) -> None:
    metrics = chain.out("evaluation") / "metrics.json"
    value = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(value | {"map50": 0.3}))
    assert _refused(chain) == "quality map50_below_floor"
    assert not any(chain.out("bundle").iterdir())


def test_shifted_network_is_refused_against_the_checkpoint(chain: StepChain) -> None:
    model = chain.out("model") / "model.onnx"
    shift_image(model, model.with_name("shifted.onnx"), dx_px=2, dy_px=0)
    model.with_name("shifted.onnx").replace(model)
    assert _refused(chain).startswith("behaviour ")


def test_half_blind_network_is_refused(chain: StepChain) -> None:
    build_tiny_detector(chain.out("model") / "model.onnx", kind="dark", side_px=96)
    assert _refused(chain).startswith("behaviour ")


def test_candidate_must_be_above_its_parent(chain: StepChain, tmp_path: Path) -> None:
    key = create_key(chain.workspace.keys)
    parent = tmp_path / "parent"
    build_tiny_release(parent, semver="2.0.0", key=key, side_px=96)
    with pytest.raises(ReleaseRefusedError) as caught:
        chain.gate(parent=parent)
    assert "downgrade" in caught.value.message
    shutil.rmtree(chain.out("bundle"))
    chain.gate(parent=parent, semver="2.1.0")
    bundle = verify_bundle(chain.out("bundle"), load_trust(chain.workspace.keys))
    assert bundle.manifest.lineage.parent is not None


def _parent(chain: StepChain, folder: Path) -> Path:
    key = create_key(chain.workspace.keys)
    build_tiny_release(folder, semver="0.9.0", key=key, side_px=96)
    return folder


def test_parent_is_compared_with_on_the_test_split(chain: StepChain, tmp_path: Path) -> None:
    chain.gate(parent=_parent(chain, tmp_path / "parent"))
    last = json.loads(chain.out("verdicts.json").read_text())[-1]
    assert (last["gate"], last["outcome"]) == ("quality", "PASS")
    metrics = json.loads((chain.out("evaluation") / "metrics.json").read_text())
    assert last["measurements"]["all.labels"] == metrics["labels"]
    assert last["measurements"]["all.found_by_both"] > 0


def test_too_small_a_test_split_refuses_unless_told_to_warn(
    chain: StepChain, tmp_path: Path
) -> None:
    parent = _parent(chain, tmp_path / "parent")
    with pytest.raises(ReleaseRefusedError, match="too_few_labels"):
        chain.gate(parent=parent, quality_detectable_drop=0.01)
    shutil.rmtree(chain.out("bundle"))
    chain.gate(parent=parent, quality_detectable_drop=0.01, quality_inconclusive="warn")
    last = json.loads(chain.out("verdicts.json").read_text())[-1]
    assert (last["outcome"], last["reason"]) == ("INCONCLUSIVE", "too_few_labels")


def test_parent_of_a_stranger_is_not_compared_with(chain: StepChain, tmp_path: Path) -> None:
    stranger = create_key(tmp_path / "stranger")
    build_tiny_release(tmp_path / "parent", semver="0.1.0", key=stranger, side_px=96)
    with pytest.raises(SignatureInvalidError):
        chain.gate(parent=tmp_path / "parent")


@pytest.mark.parametrize(
    ("map50", "floor", "outcome", "reason"),
    [
        (0.8, 0.8, Outcome.PASS, "ok"),
        (0.79, 0.8, Outcome.FAIL, "map50_below_floor"),
        (None, 0.0, Outcome.INCONCLUSIVE, "no_labels"),
    ],
)
def test_floor(map50: float | None, floor: float, outcome: Outcome, reason: str) -> None:
    verdict = judge_floor(map50, floor=floor)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.measurements["map50_min"] == floor
