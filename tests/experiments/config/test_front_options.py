"""Options of a front: resolving them, and the options of its trainings."""

import dataclasses

import pytest

from experiments.config import (
    BASELINES,
    Config,
    FrontConfig,
    VggConfig,
    VggFront,
    flat,
    resolve,
    resolve_front,
    updated,
)
from experiments.errors import ConfigError

FRONTS = [(FrontConfig, Config), (VggFront, VggConfig)]
RELEASED = ("grid", "bisection", "dichotomic", "stochastic")
SEARCHES = (*RELEASED, "bisection_dichotomic", "continuation")


def resolved(front, dataset: str = "digits", **options):
    return resolve_front(updated(front(), **options), dataset)


@pytest.mark.parametrize(("front", "training"), FRONTS)
def test_a_front_builds_the_options_of_its_trainings(front, training):
    config = updated(front(), epochs=3, seed=7, threshold=0.5, devices=2, out="a")
    own = config.training()
    assert type(own) is training
    given = {"epochs": 3, "seed": 7, "threshold": 0.5, "devices": 2, "out": "a"}
    given |= {"optimizer": "adam", "pruning": "threshold"}
    assert own == updated(training(), **given)
    assert resolve(own, "digits").optimizer.epochs == 3


@pytest.mark.parametrize(("front", "training"), FRONTS)
def test_config_json_holds_all_options_of_a_training_and_of_the_search(front, training):
    config = resolved(front)
    keys = (flat(config.training()) | flat(config)).keys()
    assert keys == flat(training()).keys() | {
        *("search", "budget", "grid", "smallest", "largest", "levels", "model"),
        *("released", "finish_level"),
        *("corrector_epochs", "final_epochs", "knee", "parallel", "save", "compare"),
    }


@pytest.mark.parametrize(
    ("front", "dataset", "epochs", "corrector", "final"),
    [
        (FrontConfig, "mnist", 10, 2, 30),
        (FrontConfig, "auto", 10, 2, 30),
        (FrontConfig, "digits", 33, 7, 100),
        (VggFront, "cifar10", 41, 9, 125),
        (VggFront, "digits", 6, 2, 20),
    ],
)
def test_epochs_depend_on_the_dataset(front, dataset, epochs, corrector, final):
    config = resolved(front, dataset)
    assert config.optimizer.epochs == epochs
    assert config.search.corrector_epochs == corrector
    assert config.search.final_epochs == final
    given = {"epochs": 11, "corrector_epochs": 0, "final_epochs": 0}
    config = resolved(front, dataset, **given)
    assert {name: flat(config)[name] for name in given} == given
    assert resolved(front, dataset, epochs=11).search.corrector_epochs == 3


@pytest.mark.parametrize(("front", "training"), FRONTS)
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd", "madam", "mrmsprop"])
def test_defaults_depend_on_the_optimizer(optimizer, front, training):
    config = resolved(front, optimizer=optimizer)
    summed = optimizer in BASELINES
    assert config.search.grid == ("geometric" if summed else "original")
    assert config.search.budget == (20 if summed else 26)
    assert (config.search.smallest, config.search.largest) == front.RANGE
    alone = updated(training(), optimizer=optimizer, epochs=config.optimizer.epochs)
    expected = dataclasses.asdict(resolve(alone, "digits").optimizer)
    assert dataclasses.asdict(config.optimizer) == expected
    grid = resolved(front, optimizer=optimizer, grid="original", budget=5).search
    assert (grid.grid, grid.budget) == ("original", 5)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("optimizer", ["adam", "madam", "mrmsprop"])
def test_all_searches_but_continuation_take_directions(optimizer, search):
    options = {"optimizer": optimizer, "search": search}
    if optimizer == "adam" or search != "continuation":
        assert resolved(FrontConfig, **options).search.search == search
        return
    message = (
        rf"^--search continuation follows weights of the objectives, but --optimizer "
        rf"{optimizer} applies them to directions\. Choose .* {BASELINES[0]}"
    )
    with pytest.raises(ConfigError, match=message):
        resolved(FrontConfig, **options)


@pytest.mark.parametrize("search", SEARCHES)
def test_the_released_code_has_four_searches(search):
    options = {"search": search, "released": True}
    if search in RELEASED:
        found = resolved(FrontConfig, **options).search
        assert found.finish_level and found.grid == "original"
        assert found.budget == (26 if search == "grid" else 20)
        assert resolved(FrontConfig, **options, budget=7).search.budget == 7
        return
    message = (
        rf"^--released and --search {search} contradict each other: the released code "
        rf"has grid, bisection, dichotomic, stochastic\. Choose .* --no-released\.$"
    )
    with pytest.raises(ConfigError, match=message):
        resolved(FrontConfig, **options)


def test_the_released_code_has_a_list_of_its_own():
    message = r"^--released and --grid geometric contradict each other: .*Leave one out"
    with pytest.raises(ConfigError, match=message):
        resolved(FrontConfig, released=True, grid="geometric")
    assert resolved(FrontConfig, released=True, grid="original").search.released


def test_levels_are_cut_unless_they_shall_finish():
    assert not resolved(FrontConfig).search.finish_level
    assert resolved(FrontConfig, finish_level=True).search.finish_level


@pytest.mark.parametrize(
    ("name", "low"),
    [
        ("budget", 2),
        ("levels", 0),
        ("corrector_epochs", 0),
        ("final_epochs", 0),
        ("parallel", 1),
    ],
)
def test_out_of_range(name, low):
    option = "--" + name.replace("_", "-")
    message = rf"^{option} is {low - 1}; expected at least {low}\.$"
    with pytest.raises(ConfigError, match=message):
        resolved(FrontConfig, **{name: low - 1})
    assert flat(resolved(FrontConfig, **{name: low}))[name] == low


@pytest.mark.parametrize(
    ("smallest", "largest"), [(0.0, 0.5), (0.5, 0.5), (0.1, 1.0), (float("nan"), 0.5)]
)
def test_the_range_of_weights(smallest, largest):
    message = r"^--smallest is .* and --largest is .*; expected 0 < SMALLEST < LARGEST"
    with pytest.raises(ConfigError, match=message):
        resolved(FrontConfig, smallest=smallest, largest=largest)


def test_mistakes_in_the_options_of_a_training_are_found_too():
    with pytest.raises(ConfigError, match=r"^--batch-size is 0; expected .* least 1"):
        resolved(FrontConfig, batch_size=0)
    with pytest.raises(ConfigError, match=r"^--nesterov has no meaning for"):
        resolved(FrontConfig, nesterov=True)
