"""Rules of the step cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightloop.errors import ConfigError, DatasetError, StepFailedError
from sightloop.pipeline.cache import StepCache, outside_digest, step_key, tree_digest
from sightloop.pipeline.code_digest import code_digest
from sightloop.pipeline.config import PipelineConfig
from sightloop.pipeline.graph import build_graph
from sightloop.pipeline.step import Output, OutsideFile, Parameter, Step
from sightloop.testing.toy_steps import toy_step
from sightloop.testing.yolo_folder import write_yolo_folder

_KEY = "k" * 64
_values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.text(max_size=3)
)
_maps = st.dictionaries(st.sampled_from("abcd"), _values, max_size=4)
_digests = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y", "z"]), max_size=3)


def _plain(value: object) -> str:
    """Type and value, so that 1, 1.0 and True differ, as they do for a step."""
    if isinstance(value, dict):
        return repr(sorted((key, _plain(one)) for key, one in value.items()))
    return repr(value)


@settings(max_examples=300, deadline=None)
@given(
    one=st.tuples(_maps, st.sampled_from(["c1", "c2"]), _digests, _digests),
    other=st.tuples(_maps, st.sampled_from(["c1", "c2"]), _digests, _digests),
)
def test_keys_are_equal_exactly_when_parameters_code_inputs_and_files_are(
    one: tuple[dict[str, Parameter], str, dict[str, str], dict[str, str]],
    other: tuple[dict[str, Parameter], str, dict[str, str], dict[str, str]],
) -> None:
    keys = [
        step_key(replace(toy_step("a"), parameters=params), code=code, inputs=inputs, files=files)
        for params, code, inputs, files in (one, other)
    ]
    same = [_plain(part) for part in one] == [_plain(part) for part in other]
    assert (keys[0] == keys[1]) is same


@settings(max_examples=50, deadline=None)
@given(params=_maps, random=st.randoms(use_true_random=False))
def test_order_of_parameters_does_not_count(params: dict[str, Parameter], random: Random) -> None:
    names = list(params)
    random.shuffle(names)
    shuffled = {name: params[name] for name in names}
    keys = {
        step_key(replace(toy_step("a"), parameters=one), code="", inputs={}, files={})
        for one in (params, shuffled)
    }
    assert len(keys) == 1


def test_name_and_outputs_count_and_paths_do_not(tmp_path: Path) -> None:
    def key(step: Step) -> str:
        return step_key(step, code="", inputs={}, files={"f": "x"})

    step = toy_step("a", files={"f": tmp_path / "one"})
    assert key(step) == key(toy_step("a", files={"f": tmp_path / "two"}))
    assert key(step) != key(replace(step, name="b"))
    assert key(step) != key(replace(step, outputs=(Output("out", "file"),)))


def test_tree_digest_counts_content_and_names_alone(tmp_path: Path) -> None:
    one = tmp_path / "one"
    (one / "deep" / "empty").mkdir(parents=True)
    (one / "deep" / "x.txt").write_text("x")
    digest = tree_digest(one)
    other = shutil.copytree(one, tmp_path / "other")
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    assert tree_digest(other) == digest
    changes: list[Callable[[], object]] = [
        lambda: (other / "deep/x.txt").write_text("y"),
        lambda: (other / "deep/empty").rmdir(),
        lambda: (other / "deep/x.txt").rename(other / "deep/y.txt"),
        lambda: (other / "more.txt").write_text(""),
    ]
    seen = {digest}
    for change in changes:
        change()
        assert tree_digest(other) not in seen
        seen.add(tree_digest(other))


_trees = st.dictionaries(
    st.sampled_from(["a", "b", "ab", "d/a", "d/b", "d/e/a"]), st.binary(max_size=4), max_size=5
)


def _grow(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@settings(max_examples=150, deadline=None)
@given(one=_trees, other=_trees)
def test_trees_have_one_digest_exactly_when_names_and_bytes_are_the_same(
    one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        for side, files in (("one", one), ("other", other)):
            (Path(name) / side).mkdir()
            _grow(Path(name) / side, files)
        digests = {tree_digest(Path(name) / side) for side in ("one", "other")}
    assert (len(digests) == 1) is (one == other)


@settings(max_examples=60, deadline=None)
@given(files=_trees.filter(lambda files: any(files.values())), random=st.randoms())
def test_any_changed_byte_of_any_file_changes_the_key_and_the_order_of_writing_does_not(
    files: dict[str, bytes], random: Random
) -> None:
    def key(folder: Path) -> str:
        digest = outside_digest("table", OutsideFile(str(folder), "folder"))
        return step_key(toy_step("a"), code="", inputs={}, files={"table": digest})

    shuffled = list(files)
    random.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for side in ("one", "other"):
            (root / side).mkdir()
        before = key(_grow(root / "one", files))
        assert key(_grow(root / "other", {place: files[place] for place in shuffled})) == before
        place = random.choice([place for place, data in files.items() if data])
        data = bytearray(files[place])
        data[random.randrange(len(data))] ^= random.randrange(1, 256)
        (root / "one" / place).write_bytes(data)
        assert key(root / "one") != before


@settings(max_examples=40, deadline=None)
@given(place=st.integers(0, 30), letter=st.sampled_from("abcxyz012"))
def test_any_changed_byte_of_the_code_changes_the_key(place: int, letter: str) -> None:
    source = "# " + "q" * 31 + "\n"  # a comment counts too: what matters is not guessed
    changed = source[: 2 + place] + letter + source[3 + place :]
    module = "cache_key_toy"
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(name)
        file = Path(name) / f"{module}.py"
        keys = []
        for text in (source, changed, source):
            file.write_text(text)
            keys.append(step_key(toy_step("a"), code=code_digest([module]), inputs={}, files={}))
    assert keys[0] == keys[2] != keys[1]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_changed_setting_of_a_pipeline_changes_the_key_of_a_step(data: st.DataObject) -> None:
    config = PipelineConfig(line="plate", semver="1.0.0", data=Path("data.yaml"))
    steps = build_graph(config)
    step = data.draw(st.sampled_from([step for step in steps if step.parameters]))
    name = data.draw(st.sampled_from(sorted(step.parameters)))
    value = data.draw(_values.filter(lambda value: _plain(value) != _plain(step.parameters[name])))
    other = replace(step, parameters={**step.parameters, name: value})
    keys = {step_key(one, code="", inputs={}, files={}) for one in (step, other)}
    assert len(keys) == 2


def test_outside_dataset_counts_every_file_it_names(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    file = OutsideFile(str(data), "dataset")
    before = outside_digest("data", file)
    label = tmp_path / "set/labels/train/train-1.txt"
    label.write_text(label.read_text() + "0 0.5 0.5 0.1 0.1\n")
    assert outside_digest("data", file) != before


def test_missing_outside_file_is_named(tmp_path: Path) -> None:
    kinds: tuple[Literal["file", "folder"], ...] = ("file", "folder")
    for kind in kinds:
        with pytest.raises(ConfigError, match="weights: expected a"):
            outside_digest("weights", OutsideFile(str(tmp_path / "none"), kind))
    with pytest.raises(DatasetError):
        outside_digest("data", OutsideFile(str(tmp_path / "none"), "dataset"))


def _publish(cache: StepCache, step: Step, text: str = "x") -> None:
    with cache.publishing(step, _KEY) as outputs:
        (outputs["out"] / "x.txt").write_text(text)


def test_published_entry_is_found(tmp_path: Path) -> None:
    cache, step = StepCache(tmp_path), toy_step("a")
    assert cache.find(step, _KEY) is None
    _publish(cache, step)
    entry = cache.find(step, _KEY)
    assert entry is not None
    assert entry.digests == {"out": tree_digest(entry.outputs["out"])}


def test_damaged_entry_is_a_miss_that_is_said_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, step = StepCache(tmp_path), toy_step("a")
    folder = cache.folder_of(step, _KEY)
    for damage in (
        lambda: (folder / "out/x.txt").write_text("y"),
        lambda: (folder / "out/x.txt").unlink(),
        lambda: (folder / "out/more.cache").write_text(""),
        lambda: (folder / "step.json").unlink(),
        lambda: (folder / "step.json").write_text("{"),
        lambda: shutil.rmtree(folder / "out"),
    ):
        _publish(cache, step)
        assert cache.find(step, _KEY) is not None
        caplog.clear()
        damage()
        assert cache.find(step, _KEY) is None
        assert "cache_entry_damaged" in caplog.text


def test_failure_while_writing_publishes_nothing(tmp_path: Path) -> None:
    cache, step = StepCache(tmp_path), toy_step("a")
    with pytest.raises(FileNotFoundError), cache.publishing(step, _KEY) as outputs:
        (outputs["out"] / "x.txt").rename(outputs["out"] / "y.txt")
    assert list((tmp_path / "a").iterdir()) == []


def test_output_that_was_not_written_is_a_fault_of_the_step(tmp_path: Path) -> None:
    step = replace(toy_step("a"), outputs=(Output("o", "file", ".json"),))
    with pytest.raises(StepFailedError) as caught, StepCache(tmp_path).publishing(step, _KEY):
        pass
    assert caught.value.reason == "output_missing"
    assert list((tmp_path / "a").iterdir()) == []


def test_first_publisher_of_a_key_wins(tmp_path: Path) -> None:
    cache, step = StepCache(tmp_path), toy_step("a")
    with cache.publishing(step, _KEY) as outputs:
        (outputs["out"] / "x.txt").write_text("late")
        _publish(cache, step, "first")
    entry = cache.find(step, _KEY)
    assert entry is not None
    assert (entry.outputs["out"] / "x.txt").read_text() == "first"
    assert [path.name for path in (tmp_path / "a").iterdir()] == [_KEY]
