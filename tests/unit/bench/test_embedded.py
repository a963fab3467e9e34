from pathlib import Path

from sightloop.bench.embedded import _Camera, _findings, bench_embedded
from sightloop.serving.embedded import Detector
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_traffic import tiny_traffic

FRAMES = [render_plate(seed)[0] for seed in range(2)]


def test_every_figure_stands_beside_its_bound() -> None:
    figures = bench_embedded(2, lambda _: None)
    bounds = figures["bounds"]
    assert isinstance(bounds, dict)
    assert set(bounds) <= set(figures)
    assert (figures["updates"], figures["mixed"]) == (2, 0)
    assert int(str(figures["answers"])) >= 2 * 8
    assert 0 < float(str(figures["overhead_us"])) < float(str(figures["steady_p50_ms"])) * 1000


def test_answer_under_another_releases_name_counts_as_mixed(tmp_path: Path) -> None:
    traffic = tiny_traffic(tmp_path, images=1)
    root = traffic.workspace.root
    with (
        Detector("plate@1.0.0", workspace=root) as one,
        Detector("plate@1.1.0", workspace=root) as other,
    ):
        right, wrong = _findings(one, FRAMES), _findings(other, FRAMES)
        camera = _Camera(one, FRAMES, {traffic.digests[0]: [right[0], wrong[1]]})
        for _ in range(4):
            camera.ask()
    assert (camera.answered, camera.mixed) == (4, 2)
