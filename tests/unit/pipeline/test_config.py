"""Rules of the pipeline's config."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.errors import ConfigError
from sightloop.pipeline.config import load_config, parse_value

_TEXT = """
line = "plate"
semver = "1.2.0"
data = "set/data.yaml"
[train]
weights = "start.pt"
epochs = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plate.toml"
    path.write_text(_TEXT)
    return path


def test_paths_start_at_the_config_file(file: Path) -> None:
    config = load_config(file)
    assert config.data == file.parent / "set/data.yaml"
    assert config.train.weights == str(file.parent / "start.pt")


def test_override_wins_over_the_file_and_the_file_over_defaults(file: Path) -> None:
    config = load_config(file, ["train.epochs=2", "split.seed=9", "line=other"])
    assert (config.train.epochs, config.split.seed, config.line) == (2, 9, "other")
    assert config.train.batch == 16


def test_path_in_an_override_starts_at_the_current_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load_config(file, ["train.weights=mine.pt"])
    assert config.train.weights == str(tmp_path / "elsewhere/mine.pt")


def test_parent_with_a_slash_is_a_path_else_a_name(file: Path) -> None:
    assert load_config(file, ["parent=./old"]).parent == str(Path.cwd() / "old")
    assert load_config(file, ["parent=1.0.0"]).parent == "1.0.0"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epoch=2", ["train.epoch", "no such key"]),
        ("colour=red", ["colour", "no such key"]),
        ("train.epochs=0", ["train.epochs", "greater than or equal to 1", "found 0"]),
        ("train.epochs=many", ["train.epochs", "valid integer", "'many'"]),
        ("train.side_px=100", ["train.side_px", "multiple of 32", "100"]),
        ("semver=1.2.x", ["semver", "MAJOR.MINOR.PATCH", "1.2.x"]),
        ("line=Plate 1", ["line", "a-z"]),
        ("split.val_fraction=0.9", ["split.val_fraction", "less than 0.5"]),
        ("calibrate.tolerances.offset_px=1", ["calibrate.tolerances.offset_px", "no such key"]),
    ],
)
def test_wrong_setting_is_named_with_expected_and_found(
    file: Path, override: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(file, [override])
    for word in [*words, str(file)]:
        assert word in caught.value.message


def test_missing_key_is_named(file: Path) -> None:
    file.write_text('line = "plate"\n')
    with pytest.raises(ConfigError, match=r"semver: expected a value, found none"):
        load_config(file)


def test_shares_that_leave_nothing_for_train_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="must leave"):
        load_config(file, ["split.val_fraction=0.45", "split.test_fraction=0.45"])


def test_groups_have_one_rule_and_a_pattern_that_can_be_read(file: Path) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        load_config(file, ["split.group_pattern=a", "split.group_csv=b"])
    with pytest.raises(ConfigError, match="regular expression"):
        load_config(file, ["split.group_pattern='('"])


def test_table_of_groups_starts_at_the_config_file(file: Path) -> None:
    file.write_text(f"{file.read_text()}\n[split]\ngroup_csv = 'groups.csv'\n")
    assert load_config(file).split.group_csv == str(file.parent / "groups.csv")


@pytest.mark.parametrize("text", ["line = ", "\x00", "a.b = 1\na = 2"])
def test_text_that_is_no_toml_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match="expected TOML"):
        load_config(file)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.toml")
    assert caught.value.reason == "config_missing"


@pytest.mark.parametrize("override", ["train.epochs", "=3", "line.x=3"])
def test_override_that_cannot_be_put_is_refused(file: Path, override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(file, [override])


def test_values_are_read_as_toml_writes_them() -> None:
    texts = ["2", "0.5", "true", '"2"', "yolov8n", "null", "1.2.3", "", "a b"]
    assert [parse_value(text) for text in texts] == [
        2, 0.5, True, "2", "yolov8n", None, "1.2.3", "", "a b",
    ]  # fmt: skip
