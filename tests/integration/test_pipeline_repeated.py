"""A pipeline that nothing has changed is done again in seconds: nothing computed, no MLflow.

Prints its figure: `pytest -s tests/integration/test_pipeline_repeated.py`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sightloop.testing.plate_dataset import write_plate_dataset

LIMIT_CPU_S = 3.0
RUN = """
import json, sys, time
from pathlib import Path
from sightloop.config.workspace import open_workspace
from sightloop.pipeline import run as module
from sightloop.pipeline.config import load_config
from sightloop.testing.fake_training_steps import with_fake_trainer

build = module.build_graph
module.build_graph = lambda config: with_fake_trainer(build(config))
done = module.run_pipeline(load_config(Path(sys.argv[1])), open_workspace(Path(sys.argv[2])))
seconds = {"cpu_s": time.process_time(), "mlflow": "mlflow" in sys.modules}
print(json.dumps(done.as_dict() | seconds))
"""
CONFIG = """
line = "plate"
semver = "1.0.0"
data = "plates/data.yaml"
[train]
side_px = 96
epochs = 1
[calibrate]
frames = 8
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed (extra `registry`)",
)


def _run(folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", RUN, str(folder / "plate.toml"), str(folder / "ws")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def test_repetition_computes_nothing_and_takes_at_most_three_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plate_dataset(tmp_path / "plates", {"train": 4, "val": 8, "test": 4}, side_px=96)
    (tmp_path / "plate.toml").write_text(CONFIG)
    first, again = _run(tmp_path), _run(tmp_path)
    with capsys.disabled():
        print(f"\nrepeated pipeline: {again['cpu_s']:.2f} s of CPU (first: {first['cpu_s']:.2f})")  # noqa: T201
    how = {step["name"]: step["how"] for step in again["steps"]}
    assert how.pop("register") == "ran"
    assert set(how.values()) == {"cached"}
    assert (again["digest"], again["mlflow_run_id"]) == (first["digest"], first["mlflow_run_id"])
    assert first["mlflow"]
    assert not again["mlflow"]
    assert again["cpu_s"] <= LIMIT_CPU_S
