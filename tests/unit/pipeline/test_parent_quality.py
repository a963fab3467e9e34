from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.gates.quality import ALPHA, DETECTABLE_DROP, DROP_MAX, QualityPolicy
from sightloop.pipeline.config import GateConfig
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.exported_model import read_exported
from sightloop.pipeline.parent_quality import compare_with_parent
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.signing import create_key, load_trust
from sightloop.release.verdict import Outcome
from sightloop.testing.step_chain import StepChain, gate_parameters
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> StepChain:
    chain = StepChain(tmp_path_factory.mktemp("chain"))
    chain.dataset(test=20)
    chain.train()
    chain.export()
    return chain


@pytest.fixture(scope="module")
def parent(chain: StepChain, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("parent") / "release"
    build_tiny_release(folder, semver="0.9.0", key=create_key(chain.workspace.keys), side_px=96)
    return verify_bundle(folder, load_trust(chain.workspace.keys))


def _context(chain: StepChain, **changes: float) -> StepContext:
    return chain.context(("dataset", "model"), (), gate_parameters() | changes)


def test_as_good_a_network_loses_nothing(chain: StepChain, parent: Bundle) -> None:
    judgement = compare_with_parent(_context(chain), read_exported(chain.out("model")), parent)
    assert judgement.verdict.outcome is Outcome.PASS
    whole = judgement.findings[0].counts
    assert whole.both == whole.labels > 20
    assert {"class=pit", "class=spot"} <= {one.counts.name for one in judgement.findings}
    page = (_context(chain).run_folder / "quality" / "quality.html").read_text()
    assert "quality PASS" in page
    assert "No label." in page


def test_candidate_is_read_at_the_threshold_that_it_will_serve_with(
    chain: StepChain, parent: Bundle
) -> None:
    exported = read_exported(chain.out("model"))
    judgement = compare_with_parent(_context(chain, score=0.78), exported, parent)
    assert judgement.verdict.outcome is Outcome.FAIL
    assert judgement.verdict.reason == "quality_dropped"


def test_network_that_is_blind_for_a_class_is_refused_by_its_slice(
    chain: StepChain, parent: Bundle, tmp_path: Path
) -> None:
    for name in ("contract.json", "model.onnx"):
        (tmp_path / name).write_bytes((chain.out("model") / name).read_bytes())
    build_tiny_detector(tmp_path / "model.onnx", kind="dark", side_px=96)
    judgement = compare_with_parent(_context(chain), read_exported(tmp_path), parent)
    dropped = {one.counts.name for one in judgement.findings if one.dropped}
    assert "class=spot" in dropped
    assert "class=pit" not in dropped
    quality = _context(chain).run_folder / "quality"
    shown = json.loads((quality / "quality.json").read_text())
    assert {one["name"] for one in shown["slices"] if one["dropped"]} == dropped
    assert shown["candidate"]["map50"] < shown["champion"]["map50"]
    assert all("spot" in text for one in shown["lost"] for text in one["mistakes"])
    assert len(list((quality / "lost").iterdir())) == len(shown["lost"]) > 0
    page = (quality / "quality.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(shown["lost"])
    assert "quality FAIL" in page
    assert '<tr class="no"><td>class=spot</td>' in page
    assert "<script" not in page
    assert "http" not in page


def test_settings_are_those_of_the_gate() -> None:
    gate, policy = GateConfig(), QualityPolicy()
    assert gate.quality_drop_max == policy.drop_max == DROP_MAX
    assert gate.quality_detectable_drop == policy.detectable_drop == DETECTABLE_DROP
    assert gate.quality_alpha == policy.alpha == ALPHA
    assert gate.quality_slices is policy.slices
    assert gate.quality_slices_inconclusive == policy.slices_inconclusive
