"""The workspace: the folder of everything local, and where each thing lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sightloop.errors import WorkspaceError

DEFAULT_WORKSPACE = Path(".sightloop")


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths below one workspace folder."""

    root: Path

    @property
    def keys(self) -> Path:
        """Signing keys: `NAME.key` (private, 0600) and `NAME.pub`."""
        return self.root / "keys"

    @property
    def releases(self) -> Path:
        """Content-addressed store: one folder a release, named by its digest."""
        return self.root / "releases"

    @property
    def engines(self) -> Path:
        """Compiled engines by device, driver and release; may be deleted at any time."""
        return self.root / "engines"

    @property
    def answers(self) -> Path:
        """What releases answered on their calibration frames, for the gates."""
        return self.root / "answers"

    @property
    def cache(self) -> Path:
        """Outputs of cacheable pipeline steps by content key."""
        return self.root / "cache"

    @property
    def unfinished(self) -> Path:
        """What killed steps go on from: one folder a step, in it one a cache key."""
        return self.root / "unfinished"

    @property
    def runs(self) -> Path:
        """One folder a pipeline run."""
        return self.root / "runs"

    @property
    def serving_database(self) -> Path:
        """SQLite file of slots and their histories."""
        return self.root / "serving.db"

    @property
    def tokens(self) -> Path:
        """Names, roles and digests of the tokens that a server of this workspace knows."""
        return self.root / "tokens.json"

    @property
    def tuning(self) -> Path:
        """What `sightloop bench tune` has measured, by line."""
        return self.root / "tuning.json"

    @property
    def mlflow_database(self) -> Path:
        """SQLite file of the embedded MLflow store."""
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Artifacts of the embedded MLflow store."""
        return self.root / "mlartifacts"


def open_workspace(root: Path) -> Workspace:
    """Give the workspace at `root`, created if absent.

    Raises:
        WorkspaceError: `root` is no folder or cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise WorkspaceError(
            f"workspace {root}: expected a folder that can be written, found: {error.strerror}; "
            "name another one with --workspace"
        ) from error
    return Workspace(root=root.resolve())
