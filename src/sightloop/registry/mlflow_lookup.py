"""Whether MLflow holds a release already, read from its database without importing MLflow.

Importing MLflow takes seconds, and most repetitions of a pipeline find their release registered.
Answers only where nothing is in doubt: a version that was deleted, a run that is not finished or
was deleted, an unknown layout of the tables are all None, and MLflow itself is then asked.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from sightloop.registry.mlflow_tracker import DIGEST_TAG
from sightloop.registry.registry import RegisteredVersion
from sightloop.release.bundle import Bundle

_QUERY: Final = """
SELECT versions.version, versions.run_id
FROM model_versions AS versions
JOIN model_version_tags AS digests
  ON digests.name = versions.name AND digests.version = versions.version
    AND digests.key = 'digest' AND digests.value = :digest
JOIN model_version_tags AS semvers
  ON semvers.name = versions.name AND semvers.version = versions.version
    AND semvers.key = 'semver' AND semvers.value = :semver
JOIN runs ON runs.run_uuid = versions.run_id
JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = :tag AND tags.value = :digest
WHERE versions.name = :line AND versions.current_stage = 'None' AND versions.status = 'READY'
  AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
"""


def find_registered(database: Path, bundle: Bundle) -> RegisteredVersion | None:
    """The one version of this release and its finished run; None unless both are beyond doubt.

    Args:
        database: MLflow's SQLite file; may be absent.
        bundle: The release.
    """
    if not database.is_file():
        return None
    line, semver = bundle.manifest.line, bundle.manifest.semver
    wanted = {"line": line, "semver": semver, "digest": bundle.digest, "tag": DIGEST_TAG}
    try:
        address = f"{database.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            found = connection.execute(_QUERY, wanted).fetchall()
    except sqlite3.Error:
        return None
    if len(found) != 1:
        return None
    number, run_id = found[0]
    return RegisteredVersion(line, semver, bundle.digest, str(number), str(run_id))
