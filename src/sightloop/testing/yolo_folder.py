"""Small YOLO datasets on disk for tests: seeded noise with one box or as many as wanted.

The pictures teach nothing; they are valid images with valid labels, each with other bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

SIDE_PX = 32


def write_yolo_folder(
    root: Path,
    *,
    images: Mapping[str, int],
    classes: Sequence[str] = ("pit", "spot"),
    seed: int = 0,
) -> Path:
    """Write images/<split>, labels/<split> and a data.yaml.

    Args:
        root: The dataset's folder; made.
        images: How many images each split gets: `<split>-<number>.png`, in class order.
        classes: Class names; image i has one box of class i modulo their count.
        seed: Of the pixels.

    Returns:
        The data.yaml.
    """
    random = np.random.default_rng(seed)
    for split, count in images.items():
        for index in range(count):
            pixels = random.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
            write_image(root / "images" / split / f"{split}-{index}.png", pixels)
            label = root / "labels" / split / f"{split}-{index}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(f"{index % len(classes)} 0.5 0.5 0.25 0.25\n")
    value = {"path": ".", **{split: f"images/{split}" for split in images}}
    data_yaml = root / "data.yaml"
    data_yaml.write_text(yaml.safe_dump({**value, "names": list(classes)}))
    return data_yaml


def write_image(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Write (H, W, 3) uint8 as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", pixels)
    assert done
    path.write_bytes(data.tobytes())
