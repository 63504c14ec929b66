"""Options on the command line: names, values, defaults, help, mistakes."""

import itertools
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from experiments.config import (
    BASELINES,
    MULTI_GRADIENT,
    Config,
    FrontConfig,
    VggConfig,
    VggFront,
    flat,
    from_flat,
    parse,
    peek,
    updated,
)

# All options that readers rely on, with their defaults; None is filled in later.
DEFAULTS = {
    "model": None,
    "dataset": "auto",
    "data_dir": "data",
    "train_size": None,
    "standardize": False,
    "augment": False,
    "l1": None,
    "complexity": "l1",
    "l1_where": "dense",
    "l1_at_zero": 1.0,
    "conv_l2": 1e-4,
    "conv_l2_both": False,
    "weights": None,
    "normalize": "none",
    "weigh_by": None,
    "split": False,
    "split_loss": None,
    "optimizer": "madam",
    "learning_rate": None,
    "epochs": None,
    "batch_size": 32,
    "momentum": None,
    "nesterov": False,
    "amsgrad": False,
    "decay": None,
    "schedule": None,
    "weight_decay": 0.0,
    "update_rule": "optax",
    "prune": True,
    "threshold": None,
    "prune_where": "dense",
    "prune_initial": False,
    "regrow": True,
    "pruning": None,
    "sparsity": None,
    "sparsity_schedule": None,
    "budget": None,
    "multiple_of": 1,
    "widths": None,
    "published": False,
    "out": None,
    "resume": None,
    "init_from": None,
    "seed": 0,
    "seeds": 1,
    "figures": True,
    "checkpoint_every": 1,
    "compilation_cache": True,
    "devices": 1,
    "distributed": False,
    "coordinator": None,
    "processes": None,
    "process_id": None,
    "dtype": "float32",
}
VGG_DEFAULTS = DEFAULTS | {
    "optimizer": "mrmsprop",
    "batch_size": 64,
    "conv_l2": 1e-6,
    "standardize": True,
}
ONLY_VGG = {"augment", "dtype"}
TRAINING_ONLY = {
    *("weights", "normalize", "weigh_by", "split", "split_loss"),
    *("sparsity", "sparsity_schedule", "multiple_of", "widths", "init_from"),
}
SEARCH_DEFAULTS = {
    "search": "grid",
    "released": False,
    "budget": None,
    "finish_level": False,
    "grid": None,
    "smallest": None,
    "largest": None,
    "levels": 15,
    "corrector_epochs": None,
    "final_epochs": None,
    "knee": "chord",
    "parallel": None,
    "save": "knee",
    "compare": None,
    "model": "lenet5",
}
FRONT_DEFAULTS = DEFAULTS | {"optimizer": "adam", "pruning": "threshold"}
FRONT_DEFAULTS |= SEARCH_DEFAULTS
VGG_FRONT_DEFAULTS = VGG_DEFAULTS | FRONT_DEFAULTS | {"model": "vgg"}
VGG_FRONT_DEFAULTS |= {n: VGG_DEFAULTS[n] for n in ("batch_size", "conv_l2")}
VGG_FRONT_DEFAULTS["standardize"] = True

CHOICES = {
    "dataset": ("auto", "cifar10", "digits", "my/folder", "tfds:emnist"),
    "optimizer": (*MULTI_GRADIENT, *BASELINES),
    "complexity": ("l1", "log"),
    "l1_where": ("dense", "all"),
    "normalize": ("none", "l2", "loss", "loss+"),
    "weigh_by": ("gradients", "directions"),
    "split_loss": ("group", "whole"),
    "schedule": ("logistic", "constant", "hold_cosine"),
    "update_rule": ("optax", "keras"),
    "prune_where": ("dense", "conv", "all", "dense_layers"),
    "pruning": ("threshold", "magnitude", "saliency", "evidence", "units"),
    "sparsity_schedule": ("cubic", "once"),
    "devices": (8, "all"),
    "dtype": ("float32", "bfloat16"),
    "search": (
        *("grid", "bisection", "dichotomic", "stochastic"),
        *("bisection_dichotomic", "continuation"),
    ),
    "grid": ("geometric", "original"),
    "knee": ("weight_jump", "chord", "angle", "hypervolume", "description_length"),
    "save": ("knee", "front", "all"),
}
TEXTS = {
    **{name: "a/b" for name in ("data_dir", "out", "resume", "init_from", "compare")},
    "coordinator": "10.0.0.1:1234",
}
WHOLE = ("train_size", "epochs", "processes", "process_id", "budget", "parallel")
WHOLE += ("corrector_epochs", "final_epochs")


def visible(defaults: dict[str, Any]) -> set[str]:
    """Return the options that a program shows and takes."""
    hidden = set() if defaults["batch_size"] == 64 else ONLY_VGG
    return set(defaults) - hidden - (TRAINING_ONLY if "search" in defaults else set())


PROGRAMS = [
    pytest.param(Config, "mnist_lenet", DEFAULTS, id="mnist_lenet"),
    pytest.param(VggConfig, "cifar_vgg", VGG_DEFAULTS, id="cifar_vgg"),
    pytest.param(FrontConfig, "pareto_front", FRONT_DEFAULTS, id="front"),
    pytest.param(VggFront, "pareto_front", VGG_FRONT_DEFAULTS, id="vgg front"),
]


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def values_of(name: str, default: Any, options: Any) -> tuple[Any, ...]:
    """Return values to try."""
    if isinstance(default, bool):
        return (True, False)
    if name == "pruning" and issubclass(options, FrontConfig):
        return ("threshold", "magnitude", "saliency")
    if name == "optimizer" and issubclass(options, FrontConfig):
        return ("adam", "rmsprop", "sgd", "madam", "mrmsprop")
    if name in CHOICES:
        return CHOICES[name]
    if name == "model":
        return (default or "my_package.module:Net",)
    if name == "weights":
        return ((0.9, 0.1),)
    if name == "widths":
        return ((6, 16, 120, 84),)
    if name in TEXTS:
        return (TEXTS[name],)
    return (7,) if isinstance(default, int) or name in WHOLE else (-0.5, 2e-4)


def words_of(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option(name) if value else option(f"no_{name}")]
    values = value if isinstance(value, tuple) else (value,)
    return [option(name), *map(str, values)]


# The command line


@pytest.mark.parametrize(("options", "program", "defaults"), PROGRAMS)
def test_every_option_keeps_its_name_and_default(options, program, defaults):
    """Flat on the command line, with every value that it takes."""
    config = parse(options, program, [])
    named = flat(config.training()) if isinstance(config, FrontConfig) else {}
    assert named | flat(config) == defaults
    tried = {
        name: itertools.cycle(values_of(name, defaults[name], options))
        for name in visible(defaults)
    }
    for _ in range(max(map(len, CHOICES.values())) + 1):
        given = {name: next(values) for name, values in tried.items()}
        words = [word for item in given.items() for word in words_of(*item)]
        found = flat(parse(options, program, words))
        assert {name: found[name] for name in given} == given


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Config, "--augment"),
        (Config, "--no-augment"),
        (Config, "--dtype bfloat16"),
        (Config, "--search grid"),
        (Config, "--data.dataset digits"),  # groups have no names on the command line
        (VggConfig, "--dtype float16"),
        (FrontConfig, "--pruning evidence"),
        (FrontConfig, "--weights 1 0"),
        (FrontConfig, "--optimizer smgd"),
        (FrontConfig, "--sparsity 0.5"),
        (FrontConfig, "--init-from a"),
    ],
)
def test_options_of_other_programs_are_refused(options, words, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        parse(options, "example", words.split())
    assert words.split()[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typo", "right"),
    [
        ("--optimzer", "--optimizer"),
        ("--learning-rat", "--learning-rate"),
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


@pytest.mark.parametrize(
    ("words", "model", "resume"),
    [
        ("", None, None),
        ("--epochs 3 --no-figures --help", None, None),
        ("--epochs 3 --model vgg", "vgg", None),
        ("--resume a/b --no-figures", None, "a/b"),
    ],
)
def test_peek_reads_two_options_and_leaves_the_rest(words, model, resume):
    found = peek(words.split())
    assert (found.model, found.resume) == (model, resume)


# Help


def shown(capsys) -> str:
    """Return the printed text without frames and line breaks."""
    captured = capsys.readouterr()
    return re.sub(r"[\s│╭╮╰╯─]+", " ", captured.out + captured.err)


GROUPS = ("data", "objectives", "optimizer", "pruning", "run", "devices")
STATED = {  # defaults that depend on other options
    "l1": "3e-4; 0.03 for VGG",
    "momentum": "0.9",
    "learning_rate": "1e-2 for smgd and sgd, 3e-3 for madam and adam with "
    "hold_cosine, 1e-3 otherwise",
    "decay": "learning rate / epochs for smgd and sgd",
    "epochs": "30 for LeNet-5, 125 for VGG; on the digits 100 and 20",
    "weigh_by": "gradients; directions for VGG",
    "out": "runs/PROGRAM-TIME",
}


@pytest.mark.parametrize(("options", "program", "defaults"), PROGRAMS)
def test_help_fits_80_columns_and_explains_every_option(
    options, program, defaults, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match=r"^0$"):
        parse(options, program, ["--help"])
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"usage: python -m experiments.{program}")
    searches = ("search",) if "search" in defaults else ()
    network = () if searches else ("network",)  # a front's is with its search
    groups = [*network, *GROUPS[:4], *searches, *GROUPS[4:]]
    # The frames are blanks and hyphens where stdout is no terminal.
    bare = [line.strip("│╭╮╰╯─- ") for line in lines]
    titles = [line for line in bare if re.fullmatch(r"(\w+ )?options", line)]
    assert titles == ["options", *(f"{name} options" for name in groups)]
    # A new user finds the options that matter before all others.
    start = bare.index("options")
    mentioned = set(re.findall(r"--[a-z0-9-]+", "\n".join(lines[:start])))
    assert len(mentioned) == 10
    assert mentioned < {option(name) for name in visible(defaults)}
    # Cause: tyro begins a paragraph at a line of a docstring that begins with a digit.
    for line, following in zip(lines[start:], bare[start + 1 :], strict=False):
        assert line.strip("│ ") or following in titles
    text = re.sub(r"[\s│╭╮╰╯─]+", " ", out).replace(", --no", "/--no")
    parts = re.split(r" (?=--[a-z][a-z0-9-]*[ /])", text.partition(" -h, ")[2])
    helps = {re.split("[ /]", part)[0]: part for part in parts[1:]}
    assert set(helps) >= {option(name) for name in visible(defaults)}
    assert not set(helps) & {option(name) for name in set(defaults) - visible(defaults)}
    for name in visible(defaults):
        part, default = helps[option(name)], defaults[name]
        assert len(part.split()) >= 5, part  # its name, its values, and some words
        if default is not None:
            assert f"default: {default}" in part
        elif name in STATED and program != "pareto_front":
            assert f"default {STATED[name]}" in part


# Groups and flat dictionaries


def test_groups_are_flat_and_back():
    config = updated(VggFront(), epochs=3, budget=7, dtype="bfloat16")
    assert (config.optimizer.epochs, config.search.budget) == (3, 7)
    assert config.devices.dtype == "bfloat16"
    assert from_flat(VggFront, flat(config)) == config
    assert from_flat(VggFront, {"epochs": 3, "versions": {}}).optimizer.epochs == 3


def test_options_are_written_to_json():
    config = updated(Config(), weights=(0.9, 0.1))
    stored = json.loads(json.dumps(flat(config)))
    assert stored.pop("weights") == [0.9, 0.1]
    assert from_flat(Config, stored) == Config()


@pytest.mark.parametrize(("cls", "name"), [(Config, "bogus"), (FrontConfig, "weights")])
def test_an_unknown_name_is_not_replaced_silently(cls, name):
    with pytest.raises(AssertionError, match=f"no option {name}"):
        updated(cls(), **{name: 1})


def test_options_need_no_jax():
    """The first line of a program, and its help, appear at once."""
    code = "import sys, experiments.config; print('jax' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
