from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from sightloop.runtime.onnx_backend import open_onnx
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_network import Kind, TinyNetwork, build_graph, reference_output
from sightloop.vision.preprocess import prepare


@pytest.mark.parametrize(
    "network",
    [TinyNetwork(), TinyNetwork("dark", 3), TinyNetwork("bright", 7), TinyNetwork(side_px=96)],
)
def test_graph_answers_as_the_numpy_reference(network: TinyNetwork, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(build_graph(network), path)
    backend = open_onnx(path)
    for seed in range(4):
        tensor, _ = prepare(render_plate(seed)[0], side_px=network.side_px)
        answered, expected = backend.run(tensor), reference_output(tensor, network)
        assert answered[0, 4:] == pytest.approx(expected[0, 4:], abs=1e-3)
        # Where nothing is, a box is 0 / 1 of rounding errors.
        seen = expected[0, 4:].max(axis=0) > 0.01
        assert seen.any()
        assert answered[0, :4, seen] == pytest.approx(expected[0, :4, seen], abs=0.01)


def test_same_network_gives_the_same_file() -> None:
    first, again = build_graph(TinyNetwork()), build_graph(TinyNetwork())
    assert first.SerializeToString() == again.SerializeToString()


@pytest.mark.parametrize(("kind", "silent"), [("dark", 1), ("bright", 0)])
def test_one_kind_never_scores_the_other(kind: Kind, silent: int) -> None:
    tensor, _ = prepare(render_plate(0)[0], side_px=160)
    output = reference_output(tensor, TinyNetwork(kind))
    assert (output[0, 4 + silent] == 0).all()
    assert output[0, 5 - silent].max() > 0.5


@pytest.mark.parametrize("arguments", [{"variant": 8}, {"variant": -1}, {"side_px": 100}])
def test_impossible_network_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        TinyNetwork(**arguments)  # type: ignore[arg-type]  # a table of integers
