"""What a training remembers of its epochs over all its attempts, as plain values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sightloop.pipeline.training.trainer import Recipe


class Diary:
    """Epochs with their figures, how long they took, and where the training was begun again."""

    def __init__(self, batch: int, log: Mapping[str, Any] | None) -> None:
        """Begin an attempt.

        Args:
            batch: Images a step of this attempt.
            log: What `log` gave in the attempt before; None in the first one.
        """
        self.batch = batch
        self.epochs: list[dict[str, object]] = list(log["epochs"]) if log else []
        self.spent_s = float(log["seconds"]) if log else 0.0
        self.resumed_after: list[int] = []
        if log:
            self.resumed_after = [*log["resumed_after"], len(self.epochs)]
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long all attempts took, what they lost apart."""
        return self.spent_s + time.monotonic() - self._started

    def add(self, metrics: Mapping[str, float]) -> None:
        """Remember the next epoch."""
        values = {**metrics, "train/batch": float(self.batch)}
        self.epochs.append({"epoch": len(self.epochs) + 1, "metrics": values})

    def log(self) -> dict[str, object]:
        """What the attempt after this one is to be given."""
        return {
            "epochs": list(self.epochs),
            "seconds": self.seconds,
            "resumed_after": list(self.resumed_after),
        }

    def results(self, recipe: Recipe) -> dict[str, object]:
        """The part of results.json that it knows."""
        return {
            "epochs": self.epochs,
            "hyperparameters": recipe.as_dict(),
            "seconds": round(self.seconds, 3),
            "batch": self.batch,
            "resumed_after": self.resumed_after,
        }
