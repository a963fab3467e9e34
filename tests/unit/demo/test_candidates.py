from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.demo.candidates import BadCandidate, build_candidates, rewrap
from sightloop.errors import DigestMismatchError, SignatureInvalidError
from sightloop.release.bundle import Bundle, read_bundle, verify_bundle
from sightloop.release.calibration import Expected, expected_to_bytes, load_calibration
from sightloop.release.manifest import parse_semver
from sightloop.release.signing import SigningKey, TrustStore, create_key
from sightloop.testing.tiny_detectors import build_tiny_release


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return create_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Bundle:
    folder = tmp_path_factory.mktemp("good") / "bundle"
    build_tiny_release(folder, semver="1.4.2", key=key, frames=4)
    return verify_bundle(folder, TrustStore((key.public,)))


@pytest.fixture(scope="module")
def candidates(
    tmp_path_factory: pytest.TempPathFactory, good: Bundle, key: SigningKey
) -> dict[str, BadCandidate]:
    stranger = create_key(tmp_path_factory.mktemp("stranger"))
    folder = tmp_path_factory.mktemp("candidates")
    (folder / "of-an-earlier-demo").mkdir()
    made = build_candidates(folder, good, key=key, stranger=stranger)
    assert not (folder / "of-an-earlier-demo").exists()
    return {one.name: one for one in made}


def test_there_are_six_and_one_is_to_be_killed(candidates: dict[str, BadCandidate]) -> None:
    assert len(candidates) == 6
    assert [one.name for one in candidates.values() if one.killed] == ["killed while it loads"]


def test_every_candidate_claims_to_be_newer_than_the_good_release(
    candidates: dict[str, BadCandidate],
) -> None:
    versions = [read_bundle(one.folder).manifest.semver for one in candidates.values()]
    assert all(parse_semver(one) > (1, 4, 2) for one in versions)
    assert len(set(versions)) == 6


def test_one_byte_of_the_signed_weights_differs(
    candidates: dict[str, BadCandidate], good: Bundle, key: SigningKey
) -> None:
    flipped = candidates["flipped byte"]
    ours, theirs = good.model.read_bytes(), (flipped.folder / "model.onnx").read_bytes()
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) == 1
    with pytest.raises(DigestMismatchError) as caught:
        verify_bundle(flipped.folder, TrustStore((key.public,)))
    assert caught.value.reason in flipped.reasons


def test_the_stranger_signs_the_good_weights(
    candidates: dict[str, BadCandidate], good: Bundle, key: SigningKey
) -> None:
    strange = candidates["stranger's signature"]
    assert (strange.folder / "model.onnx").read_bytes() == good.model.read_bytes()
    with pytest.raises(SignatureInvalidError) as caught:
        verify_bundle(strange.folder, TrustStore((key.public,)))
    assert caught.value.reason in strange.reasons


@pytest.mark.parametrize(
    "name", ["wrong answers", "image shifted by 2 px", "twice too slow", "killed while it loads"]
)
def test_the_others_are_properly_signed_and_expect_what_the_good_release_expects(
    name: str, candidates: dict[str, BadCandidate], good: Bundle, key: SigningKey
) -> None:
    bundle = verify_bundle(candidates[name].folder, TrustStore((key.public,)))
    assert bundle.model.read_bytes() != good.model.read_bytes()
    assert _expected(bundle) == _expected(good)


def test_a_rewrapped_release_differs_in_nothing_but_its_model_and_version(
    tmp_path: Path, good: Bundle, key: SigningKey
) -> None:
    again = rewrap(tmp_path / "again", good, model=good.model, semver="1.4.2", key=key)
    assert again.digest == good.digest


def _expected(bundle: Bundle) -> bytes:
    return expected_to_bytes(Expected(tuple(one for _, one in load_calibration(bundle))))
