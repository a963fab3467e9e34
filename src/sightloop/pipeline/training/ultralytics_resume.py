"""What an Ultralytics training keeps of its last finished epoch, and how it goes on from there.

Own files instead of the framework's: those keep the averaged weights in half precision alone, and
a training that goes on from them is another one. Here weights, average and optimizer are kept as
they are, and the chance of each epoch depends on the seed and its number, so that a training that
was stopped gives what it would have given. Two exceptions: gradients gathered over several batches
(`nominal_batch` above `batch`) are dropped, and after the last epoch nothing is kept.

Knows the framework by the attributes of the trainer it is handed; only torch is imported.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from sightloop.pipeline.training.attempts import seed_of_epoch


def state_of(trainer: Any) -> dict[str, Any]:
    """What the next attempt goes on from, when an epoch has ended: tensors and plain values."""
    return {
        "epoch": trainer.epoch,
        "epochs": trainer.epochs,
        "model": trainer.model.state_dict(),
        "average": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
    }


def restore_state(trainer: Any, state: Mapping[str, Any], *, spent_s: float) -> None:
    """Put a trainer that is about to begin its first epoch where the kept one ended.

    Args:
        trainer: The framework's trainer, at its event `on_train_start`.
        state: What `state_of` gave.
        spent_s: Seconds that the epochs before took; a time limit counts them.
    """
    trainer.model.load_state_dict(state["model"])
    trainer.ema.ema.load_state_dict(state["average"])
    trainer.ema.updates = state["updates"]
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.scaler.load_state_dict(state["scaler"])
    done = int(state["epoch"]) + 1
    if trainer.epochs != state["epochs"]:  # a time limit sets the count as it goes
        trainer.epochs = trainer.args.epochs = state["epochs"]
        trainer._setup_scheduler()
    trainer.start_epoch = done
    trainer.scheduler.last_epoch = done - 1
    trainer.train_time_start -= spent_s
    trainer.epoch_time_start = trainer.train_time_start
    if getattr(trainer.model.model[-1], "one2one_cv2", None) is not None:
        trainer.model.criterion = trainer.model.init_criterion()
        trainer.model.criterion.updates = done - 1
        trainer.model.criterion.update()


def begin_epoch(trainer: Any, seed: int) -> None:
    """Set everything an epoch begins with that depends on what ran before.

    Also leaves out-of-memory to the process's parent: the framework would halve the batch in the
    first epoch alone, and tell nobody.
    """
    import torch

    chosen = seed_of_epoch(seed, trainer.epoch)
    random.seed(chosen)
    np.random.seed(chosen)
    torch.manual_seed(chosen)
    loader = trainer.train_loader
    loader.reset()  # an order drawn half-way through belongs to the epoch before
    loader.generator.manual_seed(chosen)
    trainer.start_epoch = 0  # read once, at the begin; a time limit divides by the epochs since
    trainer._oom_retries = 3
