"""Rules of one step's run."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from sightloop.config.workspace import Workspace, open_workspace
from sightloop.errors import GraphInvalidError, StepFailedError, TrainerError
from sightloop.pipeline.cache import Entry
from sightloop.pipeline.step import Step
from sightloop.pipeline.step_runner import StepRunner
from sightloop.testing.toy_steps import calls, toy_step


@pytest.fixture
def runner(tmp_path: Path) -> StepRunner:
    return StepRunner(open_workspace(tmp_path / "ws"), "run-1")


def _do(runner: StepRunner, step: Step, made: dict[str, Entry] | None = None) -> Entry:
    decision = runner.decide(step, made or {})
    return decision.entry or runner.run(step, decision.key, made or {}, lambda part, text: None)


def test_second_decision_is_a_hit_with_the_same_outputs(runner: StepRunner) -> None:
    first = _do(runner, toy_step("a"))
    assert runner.decide(toy_step("a"), {}).entry == first
    assert calls(runner.workspace) == ["a"]


def test_step_with_side_effects_is_never_a_hit(runner: StepRunner) -> None:
    step = toy_step("a", cacheable=False)
    _do(runner, step)
    assert runner.decide(step, {}).entry is None
    other = StepRunner(runner.workspace, "run-2")
    _do(other, step)
    assert calls(runner.workspace) == ["a", "a"]


def test_changed_parameter_input_or_file_is_a_miss(runner: StepRunner, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("1")
    one, two = _do(runner, toy_step("a")), _do(runner, toy_step("a", text="other"))
    step = toy_step("b", reads=["a"], files={"f": file})
    keys = {runner.decide(step, {"a": one}).key, runner.decide(step, {"a": two}).key}
    file.write_text("2")
    keys.add(runner.decide(step, {"a": one}).key)
    keys.add(runner.decide(replace(step, parameters={"x": 1}), {"a": one}).key)
    assert len(keys) == 4


def test_changed_code_of_the_step_is_a_miss(
    runner: StepRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "stepcode_a.py"
    module.write_text("def run(context): (context.outputs['out'] / 'x').write_text('1')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    step = replace(toy_step("a"), module="stepcode_a")
    _do(runner, step)
    assert runner.decide(step, {}).entry is not None
    module.write_text("def run(context): (context.outputs['out'] / 'x').write_text('2')\n")
    assert runner.decide(step, {}).entry is None


def test_equal_outputs_of_a_changed_step_stop_the_rerun_there(runner: StepRunner) -> None:
    first = _do(runner, toy_step("a"))
    again = _do(runner, replace(toy_step("a"), code=("sightloop.errors", "sightloop")))
    step = toy_step("b", reads=["a"])
    assert runner.decide(step, {"a": first}).key == runner.decide(step, {"a": again}).key


def test_our_error_passes_unchanged_and_nothing_is_published(runner: StepRunner) -> None:
    with pytest.raises(TrainerError, match="told to fail"):
        _do(runner, toy_step("a", fail="ours"))
    assert list((runner.workspace.cache / "a").iterdir()) == []


def test_other_error_becomes_ours_with_its_traceback_in_a_file(runner: StepRunner) -> None:
    with pytest.raises(StepFailedError, match="step a ended with ZeroDivisionError") as caught:
        _do(runner, toy_step("a", fail="other"))
    place = runner.workspace.runs / "run-1" / "a.traceback.txt"
    assert str(place) in caught.value.message
    assert "ZeroDivisionError" in place.read_text()


def test_interruption_is_not_turned_into_a_failure(runner: StepRunner) -> None:
    with pytest.raises(KeyboardInterrupt):
        _do(runner, toy_step("a", fail="interrupt"))
    assert list((runner.workspace.cache / "a").iterdir()) == []


def test_module_without_run_is_refused(runner: StepRunner) -> None:
    with pytest.raises(GraphInvalidError, match=r"expected a function `run` in sightloop\.errors"):
        _do(runner, replace(toy_step("a"), module="sightloop.errors"))


def test_workspace_may_be_moved(runner: StepRunner, tmp_path: Path) -> None:
    _do(runner, toy_step("a"))
    runner.workspace.root.rename(tmp_path / "moved")
    moved = StepRunner(Workspace(tmp_path / "moved"), "run-2")
    assert moved.decide(toy_step("a"), {}).entry is not None


def test_what_a_failed_step_kept_is_found_again_and_goes_with_its_success(
    runner: StepRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "stepcode_kept.py"
    module.write_text(
        "def run(context):\n"
        "    begun = context.kept / 'begun'\n"
        "    if not begun.exists():\n"
        "        begun.parent.mkdir(parents=True)\n"
        "        begun.touch()\n"
        "        raise RuntimeError('the power went')\n"
        "    (context.outputs['out'] / 'x').write_text('1')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    step = replace(toy_step("a"), module="stepcode_kept")
    with pytest.raises(StepFailedError):
        _do(runner, step)
    other = replace(step, parameters={"x": 1})
    with pytest.raises(StepFailedError):
        _do(runner, other)  # another key, another folder
    _do(runner, step)
    left = list(runner.workspace.unfinished.glob("*/*"))
    assert left == [runner.workspace.unfinished / "a" / runner.decide(other, {}).key]
