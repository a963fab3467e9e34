"""Promise: signed by somebody this node trusts, and by nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightloop.release.signing import create_key, sign


def test_unsigned_release_is_refused(node: Any, bundle: Path) -> None:
    (bundle / "manifest.sig").unlink()
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "signature_missing")


def test_release_of_a_stranger_is_refused_and_the_way_to_trust_them_named(
    node: Any, tmp_path: Path
) -> None:
    stranger = create_key(tmp_path / "stranger")
    verdict = node.refusal(node.candidate(key=stranger))
    assert (verdict.gate, verdict.reason) == ("integrity", "signer_untrusted")
    assert stranger.key_id in verdict.message
    assert "--trust" in verdict.message


def test_stranger_who_names_the_trusted_key_is_refused(
    node: Any, bundle: Path, tmp_path: Path
) -> None:
    stranger = create_key(tmp_path / "stranger")
    signature = json.loads(sign(stranger, (bundle / "manifest.json").read_bytes()))
    signature["key_id"] = node.key.key_id
    (bundle / "manifest.sig").write_text(json.dumps(signature))
    assert node.refusal(bundle).reason == "signature_invalid"


def test_signature_of_another_release_is_refused(node: Any, bundle: Path) -> None:
    (bundle / "manifest.sig").write_bytes((node.champion / "manifest.sig").read_bytes())
    assert node.refusal(bundle).reason == "signature_invalid"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"key_id": "0123456789abcdef", "signature": "AAAA"}',
        b'{"key_id": 1, "signature": 2}',
        b'{"key_id": "0123456789abcdef", "signature": "!"}',
        b"[" * 4000,
    ],
)
def test_malformed_signature_file_is_refused(node: Any, bundle: Path, content: bytes) -> None:
    (bundle / "manifest.sig").write_bytes(content)
    verdict = node.refusal(bundle)
    assert (verdict.gate, verdict.reason) == ("integrity", "signature_malformed")


def test_huge_signature_file_is_refused(node: Any, bundle: Path) -> None:
    (bundle / "manifest.sig").write_bytes(b" " * 5000)
    assert node.refusal(bundle).reason == "file_too_large"


def test_signature_is_checked_before_the_manifest_is_parsed(node: Any, bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(b"[" * 100_000)
    assert node.refusal(bundle).reason == "signature_invalid"
