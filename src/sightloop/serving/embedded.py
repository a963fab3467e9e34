"""A detector in the user's own process that is replaced live: `sightloop.Detector`.

The slot, gates, history and words of the server, with threads in the place of processes.
Invariant: readers reach a release through one table alone, replaced by one reference assignment
after every gate has passed; an answer's label comes from the object that computed it; a replaced
release is closed when nobody holds it, and never on a reader's thread. A candidate that crashes
takes this process with it: what must survive that belongs behind `sightloop serve`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sightloop._support.clock import Clock, SystemClock
from sightloop.config.serving import load_serving_config
from sightloop.config.workspace import DEFAULT_WORKSPACE, open_workspace
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ReleaseNotFoundError
from sightloop.gates.chain import DEFAULT_POLICY, GatePolicy
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import load_trust
from sightloop.runtime.compute import Compute, Provider
from sightloop.serving.embedded_history import EmbeddedHistory
from sightloop.serving.embedded_orders import EmbeddedOrders, EmbeddedParts, closed_error
from sightloop.serving.embedded_slot import FrameAnswer, HeldSlot
from sightloop.serving.history import Action, ReleaseId, SlotEvent
from sightloop.serving.update import OrderOutcome
from sightloop.vision.detections import Detections


class Detector:
    """Answers frames with a line's champion, and replaces it while it answers.

    Any number of threads may call; those that ask the same release take turns, since a network
    is for one thread at a time. Nothing of it survives a `fork`.

    Attributes:
        line: The model line.
        slot: What the readers read; changed by orders alone.
    """

    def __init__(
        self,
        release: str | Path,
        *,
        line: str | None = None,
        workspace: str | Path = DEFAULT_WORKSPACE,
        trust: Sequence[str | Path] = (),
        history: str | Path | None = None,
        policy: GatePolicy = DEFAULT_POLICY,
        provider: str = "cpu",
        threads: int = 1,
        clock: Clock | None = None,
    ) -> None:
        """Prove the first release and answer with it, or go on where the history ends.

        OpenCV's thread count is set to `threads` for the whole process.

        Args:
            release: A bundle's folder or `LINE@SEMVER` of the workspace's store; with a history
                that names a champion only its line counts.
            line: The model line, where `release` is to be held against it.
            workspace: Holds trusted keys and the store of releases; created if absent.
            trust: Public keys to trust besides the workspace's.
            history: SQLite file of this detector's history; None forgets it at the end.
            policy: Bounds of the gates.
            provider: What runs the networks, as `serve.provider`: cpu, cuda, tensorrt, openvino or
                torch. One that is not there is refused, never replaced by the CPU.
            threads: Threads of one inference, the caller's among them, as `serve.threads`.
            clock: Where times come from; the machine's when None.

        Raises:
            ConfigError: No such provider, or no such number of threads.
            RefusedAtStartError: A gate refused the first release; `load` where the provider is not
                there (`provider_not_installed`, `provider_not_started`).
            ReleaseNotFoundError: No such release.
            ReleaseNotReadyError: Neither champion nor previous of the history loads again.
            WorkspaceError: The workspace or the history cannot be used.
        """
        checked = load_serving_config(
            file=None, flags={"provider": provider, "threads": threads}, environment={}
        )
        opened = open_workspace(Path(workspace))
        trusted = load_trust(opened.keys, [Path(path) for path in trust])
        self.line = line or _line_of(release)
        self.slot = HeldSlot()
        self._history = EmbeddedHistory(self.line, Path(history) if history is not None else None)
        parts = EmbeddedParts(
            line=self.line,
            slot=self.slot,
            store=ReleaseStore(opened.releases),
            trust=trusted,
            history=self._history,
            answers=opened.answers,
            policy=policy,
            compute=Compute(
                provider=Provider(checked.provider),
                threads=checked.threads,
                engine_cache=opened.engines,
            ),
            clock=clock or SystemClock(),
        )
        self._orders = EmbeddedOrders(parts)
        try:
            self._orders.start(release)
        except BaseException:
            self._history.close()
            raise

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """Detect in one frame.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            Detections in pixels of the frame, best first.

        Raises:
            FrameShapeError: `frame` is no frame.
            BackendError: The network failed on it.
            ServingError: The detector is closed (`detector_closed`).
        """
        answered = self.slot.ask(frame)
        if answered is None:
            raise closed_error(self.line)
        return answered[1]

    def detect(self, frame: NDArray[np.uint8]) -> FrameAnswer:
        """As a call, with the name of the release that computed the answer."""
        answered = self.slot.ask(frame)
        if answered is None:
            raise closed_error(self.line)
        held, detections = answered
        return FrameAnswer(held.release, held.classes, detections)

    @property
    def release(self) -> ReleaseId:
        """The champion.

        Raises:
            ServingError: The detector is closed (`detector_closed`).
        """
        champion = self.slot.table.champion
        if champion is None:
            raise closed_error(self.line)
        return champion.release

    @property
    def previous(self) -> ReleaseId | None:
        """The last champion, kept loaded; where a rollback goes."""
        previous = self.slot.table.previous
        return previous.release if previous is not None else None

    def history(self) -> tuple[SlotEvent, ...]:
        """What this detector has served and refused, oldest first."""
        return self._history.events()

    def update(self, release: str | Path) -> OrderOutcome:
        """Prove a release on a thread at nice 19 and switch to it if every gate passes.

        Other threads are answered meanwhile; this one waits. `start_update` does not.

        Args:
            release: A bundle's folder; or, of the workspace's store, `LINE@SEMVER`, a semver, or
                6 or more digits of a digest.

        Returns:
            What became of it. A refusal is an outcome with its verdicts, and changes nothing.

        Raises:
            ReleaseNotFoundError: No such release.
            UpdateInProgressError: Another update is running.
            ServingError: The switch could not be written down (`history_not_saved`), or the
                detector is closed (`detector_closed`); nothing changed.
        """
        return self.start_update(release).result()

    def start_update(self, release: str | Path) -> Future[OrderOutcome]:
        """As `update`, at once: for the thread that asks about the frames."""
        return self._orders.begin(release, Action.UPDATE)

    def rollback(self, digest: str | None = None) -> OrderOutcome:
        """Go back to the previous release at once, or to a digest of the history through gates.

        Raises:
            ReleaseNotReadyError: There is no previous release.
            ReleaseNotFoundError: `digest` is not in the history.
            UpdateInProgressError: `digest` needs the gates, and an update is running.
        """
        return self._orders.rollback(digest)

    def close(self) -> None:
        """Wait for a running update and for the frame in work, and give all memory back."""
        self._orders.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _line_of(release: str | Path) -> str:
    """The line that a release says it is of; the gates hold it against its signature."""
    if Path(release).is_dir():
        return read_bundle(Path(release)).manifest.line
    name, separator, _ = str(release).partition("@")
    if not separator:
        raise ReleaseNotFoundError(
            f"release {release}: expected a bundle's folder or LINE@SEMVER, found neither; see "
            "`sightloop release build`"
        )
    return name
