"""The step `gate`: builds and signs the release, then lets the gates of production judge it.

Reads `dataset`, `training`, `model`, `calibration` and `evaluation`; writes `bundle` and
`verdicts`. Judged is the signed bundle itself, from a copy, against the parent release when there
is one; with a parent, both files also answer the test split and quality is compared. A no ends the
run: nothing is published, and the verdicts stay in the run's folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sightloop._support.files import sha256_file, write_json_atomic
from sightloop.dataset.copying import read_info
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ReleaseRefusedError
from sightloop.gates.chain import GatePolicy, admit
from sightloop.gates.integrity import AcceptedReleases
from sightloop.gates.quality import GATE as QUALITY
from sightloop.gates.quality import TOO_FEW_LABELS
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.evaluation_pictures import PAGE_NAME
from sightloop.pipeline.exported_model import ExportedModel, read_exported
from sightloop.pipeline.parent_quality import compare_with_parent
from sightloop.pipeline.steps.calibrate import EXPECTED_FILE, FRAMES_NAME
from sightloop.pipeline.steps.evaluate import METRICS_NAME
from sightloop.pipeline.training.results import TrainingOrigin, read_origin, read_results
from sightloop.pipeline.training.trainer import CHECKPOINT_NAME
from sightloop.release.bundle import Bundle, ManifestDraft, verify_bundle, write_bundle
from sightloop.release.calibration import expected_from_bytes
from sightloop.release.manifest import (
    LatencyBaseline,
    Lineage,
    Metrics,
    Thresholds,
    Tolerances,
    Weights,
)
from sightloop.release.signing import TrustStore, ensure_key, load_trust
from sightloop.release.verdict import Outcome, Verdict

VERDICTS_NAME: Final = "verdicts.json"
EVALUATION_PAGE: Final = "evaluation.html"
_KEPT_METRICS: Final = ("map50", "map50_95", "per_class_ap50", "per_slice_ap50")
_TOLERANCE: Final = "tolerance_"


def run(context: StepContext) -> None:
    """Build the release and have it judged.

    Raises:
        ReleaseRefusedError: A gate said no.
        BundleError: The parent is not to be believed, or the parts do not fit together.
    """
    figures = json.loads((context.inputs["evaluation"] / METRICS_NAME).read_text())
    metrics = Metrics(**{name: figures[name] for name in _KEPT_METRICS})
    verdicts = [judge_floor(metrics.map50, floor=context.number("map50_min"))]
    _refuse_unless_passed(context, verdicts)
    key, made_now = ensure_key(context.workspace.keys)
    if made_now:
        context.report(0.1, f"made the workspace's signing key {key.key_id}")
    trust = load_trust(context.workspace.keys)
    parent = _parent(context, trust)
    exported = read_exported(context.inputs["model"])
    calibration = context.inputs["calibration"]
    expected = expected_from_bytes(
        (calibration / EXPECTED_FILE).read_bytes(), class_count=len(exported.contract.classes)
    )
    frames = [
        (frame.frame, (calibration / FRAMES_NAME / frame.frame).read_bytes())
        for frame in expected.frames
    ]
    write_bundle(
        context.outputs["bundle"],
        model=exported.model,
        draft=replace(
            _draft(context, exported, parent),
            metrics=metrics,
            latency=LatencyBaseline(**figures["latency"]),
        ),
        frames=frames,
        expected=expected,
        key=key,
    )
    context.report(0.4, f"built and signed {context.text('line')} {context.text('semver')}")
    verdicts += _judge(context, trust, parent)
    _refuse_unless_passed(context, verdicts)
    if parent is not None:
        verdicts.append(compare_with_parent(context, exported, parent).verdict)
        context.report(0.99, verdicts[-1].message)
        _refuse_unless_passed(context, verdicts)
    write_json_atomic(context.outputs["verdicts"], _as_json(verdicts))


def judge_floor(map50: float | None, *, floor: float) -> Verdict:
    """The floor of quality on the test split, whatever the parent is like."""
    if map50 is None:
        return Verdict(
            QUALITY,
            Outcome.INCONCLUSIVE,
            "no_labels",
            "mAP50 is unknown: expected labels in the test split, found none",
            {"map50_min": floor},
        )
    figures = {"map50": map50, "map50_min": floor}
    if map50 < floor:
        return Verdict(
            QUALITY,
            Outcome.FAIL,
            "map50_below_floor",
            f"expected mAP50 of at least {floor:.3f} on the test split, found {map50:.3f}; train "
            "longer or on more images, or lower gate.map50_min",
            figures,
        )
    message = f"mAP50 {map50:.3f} on the test split, at least {floor:.3f} wanted"
    return Verdict(QUALITY, Outcome.PASS, "ok", message, figures)


def _judge(context: StepContext, trust: TrustStore, parent: Bundle | None) -> tuple[Verdict, ...]:
    """Run the chain on a copy in a store of its own: the workspace's gets proven releases only."""
    highest = parent.manifest.semver if parent else None
    with context.scratch() as scratch:
        admission = admit(
            context.outputs["bundle"],
            store=ReleaseStore(scratch / "store"),
            trust=trust,
            line=context.text("line"),
            champion_folder=parent.folder if parent else None,
            accepted=AcceptedReleases(highest_semver=highest, digests=frozenset()),
            policy=GatePolicy(latency_ratio_max=context.number("latency_ratio_max")),
            on_state=lambda state: context.report(0.6, state.lower()),
        )
        if admission.loaded is not None:
            admission.loaded.close()
    return admission.verdicts


def _refuse_unless_passed(context: StepContext, verdicts: Sequence[Verdict]) -> None:
    warn = context.text("quality_inconclusive") == "warn"
    refusing = next(
        (one for one in verdicts if not one.passed and not (warn and one.reason == TOO_FEW_LABELS)),
        None,
    )
    if refusing is None:
        return
    place = context.run_folder / VERDICTS_NAME
    write_json_atomic(place, _as_json(verdicts))
    shutil.copyfile(context.inputs["evaluation"] / PAGE_NAME, context.run_folder / EVALUATION_PAGE)
    raise ReleaseRefusedError(
        f"{context.text('line')} {context.text('semver')}: gate {refusing.gate} says "
        f"{refusing.outcome.value}, {refusing.reason}: {refusing.message} (verdicts and pictures: "
        f"{place.parent})"
    )


def _as_json(verdicts: Sequence[Verdict]) -> list[dict[str, object]]:
    return [verdict.as_dict() for verdict in verdicts]


def _parent(context: StepContext, trust: TrustStore) -> Bundle | None:
    """The release to compare with: a folder, or a digest in the workspace's store."""
    if folder := context.files.get("parent"):
        return verify_bundle(folder, trust)
    digest = context.optional_text("parent")
    return ReleaseStore(context.workspace.releases).get(digest, trust) if digest else None


def _draft(context: StepContext, exported: ExportedModel, parent: Bundle | None) -> ManifestDraft:
    """The manifest's facts.

    The same inputs give the same manifest, or a repeated run would make another release: its date
    and code version are those of the training.
    """
    contract = exported.contract
    origin = read_origin(context.inputs["training"])
    tolerances = {
        name.removeprefix(_TOLERANCE): value
        for name, value in context.parameters.items()
        if name.startswith(_TOLERANCE)
    }
    return ManifestDraft(
        line=context.text("line"),
        semver=context.text("semver"),
        created=origin.created,
        classes=contract.classes,
        input=contract.input,
        preprocess=contract.preprocess,
        output=contract.output,
        weights=Weights(license=context.text("license"), origin=context.text("origin")),
        thresholds=Thresholds(score=context.number("score")),
        tolerances=Tolerances.model_validate(tolerances),
        lineage=_lineage(context, origin, parent),
    )


def _lineage(context: StepContext, origin: TrainingOrigin, parent: Bundle | None) -> Lineage:
    training = context.inputs["training"]
    results = read_results(training)
    return Lineage(
        run=origin.run_id,
        parent=parent.digest if parent else None,
        dataset_version=read_info(context.inputs["dataset"]).version,
        git_commit=origin.git_commit,
        checkpoint_sha256=sha256_file(training / CHECKPOINT_NAME),
        hyperparameters=results.facts,
        toolchain=results.toolchain,
    )
