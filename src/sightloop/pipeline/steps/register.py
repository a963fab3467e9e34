"""The step `register`: a proven release into the workspace's store and into the model registry.

Has side effects and is never served from cache. Each effect is a no-change when repeated, in an
order that leaves nothing pointing at what is not there: the store first, then the tracked run,
then the registered version. A release that is registered already is known without MLflow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightloop._support.files import write_json_atomic
from sightloop.dataset.copying import read_info
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import PipelineError
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.steps.evaluate import METRICS_NAME
from sightloop.pipeline.training.results import TrainingResults, read_results
from sightloop.pipeline.training.trainer import CHECKPOINT_NAME
from sightloop.registry.mlflow_lookup import find_registered
from sightloop.registry.mlflow_registry import MlflowRegistry
from sightloop.registry.mlflow_store import check_mlflow_installed, open_mlflow
from sightloop.registry.mlflow_tracker import MlflowTracker
from sightloop.registry.registry import RegisteredVersion, Registry, same_version
from sightloop.registry.tracker import DatasetUse, EpochMetrics, RunRecord, Tracker
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.signing import load_trust


def run(context: StepContext) -> None:
    """Register in the workspace's store and its embedded MLflow."""
    check_mlflow_installed()
    trust = load_trust(context.workspace.keys)
    offered = verify_bundle(context.inputs["bundle"], trust)
    _check_identity(context, offered)
    known = find_registered(context.workspace.mlflow_database, offered)
    if known is not None:
        bundle = ReleaseStore(context.workspace.releases).add(offered.folder, trust)
        _write_result(context, bundle, known, run_id=known.run_id)
        return
    store = open_mlflow(context.workspace)
    register_with(context, MlflowTracker(store), MlflowRegistry(store))


def register_with(context: StepContext, tracker: Tracker, registry: Registry) -> None:
    """Register with a given tracker and registry, and write `result`.

    Raises:
        BundleError: The bundle is not one that the workspace's own keys signed.
        VersionExistsError: The semver is taken by another digest.
        PipelineError: The bundle is not the release that was ordered.
    """
    trust = load_trust(context.workspace.keys)
    offered = verify_bundle(context.inputs["bundle"], trust)
    _check_identity(context, offered)
    same_version(registry.versions(offered.manifest.line), offered)
    bundle = ReleaseStore(context.workspace.releases).add(offered.folder, trust)
    context.report(0.3, f"in the store: {bundle.digest[:12]}")
    record = _record_of(context, bundle)
    run_id = tracker.record(record)
    context.report(0.7, f"run {run_id} recorded")
    version = registry.register(bundle, run_id=run_id)
    _write_result(context, bundle, version, run_id=run_id)


def _write_result(
    context: StepContext, bundle: Bundle, version: RegisteredVersion, *, run_id: str
) -> None:
    result = {
        "line": version.line,
        "semver": version.semver,
        "digest": version.digest,
        "bundle": str(bundle.folder),
        "checkpoint": str(context.inputs["training"] / CHECKPOINT_NAME),
        "metrics": _json(context.inputs["evaluation"] / METRICS_NAME),
        "registry": {"run_id": run_id, "version": version.number},
    }
    write_json_atomic(context.outputs["result"], result)
    context.report(1.0, f"{version.line} {version.semver} is version {version.number}")


def _check_identity(context: StepContext, bundle: Bundle) -> None:
    ordered = (context.text("line"), context.text("semver"))
    found = (bundle.manifest.line, bundle.manifest.semver)
    if ordered != found:
        raise PipelineError(
            f"register: expected the release {' '.join(ordered)}, found {' '.join(found)} in the "
            "bundle; run the pipeline again from its config",
            reason="release_differs",
        )


def _record_of(context: StepContext, bundle: Bundle) -> RunRecord:
    results = read_results(context.inputs["training"])
    info = read_info(context.inputs["dataset"])
    manifest = bundle.manifest
    return RunRecord(
        line=manifest.line,
        name=f"{manifest.line} {manifest.semver}",
        digest=bundle.digest,
        dataset=DatasetUse(
            name=manifest.line,
            version=info.version,
            source=info.source,
        ),
        parameters={**results.facts, "starting_weights": results.starting_weights},
        tags=_tags_of(context, bundle, results),
        metrics=_final_metrics(_json(context.inputs["evaluation"] / METRICS_NAME)),
        epochs=[EpochMetrics(epoch.epoch, epoch.metrics) for epoch in results.epochs],
        artifacts=[
            (context.inputs["evaluation"], "evaluation"),
            (context.inputs["verdicts"], "gate"),
            (context.inputs["training"], "training"),
        ],
    )


def _tags_of(context: StepContext, bundle: Bundle, results: TrainingResults) -> dict[str, str]:
    commit = bundle.manifest.lineage.git_commit
    toolchain = {f"toolchain.{name}": text for name, text in results.toolchain.items()}
    tags = {
        "semver": bundle.manifest.semver,
        "signer": bundle.signer,
        "pipeline_run": context.run_id,
        "parent": bundle.manifest.lineage.parent or "none",
        "code_version": commit or "unknown",
    }
    return tags | toolchain | ({"mlflow.source.git.commit": commit} if commit else {})


def _final_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    figures = {f"test/{name}": metrics[name] for name in ("map50", "map50_95")}
    for name, value in metrics["per_class_ap50"].items():
        figures[f"test/ap50/{_metric_name(name)}"] = value
    for name in ("recall", "precision"):
        figures[f"test/{name}"] = metrics["operating_point"][name]
    return {name: float(value) for name, value in figures.items() if value is not None}


def _metric_name(text: str) -> str:
    """A class name in the letters that a metric's name may have."""
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in text)


def _json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text())
    assert isinstance(value, dict)
    return value
