"""The same promises on two real detectors that come with labels alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sightloop.distribution.store import ReleaseStore
from sightloop.gates.chain import Admission, GatePolicy, admit
from sightloop.gates.integrity import AcceptedReleases
from sightloop.pipeline.release_builder import BuildSpec, build_release
from sightloop.release.bundle import Bundle, ManifestDraft, write_bundle
from sightloop.release.calibration import Expected, load_calibration
from sightloop.release.signing import SigningKey, TrustStore, create_key, load_trust
from sightloop.testing.bad_models import shift_image

DATA = Path(__file__).parents[3] / "shared" / "data"
MODELS = {
    name: DATA / "weights-coco" / f"{name}_coco_dq_640.onnx" for name in ("yolov8n", "yolo11n")
}
NOTHING = AcceptedReleases(None, frozenset())

pytestmark = pytest.mark.skipif(
    not all(path.is_file() for path in MODELS.values()),
    reason="needs the COCO detectors and images in ../shared/data",
)


@dataclass(frozen=True, slots=True)
class _Line:
    folder: Path
    key: SigningKey
    trust: TrustStore
    store: ReleaseStore
    releases: dict[str, Bundle]

    def offer(
        self, bundle: Bundle, champion: Bundle | None, accepted: AcceptedReleases
    ) -> Admission:
        admission = admit(
            bundle.folder,
            store=self.store,
            trust=self.trust,
            line="coco",
            champion_folder=champion.folder if champion else None,
            accepted=accepted,
            policy=GatePolicy(latency_pairs_max=3),  # time is judged elsewhere
        )
        if admission.loaded is not None:
            admission.loaded.close()
        return admission

    def with_network(self, good: Bundle, network: Path) -> Bundle:
        """`good` as 2.0.0 with another network inside, signed by the maker."""
        manifest, calibration = good.manifest, load_calibration(good)
        return write_bundle(
            self.folder / network.stem,
            model=network,
            draft=ManifestDraft(
                line=manifest.line,
                semver="2.0.0",
                created=manifest.created,
                classes=manifest.classes,
                input=manifest.input,
                preprocess=manifest.preprocess,
                output=manifest.output,
                weights=manifest.weights,
                thresholds=manifest.thresholds,
            ),
            frames=[(expected.frame, image) for image, expected in calibration],
            expected=Expected(tuple(expected for _, expected in calibration)),
            key=self.key,
        )


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> _Line:
    folder = tmp_path_factory.mktemp("coco")
    key, store = create_key(folder / "keys"), ReleaseStore(folder / "store")
    trust, releases = load_trust(folder / "keys"), {}
    for semver, (name, model) in zip(("1.0.0", "1.1.0"), MODELS.items(), strict=True):
        spec = BuildSpec(model, DATA / "coco-mini" / "data.yaml", "coco", semver)
        built = build_release(spec, folder=folder / semver, key=key)
        releases[name] = store.add(built.folder, trust)
    return _Line(folder, key, trust, store, releases)


def test_real_detectors_replace_each_other_and_come_back(line: _Line) -> None:
    old, new = line.releases["yolov8n"], line.releases["yolo11n"]
    first = AcceptedReleases("1.0.0", frozenset({old.digest}))
    both = AcceptedReleases("1.1.0", frozenset({old.digest, new.digest}))
    for bundle, champion, accepted in ((old, None, NOTHING), (new, old, first), (old, new, both)):
        admission = line.offer(bundle, champion, accepted)
        assert admission.loaded is not None, admission.verdicts[-1]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("champion", ["none", "other"])
def test_picture_moved_by_two_pixels_is_refused(line: _Line, name: str, champion: str) -> None:
    moved = line.folder / f"moved-{name}-{champion}.onnx"
    shift_image(MODELS[name], moved, dx_px=2, dy_px=0)
    other = line.releases["yolo11n" if name == "yolov8n" else "yolov8n"]
    bundle = line.with_network(line.releases[name], moved)
    verdict = line.offer(bundle, other if champion == "other" else None, NOTHING).verdicts[-1]
    assert (verdict.gate, verdict.reason) == ("behaviour", "systematic_offset")
    if champion == "other":
        assert verdict.measurements["champion_offset_x_px"] == pytest.approx(2.0, abs=0.5)


def _refused(line: _Line, name: str, spoil: Callable[[onnx.ModelProto], None]) -> str:
    model = onnx.load(MODELS["yolo11n"])
    spoil(model)
    path = line.folder / f"{name}.onnx"
    onnx.save(model, path)
    bundle = line.with_network(line.releases["yolo11n"], path)
    verdict = line.offer(bundle, None, NOTHING).verdicts[-1]
    assert verdict.gate == "behaviour"
    return verdict.reason


def test_swapped_colours_are_refused(line: _Line) -> None:
    def swap(model: onnx.ModelProto) -> None:
        graph = model.graph
        name = graph.input[0].name
        for node in graph.node:
            node.input[:] = ["swapped" if read == name else read for read in node.input]
        graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "bgr"))
        graph.node.insert(0, helper.make_node("Gather", [name, "bgr"], ["swapped"], axis=1))

    assert _refused(line, "colours", swap) == "colours_swapped"


def test_two_classes_in_exchanged_places_are_refused(line: _Line) -> None:
    classes = line.releases["yolo11n"].manifest.classes
    person, car = 4 + classes.index("person"), 4 + classes.index("car")

    def exchange(model: onnx.ModelProto) -> None:
        graph = model.graph
        name = graph.output[0].name
        for node in graph.node:
            node.output[:] = ["inner" if made == name else made for made in node.output]
        order = np.arange(4 + len(classes))
        order[[person, car]] = order[[car, person]]
        graph.initializer.append(numpy_helper.from_array(order, "order"))
        graph.node.append(helper.make_node("Gather", ["inner", "order"], [name], axis=1))

    assert _refused(line, "classes", exchange) in {"labels_missed", "classes_exchanged"}
