"""The environment of foreign libraries: sealed, so that nothing phones home or installs itself.

Ultralytics and MLflow read variables when they are imported. The trainer's process starts with
`trainer_environment` and then calls `refuse_network`, which no library can undo; a process about to
import MLflow calls `seal_mlflow` first.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable, Sequence
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
    "PIP_NO_INDEX": "1",
    "UV_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
    "PYTHONUNBUFFERED": "1",
}
_DROPPED: Final = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "ULTRALYTICS_API_KEY"})
"""A leftover rank would turn the training into one member of a group that never meets."""


_FETCHERS: Final = frozenset(
    {"apt", "apt-get", "conda", "curl", "mamba", "pip", "pip3", "uv", "wget"}
)
_CONNECTING: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKING_UP: Final = frozenset(
    {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
)
_STARTING: Final = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"})


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
    places = ("YOLO_CONFIG_DIR", "MPLCONFIGDIR", "TORCH_HOME")
    own = dict.fromkeys(places, str(settings))
    return kept | _TRAINER | own | {"OMP_NUM_THREADS": str(threads or os.cpu_count() or 1)}


def refuse_network(report: Callable[[str], None]) -> None:
    """Refuse this process every address outside it, and every program that fetches, for good.

    What asks gets a PermissionError, as if the system refused; Unix sockets stay. Audit hooks see
    what Python code asks for and cannot be removed; a library that opens sockets in C, or a
    program started for another purpose, is not seen.

    Args:
        report: Called with what was asked for, before the refusal.
    """

    def hook(event: str, arguments: Sequence[object]) -> None:
        if asked := _forbidden(event, arguments):
            report(asked)
            raise PermissionError(errno.EPERM, f"a trainer's process reaches no network: {asked}")

    sys.addaudithook(hook)


def _forbidden(event: str, arguments: Sequence[object]) -> str | None:
    """What an audit event asks for, where that is refused."""
    if event in _CONNECTING:
        address = arguments[1]
        return f"{event} {address}" if isinstance(address, tuple) else None
    if event in _LOOKING_UP:
        return f"{event} {_text(arguments[0])}" if arguments[0] is not None else None
    if event in _STARTING:
        words = _words(arguments[0] if event == "os.system" else arguments[1])
        if any(Path(word).name in _FETCHERS for word in words):
            return f"{event} {' '.join(words)}"
    return None


def _words(command: object) -> list[str]:
    """The words of a command, given as one text or as a sequence."""
    if isinstance(command, str | bytes):
        try:
            return shlex.split(_text(command))
        except ValueError:
            return _text(command).split()
    return [_text(word) for word in command] if isinstance(command, Sequence) else []


def _text(value: object) -> str:
    return os.fsdecode(value) if isinstance(value, str | bytes | os.PathLike) else str(value)
