from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sightloop.config.workspace import open_workspace
from sightloop.demo import training
from sightloop.demo.training import (
    LINE,
    Trained,
    check_extras,
    first_pipeline,
    run_judged_pipeline,
    run_pipeline_process,
    second_pipeline,
    third_pipeline,
    write_config,
)
from sightloop.errors import MissingExtraError, StepFailedError
from sightloop.pipeline.config import load_config

FIRST = Trained(Path("/b"), "a" * 64, "1.0.0", Path("/runs/checkpoint.pt"), 50.0, 0)


def test_both_recipes_are_settings_that_the_pipeline_knows(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    write_config(path, first_pipeline(tmp_path / "data.yaml"))
    first = load_config(path)
    write_config(path, second_pipeline(tmp_path / "data.yaml", FIRST))
    second = load_config(path)
    write_config(path, third_pipeline(tmp_path / "data.yaml", FIRST))
    third = load_config(path)
    assert (third.semver, third.parent) == ("1.2.0", "a" * 64)
    assert third.train.epochs < second.train.epochs
    assert (first.line, first.semver, second.semver) == (LINE, "1.0.0", "1.1.0")
    assert first.train.weights == ""
    assert first.train.side_px == second.train.side_px == 160


def test_the_second_release_starts_from_the_first_ones_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    write_config(path, second_pipeline(tmp_path / "data.yaml", FIRST))
    config = load_config(path)
    assert config.train.weights == "/runs/checkpoint.pt"
    assert config.parent == "a" * 64


def test_a_path_with_quotes_survives_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    odd = Path('/data/my "images"/data.yaml')
    write_config(path, first_pipeline(odd))
    assert load_config(path).data == odd


def test_missing_extras_are_named_before_minutes_are_spent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"sightloop\[train,registry\].*--quick"):
        check_extras()


def _stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(training, "CLI", (sys.executable, "-c", code))


def test_a_pipeline_that_fails_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stand_in(monkeypatch, "import sys; sys.exit(3)")
    with pytest.raises(StepFailedError, match="exit code 3"):
        run_pipeline_process(tmp_path / "p.toml", tmp_path, low_priority=False)


@pytest.mark.parametrize("low_priority", [False, True])
def test_the_pipeline_beside_the_camera_runs_at_the_lowest_priority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, low_priority: bool
) -> None:
    result = {
        "bundle": "/store/b",
        "digest": "b" * 64,
        "checkpoint": "/c.pt",
        "steps": [
            {"name": "ingest", "how": "cached", "seconds": 0.0},
            {"name": "train", "how": "ran", "seconds": 12.5},
        ],
    }
    # The stand-in says its nice level as its version, once its parent has had time to set it.
    code = (
        "import json, os, select\n"
        f"wanted = {low_priority}\n"
        "while wanted and os.getpriority(os.PRIO_PROCESS, 0) == 0:\n"
        "    select.select([], [], [], 0.01)\n"
        f"result = json.loads({json.dumps(json.dumps(result))})\n"
        "result['semver'] = str(os.getpriority(os.PRIO_PROCESS, 0))\n"
        "print('something else first')\n"
        "print(json.dumps(result))\n"
    )
    _stand_in(monkeypatch, code)
    trained = run_pipeline_process(tmp_path / "p.toml", tmp_path, low_priority=low_priority)
    assert (trained.semver == "19") is low_priority
    assert (trained.train_s, trained.cached) == (12.5, 1)


def _refused_run(workspace: Path, name: str, *, semver: str, how: str) -> Path:
    folder = workspace / "runs" / name
    (folder / "quality").mkdir(parents=True)
    verdicts = [
        {"gate": "integrity", "reason": "ok", "message": "fine"},
        {"gate": "quality", "reason": "slice_dropped", "message": f"{semver} lost"},
    ]
    (folder / "verdicts.json").write_text(json.dumps(verdicts))
    steps = [{"name": "train", "state": how, "seconds": 20.5}]
    record = {"config": {"semver": semver}, "steps": steps}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(("how", "seconds"), [("ran", 20.5), ("cached", None)])
def test_the_last_refusal_is_read_off_its_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, seconds: float | None
) -> None:
    _refused_run(tmp_path, "20260101-000000-aaaaaa", semver="1.1.9", how="ran")
    folder = _refused_run(tmp_path, "20260102-000000-aaaaaa", semver="1.2.0", how=how)
    _stand_in(monkeypatch, "import sys; sys.exit(3)")
    judged = run_judged_pipeline(tmp_path / "p.toml", open_workspace(tmp_path))
    assert (judged.semver, judged.gate, judged.reason) == ("1.2.0", "quality", "slice_dropped")
    assert judged.quality == folder / "quality"
    assert judged.train_s == seconds


def test_another_error_than_a_refusal_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stand_in(monkeypatch, "import sys; sys.exit(6)")
    with pytest.raises(StepFailedError, match="exit code 6"):
        run_judged_pipeline(tmp_path / "p.toml", open_workspace(tmp_path))


def test_a_release_that_every_gate_let_pass_is_said_to_be_refused_by_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps = [{"name": "train", "how": "cached", "seconds": 0.0}]
    result = {"bundle": "/b", "digest": "b" * 64, "semver": "1.2.0", "checkpoint": "/c.pt"}
    _stand_in(monkeypatch, f"print({json.dumps(json.dumps({**result, 'steps': steps}))})")
    judged = run_judged_pipeline(tmp_path / "p.toml", open_workspace(tmp_path))
    assert (judged.semver, judged.gate, judged.quality) == ("1.2.0", "none", None)
