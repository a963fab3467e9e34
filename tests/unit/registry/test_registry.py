from __future__ import annotations

import subprocess
import sys

import pytest

from sightloop.errors import RegistryError
from sightloop.registry.registry import (
    RegisteredVersion,
    Role,
    absent_role,
    version_of_digest,
    version_of_semver,
)


def _version(semver: str, digest: str) -> RegisteredVersion:
    return RegisteredVersion("plate", semver, digest, number="1", run_id="run-1")


VERSIONS = (_version("1.0.0", "a" * 64), _version("1.1.0", "b" * 64))


def test_version_is_found_by_digest_and_by_semver() -> None:
    assert version_of_digest(VERSIONS, "plate", "b" * 64).semver == "1.1.0"
    assert version_of_semver(VERSIONS, "plate", "1.0.0").digest == "a" * 64


def test_unknown_version_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(RegistryError) as caught:
        version_of_semver(VERSIONS, "plate", "2.0.0")
    assert caught.value.reason == "version_not_registered"
    assert "1.0.0, 1.1.0" in caught.value.message
    with pytest.raises(RegistryError):
        version_of_digest(VERSIONS, "plate", "c" * 64)


def test_digest_is_never_matched_by_its_beginning() -> None:
    with pytest.raises(RegistryError):
        version_of_digest(VERSIONS, "plate", "a" * 12)


def test_vacant_role_is_named() -> None:
    assert "previous" in absent_role("plate", Role.PREVIOUS).message


def test_mlflow_is_not_imported_before_a_store_is_opened() -> None:
    program = (
        "import sys\n"
        "import sightloop.registry.mlflow_registry, sightloop.registry.mlflow_tracker\n"
        "assert 'mlflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
