"""The store of releases; interruption and races are in tests/attacks."""

from __future__ import annotations

import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sightloop.distribution.store import ReleaseStore
from sightloop.errors import BundleError, ReleaseNotFoundError, SignatureInvalidError
from sightloop.release.signing import SigningKey, TrustStore, create_key, load_trust
from sightloop.testing.tiny_detectors import build_tiny_release


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return create_key(tmp_path / "keys")


@pytest.fixture
def trust(key: SigningKey, tmp_path: Path) -> TrustStore:
    return load_trust(tmp_path / "keys")


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "store")


def _build(tmp_path: Path, key: SigningKey, semver: str, variant: int = 0) -> Path:
    folder = tmp_path / f"{semver}-{variant}"
    build_tiny_release(folder, semver=semver, key=key, variant=variant, frames=1)
    return folder


def test_added_release_is_a_copy_under_its_digest(
    tmp_path: Path, key: SigningKey, trust: TrustStore, store: ReleaseStore
) -> None:
    source = _build(tmp_path, key, "1.0.0")
    bundle = store.add(source, trust)
    assert bundle.folder == store.path_of(bundle.digest)
    shutil.rmtree(source)
    assert store.get(bundle.digest, trust) == bundle
    assert not stat.S_IMODE((bundle.folder / "model.onnx").stat().st_mode) & 0o222


def test_adding_twice_changes_nothing(
    tmp_path: Path, key: SigningKey, trust: TrustStore, store: ReleaseStore
) -> None:
    source = _build(tmp_path, key, "1.0.0")
    first = store.add(source, trust)
    made = (first.folder / "model.onnx").stat().st_ino
    assert store.add(source, trust) == store.add(first.folder, trust) == first
    assert (first.folder / "model.onnx").stat().st_ino == made
    assert list(store.root.iterdir()) == [first.folder]


def test_writers_of_the_same_release_do_not_disturb_each_other(
    tmp_path: Path, key: SigningKey, trust: TrustStore, store: ReleaseStore
) -> None:
    source = _build(tmp_path, key, "1.0.0")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: store.add(source, trust), range(8)))
    assert len({bundle.digest for bundle in found}) == 1
    assert list(store.root.iterdir()) == [found[0].folder]


def test_refused_source_leaves_nothing(
    tmp_path: Path, key: SigningKey, store: ReleaseStore
) -> None:
    with pytest.raises(SignatureInvalidError):
        store.add(_build(tmp_path, key, "1.0.0"), TrustStore(()))
    assert list(store.root.iterdir()) == []


def test_release_whose_signer_is_no_longer_trusted_is_not_handed_out(
    tmp_path: Path, key: SigningKey, trust: TrustStore, store: ReleaseStore
) -> None:
    digest = store.add(_build(tmp_path, key, "1.0.0"), trust).digest
    with pytest.raises(SignatureInvalidError):
        store.get(digest, TrustStore(()))


def test_folder_under_another_releases_digest_is_not_handed_out(
    tmp_path: Path, key: SigningKey, trust: TrustStore, store: ReleaseStore
) -> None:
    bundle = store.add(_build(tmp_path, key, "1.0.0"), trust)
    other = "0" * 64
    bundle.folder.rename(store.root / other)
    with pytest.raises(BundleError):
        store.get(other, trust)
    assert store.entries() == ()


def test_entries_are_ordered_as_versions(
    tmp_path: Path, key: SigningKey, trust: TrustStore, store: ReleaseStore
) -> None:
    for semver in ("1.10.0", "1.9.0", "1.0.0"):
        store.add(_build(tmp_path, key, semver), trust)
    assert [entry.semver for entry in store.entries()] == ["1.0.0", "1.9.0", "1.10.0"]


def test_release_is_found_by_semver_and_by_the_beginning_of_its_digest(
    tmp_path: Path, key: SigningKey, trust: TrustStore, store: ReleaseStore
) -> None:
    digest = store.add(_build(tmp_path, key, "1.0.0"), trust).digest
    for text in ("1.0.0", digest, digest[:6]):
        assert store.find("plate", text) == digest
    for line, text in (("bottle", "1.0.0"), ("plate", "2.0.0"), ("plate", digest[:5])):
        with pytest.raises(ReleaseNotFoundError) as caught:
            store.find(line, text)
        assert caught.value.reason == "release_not_found"


def test_semver_of_two_releases_is_ambiguous(
    tmp_path: Path, key: SigningKey, trust: TrustStore, store: ReleaseStore
) -> None:
    for variant in (0, 1):
        store.add(_build(tmp_path, key, "1.0.0", variant), trust)
    with pytest.raises(ReleaseNotFoundError) as caught:
        store.find("plate", "1.0.0")
    assert caught.value.reason == "release_ambiguous"


@pytest.mark.parametrize("digest", ["", "../../etc", "A" * 64, "a" * 63])
def test_what_is_no_digest_names_no_path(store: ReleaseStore, digest: str) -> None:
    with pytest.raises(ReleaseNotFoundError):
        store.path_of(digest)


def test_absent_store_is_empty(store: ReleaseStore, trust: TrustStore) -> None:
    assert store.entries() == ()
    assert store.drop_unfinished() == 0
    with pytest.raises(ReleaseNotFoundError):
        store.get("0" * 64, trust)
