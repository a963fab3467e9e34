"""Whether running frames together pays on this machine's CPU: cost of a frame by size of batch.

The network runs on one thread, batches of each size in turns, and the thread's CPU time is counted.
Outputs of frames run together are compared with those that they get alone.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from sightloop.errors import ConfigError
from sightloop.gates.latency import SYSTEM_STOPWATCH
from sightloop.runtime.backend import Backend
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.testing.tiny_detectors import build_tiny_detector

SIZES: Final = (1, 2, 4, 8)
ROUNDS: Final = 12
_SIDE_PX: Final = 640


def bench_batch(model: Path | None, rounds: int, say: Callable[[str], None]) -> dict[str, object]:
    """Measure.

    Args:
        model: An ONNX file with a free batch; a tiny detector at 640 px when None.
        rounds: How often each size is run; the median counts.
        say: Progress, for people.

    Raises:
        ConfigError: The model takes one frame only.
        BackendError: It cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory(prefix="sightloop-bench-") as name:
        path = model or Path(name) / "tiny.onnx"
        if model is None:
            build_tiny_detector(path, side_px=_SIDE_PX, free_batch=True)
        backend = open_onnx(path)
        if not backend.contract.free_batch:
            raise ConfigError(
                f"bench batch: expected a model with a free batch dimension, found {path.name} "
                "with a fixed one; export it with one",
                "bench_model",
            )
        say(f"batches of {', '.join(map(str, SIZES))} frames, {rounds} times each")
        return {"bench": "batch", "provider": "cpu", **_measure(backend, rounds)}


def _measure(backend: Backend, rounds: int) -> dict[str, object]:
    shape = backend.contract.input_shape
    most = max(SIZES)
    frames = np.random.default_rng(0).random((most, *shape[1:]), np.float32)
    alone = np.concatenate([backend.run(frames[n : n + 1]) for n in range(most)])
    difference = float(np.abs(backend.run(frames) - alone).max())
    costs: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        for size in SIZES:
            started = SYSTEM_STOPWATCH.cpu_ns()
            for first in range(0, most, size):
                backend.run(frames[first : first + size])
            costs[size].append((SYSTEM_STOPWATCH.cpu_ns() - started) / most / 1e6)
    medians = {size: statistics.median(values) for size, values in costs.items()}
    best = min(medians[size] for size in SIZES[1:])
    return {
        "side_px": shape[2],
        "cpu_ms_a_frame": {str(size): round(value, 3) for size, value in medians.items()},
        "best_batch_to_single": round(best / medians[1], 3),
        "difference_max": difference,
    }
