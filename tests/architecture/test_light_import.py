"""The core is light: what a server and `--help` load, measured in processes of their own."""

from __future__ import annotations

import resource
import subprocess
import sys

HEAVY = ("torch", "ultralytics", "mlflow", "matplotlib", "pandas", "scipy", "onnx")
SLOW_TO_IMPORT = ("numpy", "cv2", "pydantic", "fastapi", "sqlalchemy", "onnxruntime", "uvicorn")
HELP_CPU_MAX_S = 0.6
"""Twice the promised 0.3 s, so that a busy neighbour turns nothing red."""


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_command_line_and_server_need_neither_torch_nor_mlflow() -> None:
    loaded = loaded_by("import sightloop.cli.main, sightloop.app.server")
    assert not loaded & set(HEAVY)
    assert "fastapi" in loaded, "the server's own parts are there, so the check looked"


def test_worker_needs_no_framework_but_the_one_that_runs_the_network() -> None:
    loaded = loaded_by("import sightloop.serving.worker")
    assert not loaded & {*HEAVY, "fastapi", "uvicorn"}
    assert "onnxruntime" in loaded


def test_package_root_is_light_until_the_detector_is_asked_for() -> None:
    assert not loaded_by("import sightloop") & {*HEAVY, *SLOW_TO_IMPORT}
    loaded = loaded_by("import sightloop; sightloop.Detector")
    assert not loaded & {*HEAVY, "fastapi", "uvicorn"}
    assert "onnxruntime" in loaded


def test_client_needs_only_the_standard_library() -> None:
    loaded = loaded_by("import sightloop.client.http_client")
    assert not loaded & {*HEAVY, *SLOW_TO_IMPORT}


def test_command_line_imports_its_nouns_inside_the_commands() -> None:
    assert not loaded_by("import sightloop.cli.main") & {*HEAVY, *SLOW_TO_IMPORT, "rich"}


def test_help_is_quick() -> None:
    code = "import sightloop.cli.main as m, sys; sys.argv = ['sightloop', '--help']; m.main()"
    command = [sys.executable, "-c", code]
    spent = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Usage" in done.stdout
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(spent) <= HELP_CPU_MAX_S
