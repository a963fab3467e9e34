"""What a release answered on its own calibration frames in its trial, kept for the next trial.

The next candidate is held against these answers without the champion being run on all of its frames
again. Invariant: a file counts only for the very release, frames, software, processor and threads
that it was computed with, and only undamaged; anything else is as if it were not there, and the
answers are computed again. What counts is still compared with runs that are made anyway
(`replay.py`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from sightloop._support.files import write_bytes_atomic
from sightloop._support.hardware import describe_hardware
from sightloop.gates.replay import Answers
from sightloop.release.bundle import Bundle
from sightloop.release.manifest import FRAMES_FOLDER
from sightloop.runtime.compute import Compute
from sightloop.telemetry.events import emit
from sightloop.vision.detections import Detections

SCHEMA: Final = "sightloop.answers/1"
FILES_MAX: Final = 64
_BYTES_MAX: Final = 64 << 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SOFTWARE: Final = ("sightloop", "onnxruntime", "numpy", "opencv-python-headless", "simplejpeg")


@dataclass(frozen=True, slots=True, eq=False)
class ReleaseAnswers:
    """Answers of one release on its own calibration frames.

    Attributes:
        digest: Which release.
        key: With what they were computed.
        answers: By frame.
    """

    digest: str
    key: Mapping[str, str]
    answers: Answers


def key_of(bundle: Bundle, *, compute: Compute) -> dict[str, str]:
    """Everything that answers depend on, in words."""
    frames = {
        path: entry.sha256
        for path, entry in bundle.manifest.files.items()
        if path.startswith(f"{FRAMES_FOLDER}/")
    }
    return {
        "release": bundle.digest,
        "frames": hashlib.sha256(_canonical(frames)).hexdigest(),
        "software": _software(),
        "hardware": describe_hardware(),
        "provider": f"{compute.provider} {compute.device_id} {compute.openvino_device}",
        "threads": str(compute.threads),
    }


def load_answers(folder: Path, key: Mapping[str, str]) -> Answers:
    """What was kept under exactly this key; empty if there is nothing to rely on."""
    path = _path_of(folder, key["release"])
    try:
        with open(path, "rb") as stream:
            data = stream.read(_BYTES_MAX + 1)
    except OSError:
        return {}
    try:
        file = json.loads(data)
        content = file["content"]
        whole = hashlib.sha256(_canonical(content)).hexdigest() == file["sha256"]
        if not whole or content["schema"] != SCHEMA:
            raise ValueError("its checksum is another")
        if content["key"] != dict(key):
            return {}
        return {frame: _detections(value) for frame, value in content["answers"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        emit("answers_damaged", path=str(path), error=str(error))
        return {}


def keep_answers(folder: Path, kept: ReleaseAnswers) -> None:
    """Write one release's answers, whole or not at all; never worth an error.

    The files used longest ago go where there are more than `FILES_MAX`.
    """
    content = {
        "schema": SCHEMA,
        "key": dict(kept.key),
        "answers": {frame: _plain(found) for frame, found in kept.answers.items()},
    }
    file = {"content": content, "sha256": hashlib.sha256(_canonical(content)).hexdigest()}
    try:
        write_bytes_atomic(_path_of(folder, kept.digest), _canonical(file))
        _drop_oldest(folder)
    except OSError as error:
        emit("answers_not_kept", release=kept.digest, error=str(error))


def find_answers(folder: Path) -> dict[Path, str]:
    """Files of kept answers, each with its release's digest."""
    return {
        path: path.stem for path in sorted(folder.glob("*.json")) if _DIGEST.fullmatch(path.stem)
    }


def _drop_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=os.path.getmtime, reverse=True)
    for path in files[FILES_MAX:]:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _path_of(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.json"


@functools.cache
def _software() -> str:
    return " ".join(f"{name} {_version(name)}" for name in _SOFTWARE)


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:  # another distribution of the same library: its answers stay apart
        return "unknown"


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _plain(found: Detections) -> dict[str, list[Any]]:
    """As JSON values; float32 survives the round trip bit for bit."""
    return {
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "classes": found.classes.tolist(),
    }


def _detections(value: Mapping[str, list[Any]]) -> Detections:
    found = Detections(
        boxes=np.asarray(value["boxes"], np.float32).reshape(-1, 4),
        scores=np.asarray(value["scores"], np.float32).reshape(-1),
        classes=np.asarray(value["classes"], np.int64).reshape(-1),
    )
    if not len(found.boxes) == len(found.scores) == len(found.classes):
        raise ValueError("expected as many boxes as scores and classes")
    return found
