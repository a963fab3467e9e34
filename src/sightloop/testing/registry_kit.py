"""What every Tracker and Registry promises, as a test case: subclass it and open yours.

Needs pytest, so only tests import this file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sightloop.errors import (
    BundleError,
    ConfigError,
    RegistryError,
    SignatureInvalidError,
    VersionExistsError,
)
from sightloop.registry.registry import RegisteredVersion, Registry, Role
from sightloop.registry.tracker import DatasetUse, EpochMetrics, RunRecord, Tracker
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.signing import SigningKey, TrustStore, create_key
from sightloop.testing.tiny_detectors import build_tiny_release


@dataclass(frozen=True, slots=True)
class Opened:
    """A tracker and a registry over the same empty store.

    Attributes:
        tracker: Where runs are recorded.
        registry: Where their releases are registered.
        artifacts_of: Folder in which the registry keeps a version's bundle; a test damages it.
    """

    tracker: Tracker
    registry: Registry
    artifacts_of: Callable[[RegisteredVersion], Path]


@dataclass(frozen=True, slots=True)
class Releases:
    """Makes signed tiny releases below a folder."""

    folder: Path
    key: SigningKey

    @property
    def trust(self) -> TrustStore:
        """Trusts the key that signs them."""
        return TrustStore((self.key.public,))

    def make(self, semver: str, *, variant: int = 0, line: str = "plate") -> Bundle:
        """A verified release of this semver and variant, built once."""
        folder = self.folder / f"{line}-{semver}-{variant}"
        if not folder.exists():
            build_tiny_release(
                folder, line=line, semver=semver, key=self.key, variant=variant, frames=2
            )
        return verify_bundle(folder, self.trust)


def record_of(digest: str, *, line: str = "plate") -> RunRecord:
    """A small record of a run."""
    return RunRecord(
        line=line,
        name=f"{line} 1.0.0",
        digest=digest,
        dataset=DatasetUse(name=line, version="d" * 64, source="/data/plates"),
        parameters={"epochs": 2, "mosaic": 0.5, "weights": None},
        tags={"semver": "1.0.0"},
        metrics={"test/map50": 0.5},
        epochs=[EpochMetrics(1, {"train/loss": 2.0}), EpochMetrics(2, {"train/loss": 1.0})],
    )


class RegistryKit:
    """The promises of `registry/registry.py` and `registry/tracker.py`."""

    @pytest.fixture
    def opened(self) -> Opened:
        """An empty store."""
        raise NotImplementedError("override opened in the subclass")

    @pytest.fixture
    def releases(self, tmp_path: Path) -> Releases:
        return Releases(tmp_path / "releases", create_key(tmp_path / "maker"))

    def test_run_is_found_by_the_digest_it_made(self, opened: Opened) -> None:
        run_id = opened.tracker.record(record_of("a" * 64))
        assert opened.tracker.find("plate", "a" * 64) == run_id
        assert opened.tracker.find("plate", "b" * 64) is None
        assert opened.tracker.find("other", "a" * 64) is None

    def test_run_is_recorded_once(self, opened: Opened) -> None:
        first = opened.tracker.record(record_of("a" * 64))
        again = opened.tracker.record(replace(record_of("a" * 64), metrics={"test/map50": 0.1}))
        other = opened.tracker.record(record_of("b" * 64))
        assert again == first
        assert other != first

    def test_unknown_line_has_no_versions_and_no_champion(self, opened: Opened) -> None:
        assert opened.registry.versions("plate") == ()
        assert opened.registry.holder("plate", Role.CHAMPION) is None

    def test_registered_version_carries_its_identity(
        self, opened: Opened, releases: Releases
    ) -> None:
        bundle = releases.make("1.0.0")
        made = _register(opened, bundle)
        assert (made.line, made.semver, made.digest) == ("plate", "1.0.0", bundle.digest)
        assert opened.registry.versions("plate") == (made,)
        assert opened.registry.holder("plate", Role.CHAMPION) is None

    def test_registering_again_changes_nothing(self, opened: Opened, releases: Releases) -> None:
        first = _register(opened, releases.make("1.0.0"))
        assert _register(opened, releases.make("1.0.0")) == first
        assert opened.registry.versions("plate") == (first,)

    def test_semver_names_one_digest_for_ever(self, opened: Opened, releases: Releases) -> None:
        first = _register(opened, releases.make("1.0.0"))
        with pytest.raises(VersionExistsError) as caught:
            _register(opened, releases.make("1.0.0", variant=1))
        assert caught.value.reason == "version_exists"
        assert opened.registry.versions("plate") == (first,)

    def test_lines_do_not_see_each_other(self, opened: Opened, releases: Releases) -> None:
        one = _register(opened, releases.make("1.0.0"))
        other = _register(opened, releases.make("1.0.0", line="coil"))
        assert opened.registry.versions("plate") == (one,)
        assert opened.registry.versions("coil") == (other,)

    def test_promoting_makes_the_champion_previous(
        self, opened: Opened, releases: Releases
    ) -> None:
        one = _register(opened, releases.make("1.0.0"))
        two = _register(opened, releases.make("1.1.0", variant=1))
        opened.registry.promote("plate", one.digest)
        assert _roles(opened) == (one, None)
        opened.registry.promote("plate", two.digest)
        assert _roles(opened) == (two, one)
        opened.registry.promote("plate", one.digest)
        assert _roles(opened) == (one, two)

    def test_promoting_the_champion_changes_nothing(
        self, opened: Opened, releases: Releases
    ) -> None:
        one = _register(opened, releases.make("1.0.0"))
        two = _register(opened, releases.make("1.1.0", variant=1))
        for digest in (one.digest, two.digest, two.digest):
            opened.registry.promote("plate", digest)
        assert _roles(opened) == (two, one)

    def test_only_registered_releases_are_promoted(
        self, opened: Opened, releases: Releases
    ) -> None:
        one = _register(opened, releases.make("1.0.0"))
        opened.registry.promote("plate", one.digest)
        with pytest.raises(RegistryError) as caught:
            opened.registry.promote("plate", "f" * 64)
        assert caught.value.reason == "version_not_registered"
        assert _roles(opened) == (one, None)

    def test_download_by_semver_and_role_gives_the_release(
        self, opened: Opened, releases: Releases, tmp_path: Path
    ) -> None:
        one = _register(opened, releases.make("1.0.0"))
        two = _register(opened, releases.make("1.1.0", variant=1))
        opened.registry.promote("plate", one.digest)
        opened.registry.promote("plate", two.digest)
        for reference, wanted in (("1.0.0", one), ("champion", two), ("previous", one)):
            got = opened.registry.download("plate", reference, tmp_path / reference, releases.trust)
            assert got.digest == wanted.digest
            assert got.folder == (tmp_path / reference).resolve()
            assert verify_bundle(tmp_path / reference, releases.trust).digest == wanted.digest

    def test_download_of_what_is_not_there_is_refused(
        self, opened: Opened, releases: Releases, tmp_path: Path
    ) -> None:
        _register(opened, releases.make("1.0.0"))
        for reference, reason in (("9.9.9", "version_not_registered"), ("champion", "role_vacant")):
            with pytest.raises(RegistryError) as caught:
                opened.registry.download("plate", reference, tmp_path / "got", releases.trust)
            assert caught.value.reason == reason
            assert not (tmp_path / "got").exists()

    def test_download_never_writes_over_something(
        self, opened: Opened, releases: Releases, tmp_path: Path
    ) -> None:
        _register(opened, releases.make("1.0.0"))
        with pytest.raises(ConfigError):
            opened.registry.download("plate", "1.0.0", tmp_path, releases.trust)

    def test_vanished_artifacts_are_an_error_not_an_empty_release(
        self, opened: Opened, releases: Releases, tmp_path: Path
    ) -> None:
        made = _register(opened, _own_copy(releases, tmp_path))
        kept = opened.artifacts_of(made)
        shutil.rmtree(kept)
        for _ in range(2):  # first without the folder, then with an empty one
            with pytest.raises(RegistryError):
                opened.registry.download("plate", "1.0.0", tmp_path / "got", releases.trust)
            assert not (tmp_path / "got").exists()
            kept.mkdir(exist_ok=True)

    @pytest.mark.parametrize("damage", ["changed", "missing", "added"])
    def test_damaged_artifacts_are_refused(
        self, opened: Opened, releases: Releases, tmp_path: Path, damage: str
    ) -> None:
        made = _register(opened, _own_copy(releases, tmp_path))
        model = opened.artifacts_of(made) / "model.onnx"
        if damage == "changed":
            data = bytearray(model.read_bytes())
            data[len(data) // 2] ^= 1
            model.write_bytes(data)
        elif damage == "missing":
            model.unlink()
        else:
            model.with_name("extra.bin").write_bytes(b"x")
        with pytest.raises(BundleError):
            opened.registry.download("plate", "1.0.0", tmp_path / "got", releases.trust)
        assert not (tmp_path / "got").exists()

    def test_download_trusts_nobody_by_itself(
        self, opened: Opened, releases: Releases, tmp_path: Path
    ) -> None:
        _register(opened, releases.make("1.0.0"))
        stranger = TrustStore((create_key(tmp_path / "keys").public,))
        with pytest.raises(SignatureInvalidError):
            opened.registry.download("plate", "1.0.0", tmp_path / "got", stranger)
        assert not (tmp_path / "got").exists()


def _register(opened: Opened, bundle: Bundle) -> RegisteredVersion:
    manifest = bundle.manifest
    run_id = opened.tracker.record(record_of(bundle.digest, line=manifest.line))
    return opened.registry.register(bundle, run_id=run_id)


def _roles(opened: Opened) -> tuple[RegisteredVersion | None, RegisteredVersion | None]:
    registry = opened.registry
    return registry.holder("plate", Role.CHAMPION), registry.holder("plate", Role.PREVIOUS)


def _own_copy(releases: Releases, folder: Path) -> Bundle:
    """A copy of a release that may be damaged: other tests read the first."""
    copy = folder / "offered"
    shutil.copytree(releases.make("1.0.0").folder, copy)
    return verify_bundle(copy, releases.trust)
