"""What may be searched: every key exists, every value is allowed there, and a value is used as it is recorded."""

import json
from typing import Any

import pytest
import yaml

from gender_cls.config.parsing import CONFIG_FOLDER, parse_config, to_plain
from gender_cls.config.train import Config
from gender_cls.errors import GenderClsError
from gender_cls.search.space import Choices, Range, read_space, space_from_json, space_to_json, with_values

LR = {"recipe": {"lr": {"low": 1e-4, "high": 1e-2, "log": True}}}


def config_with(space: dict[str, Any], **sections: Any) -> Config:
    written = {"data": {"root": "x"}, "model": {"name": "resnet50"}, "search": {"enabled": True, "space": space}}
    return parse_config({**written, **sections}, Config)


def test_ranges_and_choices_have_the_types_of_their_keys() -> None:
    space = {
        "recipe": {
            "lr": {"low": 0.0001, "high": 1, "log": True},
            "weight_decay": {"low": 0, "high": 1},
            "frozen_epochs": [0, 2, None],
            "warmup_epochs": [1, 2],
            "label_smoothing": {"low": 0, "high": 0.17, "step": 0.05},
        },
        "augment": {"rand_augment": {"low": 0, "high": 9, "step": 2}},
        "data": {"image_size": [[256, 128], [128, 64]]},
        "model": {"options": {"drop_path_rate": {"low": 0.0, "high": 0.3}}},
    }
    read = read_space(config_with(space))
    assert read == {
        "recipe.lr": Range(0.0001, 1.0, log=True),
        "recipe.weight_decay": Range(0.0, 1.0),
        "recipe.frozen_epochs": Choices((0, 2, None)),
        "recipe.warmup_epochs": Choices((1.0, 2.0)),
        "recipe.label_smoothing": Range(0.0, 0.15, step=0.05),
        "augment.rand_augment": Range(0, 8, step=2),
        "data.image_size": Choices(([256, 128], [128, 64])),
        "model.options.drop_path_rate": Range(0.0, 0.3),
    }
    assert isinstance(read["recipe.weight_decay"].ends[0], float)
    assert isinstance(read["augment.rand_augment"].ends[0], int)
    assert space_from_json(space_to_json(read)) == read


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, ["search.space is empty"]),
        ({"recipe": {}}, ["search.space is empty"]),
        ({"recipe": {"lrr": [1]}}, ["recipe.lrr is not a key", "recipe.lr"]),
        ({"nonesuch": [1]}, ["search.space.nonesuch"]),
        ({"recipe": {"lr": {"low": 0, "high": 1}}}, ["search.space.recipe.lr", "above 0, not 0"]),
        ({"augment": {"flip": {"low": 0.5, "high": 1.5}}}, ["augment.flip", "between 0 and 1, not 1.5"]),
        ({"recipe": {"lr": [0.1, -1]}}, ["search.space.recipe.lr", "not -1"]),
        ({"recipe": {"lr": [0.1, "fast"]}}, ["recipe.lr must be a number, not fast"]),
        ({"recipe": {"lr": []}}, ["search.space.recipe.lr has no values"]),
        ({"recipe": {"lr": [0.1]}}, ["search.space.recipe.lr has one value", "set recipe.lr itself"]),
        ({"recipe": {"lr": [0.1, 1, 0.1]}}, ["search.space.recipe.lr has a value twice", "0.1, 1.0, 0.1"]),
        ({"recipe": {"lr": {"low": 0.1, "high": 1, "log": "yes"}}}, ["search.space.recipe.lr must be a range", "yes"]),
        ({"recipe": {"lr": "fast"}}, ["search.space.recipe.lr must be a range", "not fast"]),
        ({"recipe": {"lr": {"low": 0.1}}}, ["search.space.recipe.lr must be a range"]),
        ({"recipe": {"lr": {"low": 0.1, "high": 1, "log": True, "stepp": 1}}}, ["must be a range", "stepp"]),
        ({"recipe": {"lr": {"low": 1, "high": 0.1}}}, ["low=1.0 must be below high=0.1"]),
        ({"recipe": {"weight_decay": {"low": 0, "high": 1, "log": True}}}, ["low must be above 0"]),
        ({"recipe": {"lr": {"low": 0.1, "high": 1, "log": True, "step": 0.1}}}, ["log: true and a step"]),
        ({"recipe": {"lr": {"low": 0.1, "high": 1, "step": 2}}}, ["step=2"]),
        ({"augment": {"rand_augment": {"low": 0, "high": 3, "step": 0.5}}}, ["step=0.5", "a whole number"]),
        ({"recipe": {"frozen_epochs": {"low": 0.5, "high": 3}}}, ["frozen_epochs must be a whole number, not 0.5"]),
        ({"recipe": {"grad_checkpointing": {"low": 0, "high": 1}}}, ["grad_checkpointing takes no numbers"]),
        ({"recipe": {"monitor": ["loss", "auroc"]}}, ["recipe.monitor", "compare different scores"]),
        ({"data": {"split_seed": [0, 1]}}, ["data.split_seed", "validation images"]),
        ({"seed": [0, 1]}, ["a search cannot change seed"]),
        ({"trainer": {"precision": ["auto"]}}, ["search.space.trainer.precision"]),
        ({"search": {"trials": [1]}}, ["search.space.search.trials"]),
    ],
)
def test_a_wrong_space_is_refused_before_any_work(space: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(GenderClsError) as refused:
        read_space(config_with(space))
    assert [word for word in words if word not in str(refused.value)] == []


@pytest.mark.parametrize(
    "file", sorted((CONFIG_FOLDER / "search" / "space").glob("*.yaml")), ids=lambda file: file.stem
)
def test_each_shipped_space_holds_the_values_of_its_recipe(file: Any) -> None:
    recipe = yaml.safe_load((CONFIG_FOLDER / "recipe" / file.name).read_text())
    config = config_with(yaml.safe_load(file.read_text()), recipe={key: float(recipe[key]) for key in ("lr",)})
    for key, one in read_space(config).items():
        _, name = key.split(".")
        assert one.parameter(float(recipe.get(name, 0))) is not None, "trial 0 has the settings as they are"


def test_values_have_few_digits_and_stay_in_their_range() -> None:
    lr, step = Range(1.23456e-4, 9.87654e-3, log=True), Range(0.0, 0.2, step=0.05)
    assert lr.recorded(0.00123456789) == 0.001235
    assert (lr.recorded(9.87654e-3), lr.recorded(1.23412e-4)) == (9.87654e-3, 1.23456e-4), (
        "rounded, but not beyond the ends"
    )
    assert step.recorded(3 * 0.05) == 0.15, "not 0.15000000000000002"
    assert (step.parameter(0.15), step.parameter(0.12), step.parameter(0.25), step.parameter(None)) == (
        0.15,
        *[None] * 3,
    )
    sizes = Choices(([256, 128], "auto", None))
    assert [sizes.recorded(sizes.parameter(value)) for value in sizes.values] == list(sizes.values)
    assert sizes.parameter([1, 1]) is None
    equal = Choices((1, True, 1.0))
    assert [json.dumps(equal.recorded(equal.parameter(value))) for value in equal.values] == ["1", "true", "1.0"]


def test_values_go_into_the_configuration_and_are_checked_there() -> None:
    config = config_with(LR)
    changed = with_values(
        config, {"recipe.lr": 0.002, "data.image_size": [64, 32], "model.options.drop_path_rate": 0.1}
    )
    assert (changed.recipe.lr, changed.data.image_size, changed.model.options) == (
        0.002,
        [64, 32],
        {"drop_path_rate": 0.1},
    )
    assert to_plain(config)["recipe"]["lr"] == 1e-3, "the original stays"
    with pytest.raises(GenderClsError, match=r"augment\.affine"):
        with_values(config, {"augment.affine": 0.5})
