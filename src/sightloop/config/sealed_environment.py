"""The environment of foreign libraries: sealed, so that nothing phones home or installs itself.

Ultralytics and MLflow read variables when they are imported. The trainer's process starts with
`trainer_environment`; a process about to import MLflow calls `seal_mlflow` first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_MLFLOW: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_TRAINER: Final = _MLFLOW | {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "ULTRALYTICS_SAFE_LOAD": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "WANDB_MODE": "disabled",
    "MPLBACKEND": "Agg",
    "PYTHONUNBUFFERED": "1",
}
_DROPPED: Final = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "ULTRALYTICS_API_KEY"})
"""A leftover rank would turn the training into one member of a group that never meets."""


def seal_mlflow() -> None:
    """Turn MLflow's telemetry off for this process; call before importing it."""
    os.environ.update(_MLFLOW)


def trainer_environment(settings: Path, *, threads: int) -> dict[str, str]:
    """Environment of a trainer's process.

    Args:
        settings: Private folder for what the libraries want to remember.
        threads: Compute threads; 0 takes the machine's count.

    Returns:
        This process's variables with the sealing ones over them.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    own = {"YOLO_CONFIG_DIR": str(settings), "MPLCONFIGDIR": str(settings)}
    return kept | _TRAINER | own | {"OMP_NUM_THREADS": str(threads or os.cpu_count() or 1)}
