"""The training of the compact network: samples in, averaged weights out, epoch by epoch.

Invariant: what an epoch does follows from the seed, its number and what the epoch before left;
that is written down whole after each epoch, so that a training may end at any point and go on.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np

from sightloop.errors import ConfigError, TrainerError
from sightloop.pipeline.training.attempts import STATE_NAME, seed_of_epoch
from sightloop.pipeline.training.compact_loss import Targets, loss_of
from sightloop.pipeline.training.compact_network import points_of
from sightloop.pipeline.training.compact_samples import Sample, Samples
from sightloop.pipeline.training.diary import Diary
from sightloop.pipeline.training.torch_state import has_bfloat16, save_state
from sightloop.pipeline.training.trainer import Recipe

OPTIMIZERS: Final = ("AdamW", "SGD")
_GRADIENT_NORM_MAX: Final = 10.0
_AVERAGE_DECAY_MAX: Final = 0.998
_MOMENTUM: Final = 0.937

Measure = Callable[[Any], Mapping[str, float]]


def rate_share(recipe: Recipe, *, epoch: float, epochs: int) -> float:
    """The learning rate as a share of the recipe's, 0..1: a rise, then a line down.

    Args:
        recipe: Warmup and last share.
        epoch: Epochs done, with their fraction.
        epochs: In all.
    """
    warmup = min(recipe.warmup_epochs, max(epochs - 1, 0))
    rise = min(1.0, epoch / warmup) if warmup > 0 else 1.0
    line = 1 - min(epoch / epochs, 1.0) * (1 - recipe.final_rate_fraction)
    return rise * line


def average_decay(steps: int) -> float:
    """How much of the averaged weights stays at an optimizer step: little at first."""
    return min(_AVERAGE_DECAY_MAX, (1 + steps) / (10 + steps))


class Loop:
    """One training at work. Its state is the network, the average, the optimizer, the diary."""

    def __init__(
        self, network: Any, samples: Samples, recipe: Recipe, *, diary: Diary, device: str
    ) -> None:
        """Begin at the first epoch.

        Args:
            network: With its starting weights.
            samples: Of the training split.
            recipe: How to train.
            diary: Remembers the epochs; its batch counts.
            device: `cpu` or a GPU's number.
        """
        import torch

        self.device = torch.device("cpu" if device == "cpu" else f"cuda:{device}")
        self.network = network.to(self.device)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.mixed = recipe.mixed_precision and has_bfloat16(device)
        self._samples, self._recipe, self._diary = samples, recipe, diary
        self._optimizer = _optimizer_of(self.network, recipe)
        self._steps = 0
        self._epochs = recipe.epochs
        points = points_of(recipe.side_px)
        self._centres, self._strides = (one.to(self.device) for one in points)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a kept state ended."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._steps, self._epochs = int(state["steps"]), int(state["epochs"])

    def run(self, kept: Path, *, measure: Measure, told: Callable[[float, str], None]) -> None:
        """Train what is left of the epochs.

        Args:
            kept: Existing folder for the state after each epoch.
            measure: Figures of the averaged network, where they are due.
            told: Takes the fraction done and a text, after each epoch.

        Raises:
            TrainerError: The loss is no finite number.
        """
        while (done := len(self._diary.epochs)) < self._epochs:
            metrics = self._epoch(done)
            self._fit_into_time()
            every, done = self._recipe.validate_every, done + 1
            if every and (done % every == 0 or done >= self._epochs):
                metrics |= measure(self.average)
            self._diary.add(metrics)
            save_state(kept / STATE_NAME, self._state())
            loss = sum(metrics[f"train/{part}_loss"] for part in ("class", "box", "edge"))
            told(min(1.0, done / self._epochs), f"epoch {done}/{self._epochs}, loss {loss:.2f}")

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "steps": self._steps,
            "epochs": self._epochs,
            "log": self._diary.log(),
        }

    def _fit_into_time(self) -> None:
        """With a time limit, set the count of epochs by what they took so far."""
        limit_s, done = self._recipe.time_limit_s, len(self._diary.epochs) + 1
        if limit_s is not None:
            self._epochs = max(done, math.floor(limit_s / (self._diary.seconds / done)))

    def _epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch; give its mean losses."""
        recipe, batch = self._recipe, self._diary.batch
        seed = seed_of_epoch(recipe.seed, epoch)
        order = np.random.default_rng(seed).permutation(len(self._samples))
        mosaic = epoch < self._epochs - recipe.close_mosaic
        groups = [order[start : start + batch] for start in range(0, len(order), batch)]
        if len(groups) > 1 and len(groups[-1]) == 1:
            groups.pop()  # one image alone has no variance to normalise by
        gather = max(1, round(recipe.nominal_batch / batch))
        totals: dict[str, float] = {}
        self.network.train()
        for number, group in enumerate(groups):
            drawn = [self._samples.draw(int(one), seed=seed, mosaic=mosaic) for one in group]
            for name, value in self._learn(drawn, gather).items():
                totals[name] = totals.get(name, 0.0) + value / len(groups)
            if (number + 1) % gather == 0 or number + 1 == len(groups):
                self._step(epoch + (number + 1) / len(groups))
        if not all(math.isfinite(value) for value in totals.values()):
            raise TrainerError(
                f"training: expected a finite loss, found {totals} in epoch {epoch + 1}; lower "
                "train.learning_rate",
                reason="weights_not_finite",
            )
        rate = float(self._optimizer.param_groups[0]["lr"])
        return {f"train/{name}_loss": value for name, value in totals.items()} | {
            "train/learning_rate": rate
        }

    def _learn(self, drawn: Sequence[Sample], gather: int) -> dict[str, float]:
        """Add the gradients of one batch; give its losses."""
        import torch

        frames = torch.from_numpy(np.stack([one.frame for one in drawn])).to(self.device)
        images = frames.permute(0, 3, 1, 2).float() / 255
        targets = _targets_of(drawn, self.device)
        context: AbstractContextManager[object] = nullcontext()
        if self.mixed:
            context = torch.autocast("cuda", dtype=torch.bfloat16)
        with context:
            answer = self.network(images)
        parts = loss_of(answer, self._centres, self._strides, targets)
        (sum(parts.values()) / gather).backward()
        return {name: float(value.detach()) for name, value in parts.items()}

    def _step(self, epoch: float) -> None:
        """Apply the gathered gradients, and let the average follow."""
        import torch

        share = rate_share(self._recipe, epoch=epoch, epochs=self._epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * share
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _GRADIENT_NORM_MAX)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._steps += 1
        decay = average_decay(self._steps)
        with torch.no_grad():
            current = self.network.state_dict()
            for name, value in self.average.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(current[name], 1 - decay)
                else:
                    value.copy_(current[name])


def _optimizer_of(network: Any, recipe: Recipe) -> Any:
    """The recipe's optimizer; scales and offsets are not decayed.

    Raises:
        ConfigError: Another optimizer than this trainer knows.
    """
    import torch

    decayed = [one for one in network.parameters() if one.ndim > 1]
    others = [one for one in network.parameters() if one.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "AdamW":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    if recipe.optimizer == "SGD":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=_MOMENTUM, nesterov=True)
    raise ConfigError(
        f"train.optimizer: expected one of {', '.join(OPTIMIZERS)} with the compact trainer, "
        f"found {recipe.optimizer!r}"
    )


def _targets_of(drawn: Sequence[Sample], device: Any) -> Targets:
    """The labels of a batch, filled up to the longest."""
    import torch

    most = max(len(one.classes) for one in drawn)
    boxes = torch.zeros(len(drawn), most, 4)
    classes = torch.zeros(len(drawn), most, dtype=torch.long)
    real = torch.zeros(len(drawn), most, dtype=torch.bool)
    for row, one in enumerate(drawn):
        count = len(one.classes)
        boxes[row, :count] = torch.from_numpy(one.boxes)
        classes[row, :count] = torch.from_numpy(one.classes)
        real[row, :count] = True
    return Targets(boxes.to(device), classes.to(device), real.to(device))
