"""Writing bundles whole; the promises of reading them are in tests/attacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.errors import ConfigError, FileSetError, ManifestInvalidError, ModelLoadError
from sightloop.release.bundle import (
    UNVERIFIED,
    Bundle,
    claimed_digest,
    copy_bundle,
    read_bundle,
    verify_bundle,
    write_bundle,
)
from sightloop.release.calibration import Expected
from sightloop.release.signing import SigningKey, create_key, load_trust
from sightloop.testing.tiny_detectors import build_tiny_release, tiny_draft
from sightloop.testing.tiny_network import TinyNetwork


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return create_key(tmp_path / "keys")


def _build(tmp_path: Path, key: SigningKey) -> Bundle:
    build_tiny_release(tmp_path / "bundle", semver="1.0.0", key=key, frames=1)
    return verify_bundle(tmp_path / "bundle", load_trust(tmp_path / "keys"))


def _write(folder: Path, key: SigningKey, **changed: object) -> Bundle:
    model = folder.parent / "model.onnx"
    model.write_bytes(b"weights")
    network = TinyNetwork(kind="both", variant=0, side_px=160)
    wanted = {"model": model, "frames": (), "expected": Expected(()), **changed}
    return write_bundle(folder, draft=tiny_draft(network), key=key, **wanted)  # type: ignore[arg-type]  # values of a test's own choice


def test_written_bundle_verifies(tmp_path: Path, key: SigningKey) -> None:
    bundle = _build(tmp_path, key)
    assert bundle.signer == key.key_id
    assert bundle.digest == claimed_digest(bundle.folder)


def test_same_content_has_the_same_digest(tmp_path: Path, key: SigningKey) -> None:
    digests = {
        build_tiny_release(tmp_path / str(number), semver="1.0.0", key=key, frames=1)
        for number in range(2)
    }
    assert len(digests) == 1


def test_bundle_without_frames_verifies(tmp_path: Path, key: SigningKey) -> None:
    bundle = _write(tmp_path / "b", key)
    assert verify_bundle(bundle.folder, load_trust(tmp_path / "keys")) == bundle


def test_folder_that_holds_something_is_not_overwritten(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"dear")
    with pytest.raises(ConfigError) as caught:
        _write(tmp_path / "mine", key)
    assert caught.value.reason == "folder_exists"
    assert (tmp_path / "mine" / "photo.jpg").read_bytes() == b"dear"


def test_failed_write_leaves_nothing(tmp_path: Path, key: SigningKey) -> None:
    before = set(tmp_path.iterdir())
    with pytest.raises(ModelLoadError):
        _write(tmp_path / "b", key, model=tmp_path / "none.onnx")
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "model.onnx"}


def test_frame_without_expectation_is_refused(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(FileSetError):
        _write(tmp_path / "b", key, frames=[("a.png", b"x")])


def test_draft_that_cannot_be_a_manifest_is_refused(tmp_path: Path, key: SigningKey) -> None:
    with pytest.raises(ManifestInvalidError, match="semver"):
        build_tiny_release(tmp_path / "b", semver="one", key=key, frames=1)
    assert not (tmp_path / "b").exists()


def test_copy_of_a_bundle_verifies(tmp_path: Path, key: SigningKey) -> None:
    bundle, target = _build(tmp_path, key), tmp_path / "copy"
    target.mkdir()
    copied = copy_bundle(bundle.folder, target, load_trust(tmp_path / "keys"))
    assert copied.digest == bundle.digest
    assert verify_bundle(target, load_trust(tmp_path / "keys")) == copied


def test_release_that_is_only_shown_is_called_unverified(tmp_path: Path, key: SigningKey) -> None:
    bundle = _build(tmp_path, key)
    (bundle.folder / "model.onnx").write_bytes(b"other")
    shown = read_bundle(bundle.folder)
    assert (shown.signer, shown.digest) == (UNVERIFIED, bundle.digest)


def test_link_to_the_bundles_own_folder_is_resolved(tmp_path: Path, key: SigningKey) -> None:
    bundle = _build(tmp_path, key)
    (tmp_path / "current").symlink_to(bundle.folder)
    assert verify_bundle(tmp_path / "current", load_trust(tmp_path / "keys")) == bundle
