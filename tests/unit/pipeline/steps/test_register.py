from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sightloop.distribution.store import ReleaseStore
from sightloop.errors import MissingExtraError, PipelineError, VersionExistsError
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.steps import register
from sightloop.pipeline.steps.register import register_with
from sightloop.registry.registry import Role
from sightloop.testing.memory_registry import MemoryRegistry, MemoryTracker
from sightloop.testing.step_chain import StepChain

INPUTS = ("dataset", "training", "evaluation", "verdicts.json", "bundle")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    chain = StepChain(folder)
    chain.up_to_gate()
    chain.gate()
    return folder


@pytest.fixture
def chain(prepared: Path, tmp_path: Path) -> StepChain:
    shutil.copytree(prepared, tmp_path / "chain")
    return StepChain(tmp_path / "chain")


def _context(chain: StepChain, *, semver: str = "1.0.0", attempt: int = 1) -> StepContext:
    output = f"attempt-{attempt}/result.json"
    context = chain.context(INPUTS, (output,), {"line": "plate", "semver": semver})
    outputs = {"result": chain.out(output)}
    return StepContext(
        context.inputs,
        outputs,
        context.files,
        context.parameters,
        context.workspace,
        context.run_id,
        context.report,
    )


def test_release_is_in_the_store_the_tracker_and_the_registry(chain: StepChain) -> None:
    tracker, registry = MemoryTracker(), MemoryRegistry()
    context = _context(chain)
    register_with(context, tracker, registry)
    result = json.loads(context.outputs["result"].read_text())
    stored = ReleaseStore(chain.workspace.releases).find("plate", "1.0.0")
    assert result["digest"] == stored
    assert Path(result["bundle"]).name == stored
    assert Path(result["checkpoint"]).is_file()
    assert result["metrics"]["map50"] > 0.9
    assert [one.semver for one in registry.versions("plate")] == ["1.0.0"]
    assert registry.holder("plate", Role.CHAMPION) is None
    record = tracker.records[result["registry"]["run_id"]]
    assert [one.epoch for one in record.epochs] == [1, 2]
    assert record.parameters["epochs"] == 2
    assert record.metrics["test/map50"] == result["metrics"]["map50"]
    assert record.dataset.source == "plates"
    assert record.tags["semver"] == "1.0.0"
    assert {folder for _, folder in record.artifacts} == {"evaluation", "gate", "training"}


def test_registering_again_changes_nothing(chain: StepChain) -> None:
    tracker, registry = MemoryTracker(), MemoryRegistry()
    first, again = _context(chain), _context(chain, attempt=2)
    register_with(first, tracker, registry)
    register_with(again, tracker, registry)
    assert first.outputs["result"].read_text() == again.outputs["result"].read_text()
    assert len(tracker.records) == len(registry.versions("plate")) == 1


def test_taken_semver_leaves_store_and_tracker_as_they_were(
    chain: StepChain, tmp_path: Path
) -> None:
    tracker, registry = MemoryTracker(), MemoryRegistry()
    register_with(_context(chain), tracker, registry)
    shutil.rmtree(chain.out("bundle"))
    chain.out("verdicts.json").unlink()
    chain.gate(origin="other images")
    with pytest.raises(VersionExistsError):
        register_with(_context(chain, attempt=2), tracker, registry)
    assert len(ReleaseStore(chain.workspace.releases).entries()) == 1
    assert len(tracker.records) == 1


def test_another_release_than_ordered_is_refused(chain: StepChain) -> None:
    with pytest.raises(PipelineError) as caught:
        register_with(_context(chain, semver="1.0.1"), MemoryTracker(), MemoryRegistry())
    assert caught.value.reason == "release_differs"
    assert not chain.workspace.releases.exists()


def test_missing_mlflow_names_the_extra(chain: StepChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        register.run(_context(chain))
    assert "pip install 'sightloop[registry]'" in caught.value.message
    assert not chain.workspace.releases.exists()
