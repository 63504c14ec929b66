"""The options: names, defaults and help; what resolving fills in; what it refuses."""

import dataclasses
import re
from typing import Any

import jax
import pytest

from experiments.config import Config, parse, resolve
from experiments.option_checks import BASELINES, MULTI_GRADIENT, ConfigError

# Every option, with its default; None where resolve() fills in what depends on others.
# Readers rely on these names.
DEFAULTS = {
    "dataset": "auto",
    "data_dir": "data",
    "optimizer": "madam",
    "l1": None,
    "l1_where": "dense",
    "l1_at_zero": 1.0,
    "weights": None,
    "normalize": "none",
    "weigh_by": None,
    "split": False,
    "learning_rate": None,
    "momentum": None,
    "nesterov": False,
    "amsgrad": False,
    "decay": None,
    "schedule": "logistic",
    "epochs": None,
    "batch_size": 32,
    "conv_l2": 1e-4,
    "threshold": 1e-3,
    "prune_where": "dense",
    "regrow": True,
    "prune": True,
    "sparsity": None,
    "sparsity_schedule": None,
    "standardize": False,
    "seed": 0,
    "train_size": None,
    "out": None,
    "figures": True,
    "seeds": 1,
    "init_from": None,
    "resume": None,
    "checkpoint_every": 1,
    "devices": 1,
    "distributed": False,
    "coordinator": None,
    "processes": None,
    "process_id": None,
}
# Words of a command line -> the field and value they must give.
WORDS: list[tuple[str, str, Any]] = [
    *[(f"--dataset {name}", "dataset", name) for name in ("auto", "mnist", "digits")],
    ("--data-dir a/b", "data_dir", "a/b"),
    *[
        (f"--optimizer {name}", "optimizer", name)
        for name in (*MULTI_GRADIENT, *BASELINES)
    ],
    ("--l1 2e-4", "l1", 2e-4),
    *[(f"--l1-where {name}", "l1_where", name) for name in ("dense", "all")],
    ("--l1-at-zero -0.5", "l1_at_zero", -0.5),
    ("--weights 0.9 0.1", "weights", (0.9, 0.1)),
    *[
        (f"--normalize {name}", "normalize", name)
        for name in ("none", "l2", "loss", "loss+")
    ],
    *[(f"--weigh-by {name}", "weigh_by", name) for name in ("gradients", "directions")],
    ("--split", "split", True),
    ("--learning-rate 0.5", "learning_rate", 0.5),
    ("--momentum 0.5", "momentum", 0.5),
    ("--nesterov", "nesterov", True),
    ("--amsgrad", "amsgrad", True),
    ("--decay 0.5", "decay", 0.5),
    *[(f"--schedule {name}", "schedule", name) for name in ("logistic", "constant")],
    ("--epochs 3", "epochs", 3),
    ("--batch-size 64", "batch_size", 64),
    ("--conv-l2 0", "conv_l2", 0.0),
    ("--threshold 0", "threshold", 0.0),
    *[(f"--prune-where {n}", "prune_where", n) for n in ("dense", "conv", "all")],
    ("--regrow", "regrow", True),
    ("--no-regrow", "regrow", False),
    ("--prune", "prune", True),
    ("--no-prune", "prune", False),
    ("--sparsity 0.98", "sparsity", 0.98),
    *[(f"--sparsity-schedule {n}", "sparsity_schedule", n) for n in ("cubic", "once")],
    ("--standardize", "standardize", True),
    ("--seed 7", "seed", 7),
    ("--train-size 100", "train_size", 100),
    ("--out here", "out", "here"),
    ("--figures", "figures", True),
    ("--no-figures", "figures", False),
    ("--seeds 3", "seeds", 3),
    ("--init-from old", "init_from", "old"),
    ("--resume old", "resume", "old"),
    ("--checkpoint-every 5", "checkpoint_every", 5),
    ("--devices 8", "devices", 8),
    ("--devices all", "devices", "all"),
    ("--distributed", "distributed", True),
    ("--coordinator 10.0.0.1:1234", "coordinator", "10.0.0.1:1234"),
    ("--processes 2", "processes", 2),
    ("--process-id 1", "process_id", 1),
]


def option(field: str) -> str:
    return "--" + field.replace("_", "-")


def shown(capsys) -> str:
    """What was printed, without the frames that tyro draws and its line breaks."""
    captured = capsys.readouterr()
    return re.sub(r"[\s│╭╮╰╯─]+", " ", captured.out + captured.err)


# The command line


def test_defaults():
    config = dataclasses.asdict(parse(Config, "mnist_lenet", []))
    assert {name: config[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(("words", "field", "value"), WORDS, ids=[w[0] for w in WORDS])
def test_every_option(words, field, value):
    config = parse(Config, "mnist_lenet", words.split())
    assert getattr(config, field) == value
    others = dataclasses.replace(config, **{field: getattr(Config(), field)})
    assert others == Config()


def test_the_table_of_options_above_is_complete():
    names = {field.name for field in dataclasses.fields(Config)}
    assert set(DEFAULTS) == {field for _, field, _ in WORDS}
    assert names - set(DEFAULTS) == {"augment"}  # an option of other experiments


def test_help_shows_every_option_with_a_text_and_its_default(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        parse(Config, "mnist_lenet", ["--help"])
    text = shown(capsys)
    assert text.startswith("usage: python -m experiments.mnist_lenet")
    parts = re.split(r" (?=--[a-z][a-z0-9-]*[ /])", text.replace(", --no", "/--no"))
    helps = {match[0]: part for part in parts if (match := re.match(r"--[\w-]+", part))}
    assert "--augment" not in helps
    for name, default in DEFAULTS.items():
        part = helps[option(name)]
        assert len(part.split()) >= 5, part  # its name, its values, and some words
        if default is not None:
            assert f"default: {default}" in part
    for name, default in {
        "l1": "3e-4",
        "momentum": "0.9",
        "learning_rate": "1e-2 for smgd and sgd, 1e-3 for the others",
        "decay": "learning rate / epochs for smgd and sgd",
        "epochs": "30; 100 on the digits",
        "weigh_by": "directions",
        "out": "runs/EXPERIMENT-TIME",
    }.items():
        assert f"default {default}" in helps[option(name)]


@pytest.mark.parametrize(
    ("typo", "right"),
    [
        ("--optimzer", "--optimizer"),
        ("--learning-rat", "--learning-rate"),
        ("--treshold", "--threshold"),
        ("--no-prun", "--no-prune"),
    ],
)
def test_a_typo_suggests_the_right_option(typo, right, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        parse(Config, "mnist_lenet", [typo, "1"])
    text = shown(capsys)
    assert f"Unrecognized options: {typo}" in text
    assert right in text.partition("Perhaps you meant")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--optimizer adma", "invalid choice 'adma' for argument '--optimizer'"),
        ("--epochs ten", "--epochs"),
        ("--weights 1", "--weights"),
        ("--batch-size 1.5", "--batch-size"),
    ],
)
def test_a_wrong_value_names_its_option(words, message, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        parse(Config, "mnist_lenet", words.split())
    assert message.lower() in shown(capsys).lower()


# Resolving


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
def test_resolved_defaults(optimizer, dataset):
    resolved = resolve(Config(optimizer=optimizer), dataset)
    epochs = {"mnist": 30, "digits": 100}[dataset]
    sgd_like = optimizer in ("smgd", "sgd")
    adaptive = optimizer in ("madam", "mrmsprop")
    assert resolved.epochs == epochs
    assert resolved.learning_rate == (1e-2 if sgd_like else 1e-3)
    # As the original: the learning rate over the epochs.
    assert resolved.decay == (1e-2 / epochs if sgd_like else 0.0)
    assert resolved.momentum == (0.9 if sgd_like else None)
    assert resolved.l1 == (3e-4 if optimizer in BASELINES else None)
    assert resolved.weigh_by == ("directions" if adaptive else None)
    untouched = set(DEFAULTS) - {"epochs", "learning_rate", "decay", "momentum", "l1"}
    for name in untouched - {"weigh_by", "optimizer"}:
        assert getattr(resolved, name) == DEFAULTS[name]


def test_given_values_are_kept():
    given = Config(
        optimizer="smgd", epochs=3, learning_rate=0.5, decay=0.0, momentum=0.0
    )
    assert resolve(given, "digits") == given
    baseline = Config(optimizer="adam", l1=0.0)
    assert resolve(baseline, "mnist").l1 == 0.0


def test_decay_follows_the_given_rate_and_epochs():
    config = Config(optimizer="sgd", epochs=4, learning_rate=0.5)
    assert resolve(config, "mnist").decay == 0.125
    assert resolve(dataclasses.replace(config, epochs=0), "mnist").decay == 0.5


NAN, INF = float("nan"), float("inf")
OUT_OF_RANGE = [
    *[(name, value) for name in ("l1", "learning_rate", "decay") for value in (-1e-9,)],
    *[(name, -1) for name in ("epochs", "seed", "conv_l2", "threshold")],
    ("batch_size", 0),
    *[
        (name, value)
        for name in ("l1", "learning_rate", "decay", "conv_l2", "threshold")
        for value in (NAN, INF)
    ],
    *[("momentum", value) for value in (-0.1, 1.0, NAN)],
    *[("sparsity", value) for value in (-0.1, 1.1, NAN)],
    *[("l1_at_zero", value) for value in (-1.1, 1.1, NAN)],
    *[("weights", value) for value in ((-0.1, 1.0), (1.0, NAN), (INF, 1.0))],
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_out_of_range(name, value):
    optimizer = {"l1": "adam", "momentum": "sgd"}.get(name, "madam")
    config = Config(optimizer=optimizer, **{name: value})  # pyright: ignore
    message = rf"{option(name)} is {re.escape(str(value))}; expected .*\.$"
    with pytest.raises(ConfigError, match=message):
        resolve(config, "mnist")


def test_the_largest_seed_and_the_first_that_is_too_large():
    """Cause: jax.random.key takes a seed modulo 2**32, and raises from 2**63 on."""
    largest = 2**32 - 1
    jax.random.key(resolve(Config(seed=largest), "mnist").seed)
    with pytest.raises(ConfigError, match=r"--seed is \d+; expected .* below 2\*\*32"):
        resolve(Config(seed=2**32), "mnist")
    message = r"--seed and --seeds: the last seed is 4294967296; expected .* below"
    with pytest.raises(ConfigError, match=message):
        resolve(Config(seed=largest, seeds=2), "mnist")


# Options that an optimizer does not take
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


@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, (values, _) in TAKERS.items() for value in values],
)
def test_options_an_optimizer_does_not_take(name, value, optimizer):
    """`--optimizer smgd --l1 0` was taken and trained with fixed weights (1, 0): 0
    equals False, by which an option that was not given was recognised."""
    config = Config(optimizer=optimizer, **{name: value})
    fitting = TAKERS[name][1]
    if optimizer in fitting:
        assert getattr(resolve(config, "mnist"), name) == value
        return
    message = (
        rf"{option(name)} has no meaning for --optimizer {optimizer}; "
        rf"it is for {', '.join(fitting)}\."
    )
    with pytest.raises(ConfigError, match=message):
        resolve(config, "mnist")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 0.9, "prune": False}, r"--sparsity asks .* --no-prune for none"),
        ({"sparsity_schedule": "once"}, r"--sparsity-schedule says how --sparsity is"),
    ],
)
def test_magnitude_pruning_that_is_half_asked_for(options, message):
    with pytest.raises(ConfigError, match=message):
        resolve(Config(**options), "mnist")


def test_fixed_weights_leave_nothing_to_normalize():
    config = Config(weights=(1.0, 1.0), normalize="l2")
    with pytest.raises(ConfigError, match=r"--weights fixes .* --normalize has noth"):
        resolve(config, "mnist")
