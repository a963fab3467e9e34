from __future__ import annotations

import pytest

from sightloop.errors import ConfigError
from sightloop.pipeline.config import TrainConfig
from sightloop.pipeline.training.trainer import Recipe, Value, recipe_from


def test_recipe_survives_the_way_through_plain_values() -> None:
    recipe = Recipe(width=0.125, epochs=3, device="cpu", time_limit_s=5.0)
    assert recipe_from(recipe.as_dict()) == recipe


def test_config_offers_exactly_what_a_recipe_takes() -> None:
    settings = TrainConfig().model_dump(exclude={"weights", "trainer"})
    assert set(settings) == set(Recipe().as_dict())
    recipe_from(settings)


def test_absent_and_none_keep_the_default() -> None:
    assert recipe_from({"threads": None, "width": None, "batch": 4}) == Recipe(batch=4)


def test_whole_number_is_taken_for_a_fraction() -> None:
    assert recipe_from({"mosaic": 1}).mosaic == 1.0
    assert isinstance(recipe_from({"width": 1}).width, float)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epoch", 3),
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("epochs", "3"),
        ("batch", -1),
        ("seed", -1),
        ("side_px", 100),
        ("side_px", 0),
        ("width", 0.0),
        ("width", 5.0),
        ("width", "slim"),
        ("learning_rate", 0.0),
        ("time_limit_s", -1.0),
        ("threads", -1),
        ("close_mosaic", -1),
        ("architecture", 8),
    ],
)
def test_impossible_parameter_is_refused_by_name(name: str, value: Value) -> None:
    with pytest.raises(ConfigError) as caught:
        recipe_from({name: value})
    assert name in caught.value.message
    assert "expected" in caught.value.message
