"""Two ways to get the demo's two releases, its test set and its camera's images.

`TrainedStage` renders images and trains on them; `TinyStage` builds detectors in code, in
milliseconds, and needs neither torch nor MLflow. What is done with the releases is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sightloop._support.files import new_folder
from sightloop.config.workspace import Workspace
from sightloop.demo.quality import TestImage, read_test_set
from sightloop.demo.rendered_dataset import (
    FIRST_PLAN,
    NIGHT_STORY,
    SECOND_PLAN,
    THIRD_PLAN,
    RenderedDataset,
    render_dataset,
)
from sightloop.demo.training import (
    FIRST,
    LINE,
    SECOND,
    THIRD,
    Judged,
    Trained,
    check_extras,
    first_pipeline,
    run_judged_pipeline,
    run_pipeline_process,
    second_pipeline,
    third_pipeline,
    write_config,
)
from sightloop.distribution.store import ReleaseStore
from sightloop.registry.mlflow_registry import MlflowRegistry
from sightloop.registry.mlflow_store import open_mlflow
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.signing import ensure_key, load_trust
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.decode import encode_jpeg

Note = Callable[[str], None]

_TINY_IMAGES: Final = 60
_TINY_FIRST_SEED: Final = 5_000
_JPEG_QUALITY: Final = 92


class Stage(Protocol):
    """Where the demo's releases and images come from."""

    @property
    def line(self) -> str:
        """The model line."""

    def first(self, note: Note) -> Bundle:
        """Make 1.0.0, in the workspace's store."""

    def second(self, note: Note) -> Bundle:
        """Make 1.1.0, in the workspace's store, without disturbing what is served."""

    def third(self, note: Note) -> Judged | None:
        """Make 1.2.0, which the gates are to refuse; None where nothing is trained."""

    @property
    def cached(self) -> bool:
        """Whether every training so far came from the cache."""

    def test_set(self) -> tuple[TestImage, ...]:
        """The frozen test set; its images are what the camera sends."""

    def finish(self, champion: Bundle, previous: Bundle) -> dict[str, float | None]:
        """Note the roles where they are kept; give the seconds of each training."""


@dataclass(slots=True)
class TrainedStage:
    """Renders, trains, registers.

    Attributes:
        out: The demo's folder.
        workspace: Its workspace.
    """

    out: Path
    workspace: Workspace
    _trained: list[Trained]
    _dataset: RenderedDataset | None
    _third_s: float | None

    def __init__(self, out: Path, workspace: Workspace) -> None:
        check_extras()
        self.out = out
        self.workspace = workspace
        self._trained = []
        self._dataset = None
        self._third_s = None

    @property
    def line(self) -> str:
        return LINE

    def first(self, note: Note) -> Bundle:
        dataset = render_dataset(self.out / f"images-{FIRST}", FIRST_PLAN)
        self._dataset = dataset
        note(
            f"{sum(dataset.box_counts.values())} defects rendered; the new scratch is "
            f"{dataset.new_scratch_share('train'):.1%} of the training boxes, "
            f"{dataset.new_scratch_share('test'):.1%} of the test boxes"
        )
        config = self.out / f"pipeline-{FIRST}.toml"
        write_config(config, first_pipeline(dataset.data_yaml))
        return self._run(config, note, low_priority=False)

    def second(self, note: Note) -> Bundle:
        dataset = render_dataset(self.out / f"images-{SECOND}", SECOND_PLAN)
        note(f"the new scratch is now {dataset.new_scratch_share('train'):.1%} of the boxes")
        config = self.out / f"pipeline-{SECOND}.toml"
        write_config(config, second_pipeline(dataset.data_yaml, self._trained[0]))
        return self._run(config, note, low_priority=True)

    def third(self, note: Note) -> Judged | None:
        dataset = render_dataset(self.out / f"images-{THIRD}", THIRD_PLAN)
        note(NIGHT_STORY)
        config = self.out / f"pipeline-{THIRD}.toml"
        write_config(config, third_pipeline(dataset.data_yaml, self._trained[1]))
        judged = run_judged_pipeline(config, self.workspace)
        self._third_s = judged.train_s
        note(f"{LINE} {THIRD}: refused by {judged.gate} ({judged.reason})")
        return judged

    @property
    def cached(self) -> bool:
        return all(one.train_s is None for one in self._trained) and self._third_s is None

    def _run(self, config: Path, note: Note, *, low_priority: bool) -> Bundle:
        trained = run_pipeline_process(config, self.workspace.root, low_priority=low_priority)
        self._trained.append(trained)
        took = (
            "from the cache" if trained.train_s is None else f"trained in {trained.train_s:.0f} s"
        )
        note(f"{LINE} {trained.semver} {trained.digest[:12]}, {took}")
        return verify_bundle(trained.bundle, load_trust(self.workspace.keys))

    def test_set(self) -> tuple[TestImage, ...]:
        assert self._dataset is not None, "first() comes first"
        return read_test_set(self._dataset)

    def finish(self, champion: Bundle, previous: Bundle) -> dict[str, float | None]:
        registry = MlflowRegistry(open_mlflow(self.workspace))
        for bundle in (previous, champion):
            registry.promote(LINE, bundle.digest)
        return {one.semver: one.train_s for one in self._trained}


@dataclass(frozen=True, slots=True)
class TinyStage:
    """Builds two tiny detectors that answer differently on every image.

    Attributes:
        out: The demo's folder.
        workspace: Its workspace.
    """

    out: Path
    workspace: Workspace

    @property
    def line(self) -> str:
        return "plate"

    def first(self, note: Note) -> Bundle:
        return self._build(FIRST, variant=0, note=note)

    def second(self, note: Note) -> Bundle:
        return self._build(SECOND, variant=1, note=note)

    def third(self, note: Note) -> Judged | None:
        return None

    @property
    def cached(self) -> bool:
        return False

    def _build(self, semver: str, *, variant: int, note: Note) -> Bundle:
        key, _ = ensure_key(self.workspace.keys)
        with new_folder(self.out / f"release-{semver}") as folder:
            build_tiny_release(folder, line=self.line, semver=semver, key=key, variant=variant)
            store = ReleaseStore(self.workspace.releases)
            bundle = store.add(folder, load_trust(self.workspace.keys))
        note(f"{self.line} {semver} {bundle.digest[:12]}, built in code")
        return bundle

    def test_set(self) -> tuple[TestImage, ...]:
        images = []
        for seed in range(_TINY_FIRST_SEED, _TINY_FIRST_SEED + _TINY_IMAGES):
            frame, labels = render_plate(seed)
            data = encode_jpeg(frame, quality=_JPEG_QUALITY)
            images.append(TestImage(f"plate-{seed}.jpg", data, labels))
        return tuple(images)

    def finish(self, champion: Bundle, previous: Bundle) -> dict[str, float | None]:
        return dict.fromkeys((previous.manifest.semver, champion.manifest.semver))
