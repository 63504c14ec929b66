"""Resolving options: defaults that depend on others, ranges and contradictions."""

import re

import jax
import pytest

from experiments.config import (
    BASELINES,
    MULTI_GRADIENT,
    Config,
    VggConfig,
    check_at_least,
    flat,
    resolve,
    updated,
)
from experiments.errors import ConfigError

OPTIMIZERS = [*MULTI_GRADIENT, *BASELINES]
PREFERRED_EPOCHS = {Config: ("mnist", 30, 100), VggConfig: ("cifar10", 125, 20)}
NAN, INF = float("nan"), float("inf")


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def resolved(config, dataset: str = "digits", **options):
    return resolve(updated(config(), **options), dataset)


# Defaults


LENET_METHOD = {"schedule": "hold_cosine", "pruning": "saliency"}
LENET_METHOD |= {"sparsity": 0.98, "sparsity_schedule": "cubic"}
VGG_METHOD = {"schedule": "logistic", "pruning": "threshold", "threshold": 1e-3}


@pytest.mark.parametrize("config", [Config, VggConfig])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_defaults_depend_on_the_optimizer_and_the_dataset(optimizer, config):
    preferred, epochs, on_digits = PREFERRED_EPOCHS[config]
    sgd_like, vgg = optimizer in ("smgd", "sgd"), config is VggConfig
    adaptive = optimizer in ("madam", "mrmsprop")
    numbers = {preferred: epochs, "auto": epochs, "digits": on_digits}
    for dataset, number in numbers.items():
        fast = optimizer in ("madam", "adam") and not vgg
        rate = 1e-2 if sgd_like else 3e-3 if fast else 1e-3
        assert resolved(config, dataset, optimizer=optimizer) == updated(
            config(),
            optimizer=optimizer,
            epochs=number,
            learning_rate=rate,
            # As the original: the learning rate over the epochs.
            decay=rate / number if sgd_like else 0.0,
            momentum=0.9 if sgd_like else None,
            l1=(0.03 if vgg else 3e-4) if optimizer in BASELINES else None,
            weights=(0.9, 0.1) if vgg and adaptive else None,
            weigh_by="gradients" if adaptive and not vgg else None,
            **(VGG_METHOD if vgg else LENET_METHOD),
        )
    assert preferred == config.PREFERRED


def test_given_values_are_kept():
    options = {"epochs": 3, "learning_rate": 0.5, "decay": 0.0, "momentum": 0.0}
    options |= {"pruning": "threshold", "threshold": 0.5, "schedule": "constant"}
    given = updated(Config(), optimizer="smgd", **options)
    assert resolve(given, "digits") == given
    assert resolved(Config, optimizer="adam", l1=0.0).objectives.l1 == 0.0
    for config in (VggConfig, Config):
        found = resolved(config, weights=(0.5, 0.25)).objectives
        assert (found.weights, found.weigh_by) == ((0.5, 0.25), None)
    weights = resolved(VggConfig, optimizer="smgd", weights=(1, 0)).objectives.weights
    assert weights == (1, 0)


@pytest.mark.parametrize("optimizer", ["madam", "mrmsprop"])
@pytest.mark.parametrize(
    "options",
    [
        {"split": True},
        {"normalize": "loss+"},
        {"weigh_by": "gradients"},
        {"weigh_by": "directions"},
    ],
    ids=str,
)
def test_options_of_min_norm_weights_replace_vgg_s_fixed_ones(options, optimizer):
    found = resolved(VggConfig, optimizer=optimizer, **options).objectives
    assert found.weights is None
    assert found.weigh_by == options.get("weigh_by", "directions")


def test_decay_follows_the_given_rate_and_epochs():
    options = {"optimizer": "sgd", "learning_rate": 0.5}
    assert resolved(Config, epochs=4, **options).optimizer.decay == 0.125
    assert resolved(Config, epochs=0, **options).optimizer.decay == 0.5


def test_a_sparsity_has_a_schedule():
    for config in (Config, VggConfig):
        assert resolved(config, sparsity=0.5).pruning.pruning == "saliency"
        found = resolved(config, threshold=0.5).pruning
        assert (found.pruning, found.threshold) == ("threshold", 0.5)
        assert resolved(config, prune=False).pruning.pruning == "threshold"
    found = resolved(Config, prune_initial=True).pruning
    assert (found.pruning, found.threshold) == ("saliency", 1e-3)
    assert resolve(updated(Config(), **vars(found)), "digits").pruning == found
    for kind in ("magnitude", "saliency"):
        found = resolved(Config, pruning=kind).pruning
        assert (found.sparsity, found.sparsity_schedule) == (0.98, "cubic")
    assert resolved(Config, pruning="evidence").pruning.sparsity is None
    assert resolved(Config, sparsity=0.5).pruning.sparsity_schedule == "cubic"
    found = resolved(Config, sparsity=0.5, sparsity_schedule="once").pruning
    assert found.sparsity_schedule == "once"


def test_a_budget_is_one_of_units():
    for config in (Config, VggConfig):
        found = resolved(config, budget=0.5).pruning
        assert (found.pruning, found.budget, found.sparsity) == ("units", 0.5, None)
        assert resolved(config, pruning="units").pruning.budget == 0.2
        assert resolved(config).pruning.budget is None


# Ranges

OUT_OF_RANGE = {
    "l1": (-1e-9, NAN, INF),
    "learning_rate": (-1e-9, NAN, INF),
    "decay": (-1e-9, NAN, INF),
    "conv_l2": (-1, NAN, INF),
    "threshold": (-1, NAN, INF),
    "epochs": (-1,),
    "seed": (-1,),
    "seeds": (0,),
    "batch_size": (0,),
    "checkpoint_every": (0,),
    "momentum": (-0.1, 1.0, NAN),
    "sparsity": (-0.1, 1.1, NAN),
    "budget": (0.0, 1.1, NAN),
    "multiple_of": (0,),
    "l1_at_zero": (-1.1, 1.1, NAN),
    "weights": ((-0.1, 1.0), (1.0, NAN), (INF, 1.0)),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_out_of_range(name):
    optimizer = {"l1": "adam", "momentum": "sgd"}.get(name, "madam")
    for value in OUT_OF_RANGE[name]:
        message = rf"^{option(name)} is {re.escape(str(value))}; expected .*\.$"
        with pytest.raises(ConfigError, match=message):
            resolved(Config, optimizer=optimizer, **{name: value})


def test_lower_bounds():
    check_at_least({"a": 1, "b": None}, {"a": 1, "b": 1})
    with pytest.raises(ConfigError, match=r"^--a-b is 0; expected at least 1\.$"):
        check_at_least({"a_b": 0}, {"a_b": 1})


def test_the_largest_seed_and_the_first_that_is_too_large():
    """Cause: jax.random.key takes a seed modulo 2**32, and raises from 2**63 on."""
    largest = 2**32 - 1
    jax.random.key(resolved(Config, seed=largest).run.seed)
    message = r"^--seed is 4294967296; expected .* below 2\*\*32\.$"
    with pytest.raises(ConfigError, match=message):
        resolved(Config, seed=2**32)
    message = r"^The last of --seeds is 4294967296; expected .* below 2\*\*32\.$"
    with pytest.raises(ConfigError, match=message):
        resolved(Config, seed=largest, seeds=2)


# Options that contradict each other

TAKERS = {
    "l1": ((0.0, 1e-3), BASELINES),
    "weights": (((1.0, 0.0), (0.0, 0.0)), MULTI_GRADIENT),
    "normalize": (("l2", "loss", "loss+"), MULTI_GRADIENT),
    "weigh_by": (("gradients", "directions"), ("madam", "mrmsprop")),
    "split": ((True,), MULTI_GRADIENT),
    "momentum": ((0.0, 0.9), ("smgd", "sgd")),
    "nesterov": ((True,), ("smgd", "sgd")),
    "amsgrad": ((True,), ("madam", "adam")),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", TAKERS)
def test_options_that_an_optimizer_does_not_take(name, optimizer):
    """Cause: `--optimizer smgd --l1 0` was accepted, because 0 equals False."""
    values, takers = TAKERS[name]
    for value in values:
        if optimizer in takers:
            found = resolved(Config, optimizer=optimizer, **{name: value})
            assert flat(found)[name] == value
            continue
        message = (
            rf"^{option(name)} has no meaning for --optimizer {optimizer}; expected "
            rf"{', '.join(takers)}\. Leave it out, or choose one of these\.$"
        )
        with pytest.raises(ConfigError, match=message):
            resolved(Config, optimizer=optimizer, **{name: value})


@pytest.mark.parametrize("config", [Config, VggConfig])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"sparsity": 0.9}, {"prune": False}),
        ({"budget": 0.2}, {"sparsity": 0.9}),
        ({"budget": 0.2}, {"threshold": 1e-3}),
        ({"budget": 0.2}, {"prune": False}),
        ({"weights": (1.0, 1.0)}, {"normalize": "l2"}),
        ({"weights": (0.9, 0.1)}, {"split": True}),
        ({"split": True}, {"l1_where": "all"}),
    ],
    ids=str,
)
def test_pairs_that_contradict_each_other(one, other, config):
    names = [option(name) for name in (*one, *other)]
    names = (
        " and ".join(names)
        .replace("--prune", "--no-prune")
        .replace("--l1-where", "--l1-where all")
    )
    message = rf"^{names} contradict each other; expected .* Leave one out\.$"
    with pytest.raises(ConfigError, match=message):
        resolved(config, **one, **other)
    for alone in (one, other):
        assert resolved(config, **alone)


PROCESSES = {"coordinator": "host:1", "processes": 2, "process_id": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity_schedule": "once"}, r"--sparsity-schedule is given without --spar"),
        (PROCESSES, r"--coordinator is given without --distributed\. Add it\."),
        (
            {"distributed": True, "out": "a", "processes": 2, "process_id": 0},
            r"Only --processes, --process-id is given; expected all of --coordinator, "
            r"--processes, --process-id, or none if .*\.",
        ),
        (
            {"distributed": True},
            r"--distributed is given without --out; expected a folder .*\. Add it\.",
        ),
    ],
    ids=str,
)
def test_options_that_need_others(options, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        resolved(Config, **options)


def test_several_processes_are_described_by_options_or_the_environment():
    for options in (PROCESSES, {}):
        for where in ({"out": "a"}, {"resume": "a"}):
            assert resolved(Config, distributed=True, **options, **where)


def test_the_pair_that_kills_a_network_is_refused():
    options = {"optimizer": "madam", "l1_at_zero": 0.0}
    with pytest.raises(ConfigError, match="--l1-at-zero 0 with --weigh-by directions"):
        resolve(updated(Config(), weigh_by="directions", **options), "mnist")
    paper = updated(Config(), weigh_by="gradients", **options)
    assert resolve(paper, "mnist").objectives.l1_at_zero == 0
