"""One door per foreign thing: who may import what, and who may read environment and time."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from sightloop.testing.source_tree import (
    PACKAGE,
    Module,
    attribute_uses,
    imports_of,
    package_folder,
    read_modules,
)

MODULES = read_modules(package_folder())

# Patterns below src/sightloop; `**` crosses folders. A library that is not here may not be used.
DOORS: dict[str, tuple[str, ...]] = {
    "mlflow": ("registry/mlflow_*.py",),
    "ultralytics": ("pipeline/training/ultralytics_trainer.py",),
    "torch": (
        "pipeline/training/compact_loop.py",
        "pipeline/training/compact_loss.py",
        "pipeline/training/compact_network.py",
        "pipeline/training/compact_trainer.py",
        "pipeline/training/torch_state.py",  # what both trainers keep
        "pipeline/training/ultralytics_resume.py",
        "pipeline/training/ultralytics_trainer.py",
        "runtime/torch_backend.py",
    ),
    "onnx2pytorch": ("runtime/torch_backend.py",),
    "onnxruntime": ("runtime/onnx_backend.py",),
    "fastapi": ("**/*rest.py", "app/*.py"),
    "starlette": ("**/*rest.py", "app/*.py"),
    "uvicorn": ("app/*.py",),
    "grpc": ("serving/grpc_server.py",),
    "google": ("protocol/grpc_messages.py",),  # protobuf
    "uvloop": ("app/*.py", "testing/camera.py", "testing/closed_loop.py"),
    "cryptography": ("release/signing.py",),
    "model_signing": ("distribution/openssf_signature.py",),
    "simplejpeg": ("vision/decode.py",),
    "pycocotools": ("testing/coco_oracle.py",),  # a developer's tool; imported when asked for
    "faster_coco_eval": ("vision/average_precision.py",),
    "prometheus_client": ("telemetry/metrics.py", "serving/scrape.py"),
    "supervision": ("vision/detections.py",),  # the user's own; imported when asked for
    "matplotlib": ("pipeline/*_picture.py",),
    "pytest": ("testing/*.py",),
    "sqlalchemy": (
        "_support/database.py",
        "serving/history.py",  # the table of events
        "serving/audit.py",  # the table of orders
        "serving/records.py",  # the error of a write that failed
        "registry/mlflow_store.py",  # the error of MLflow's own database
        "testing/write_faults.py",  # stops a process at a statement
    ),
    "onnx": (
        "runtime/torch_backend.py",  # reads the graph that torch is to run
        "testing/*.py",  # detectors built in code
        "pipeline/training/ultralytics_trainer.py",  # shapes of the exported file
    ),
    "cv2": (
        "vision/*.py",
        "runtime/loaded_release.py",  # OpenCV's thread count goes with the network's
        "serving/zygote.py",  # imported before the fork, used by nobody there
        "demo/render.py",  # draws the inspection images
        "pipeline/training/compact_samples.py",  # moves and recolours training images
        "testing/*.py",
    ),
    "yaml": (
        "dataset/*.py",
        "demo/rendered_dataset.py",  # writes a data.yaml
        "pipeline/training/ultralytics_trainer.py",  # the trainer's own data.yaml
        "testing/*.py",
    ),
    "typer": ("cli/*.py",),
    "rich": (
        "cli/*.py",
        "demo/*.py",
        "pipeline/display.py",  # the progress of a run
    ),
    "pydantic": ("**/*.py",),  # borders: settings, manifest, bodies
    "numpy": ("**/*.py",),
}

ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})
# strftime and gmtime write a given time down and read none.
TIME_WRITERS = frozenset({"strftime", "gmtime"})
TIME_DOORS = {
    "_support/clock.py": None,
    # The gate's own stopwatch: CPU time of a thread or the process, which no Clock of a test can
    # stand for; it is a value that tests replace.
    "gates/latency.py": frozenset({"thread_time_ns", "process_time_ns", "perf_counter_ns"}),
    # Measures the layers of a slowed network by the same time as the gate does.
    "demo/candidates.py": frozenset({"thread_time_ns"}),
    # Runs in the trainer's process, where no Clock is handed in; written to results.json alone.
    "pipeline/training/diary.py": frozenset({"monotonic"}),
}


def foreign_imports() -> Iterator[tuple[Module, str, int]]:
    for module in MODULES:
        for found in imports_of(module.tree):
            library = found.name.partition(".")[0]
            if library and library != PACKAGE and library not in sys.stdlib_module_names:
                yield module, library, found.line


FOREIGN = tuple(foreign_imports())


def fits(module: Module, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return module.path.match(pattern.removeprefix("**/"))
    return module.path.match(pattern) and len(module.path.parts) == pattern.count("/") + 1


def test_foreign_libraries_come_in_by_their_doors() -> None:
    outside = [
        f"{module.path}:{line} imports {library}"
        for module, library, line in FOREIGN
        if not any(fits(module, pattern) for pattern in DOORS.get(library, ()))
    ]
    assert not outside


@pytest.mark.parametrize("library", sorted(DOORS))
def test_every_door_is_used(library: str) -> None:
    users = [module for module, name, _ in FOREIGN if name == library]
    unused = [p for p in DOORS[library] if not any(fits(module, p) for module in users)]
    # `app/` may hold the web framework and need not; the other doors are there for a reason.
    assert [p for p in unused if p != "app/*.py"] == []


def test_environment_is_read_in_config_alone() -> None:
    readers = [
        f"{module.path}:{line} os.{name}"
        for module in MODULES
        if module.path.parts[0] != "config"
        for name, line in attribute_uses(module.tree, "os")
        if name in ENVIRONMENT
    ]
    assert not readers


def test_time_comes_through_a_clock() -> None:
    readers = []
    for module in MODULES:
        allowed = TIME_DOORS.get(module.path.as_posix(), frozenset())
        for name, line in attribute_uses(module.tree, "time"):
            if allowed is not None and name not in allowed | TIME_WRITERS:
                readers.append(f"{module.path}:{line} time.{name}")
        readers += [
            f"{module.path}:{found.line} datetime"
            for found in imports_of(module.tree)
            if found.name == "datetime"
        ]
    assert not readers
