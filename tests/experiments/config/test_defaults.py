"""The options of cifar_vgg: those of mnist_lenet with other defaults, and two more."""

import dataclasses
import re

import pytest

from experiments.cifar_vgg import VggConfig
from experiments.config import Config, parse, resolve
from experiments.option_checks import BASELINES, MULTI_GRADIENT, ConfigError

# What is not as in mnist_lenet. Readers rely on these names.
OWN_DEFAULTS = {
    "optimizer": "mrmsprop",
    "batch_size": 64,
    "conv_l2": 1e-6,
    "standardize": True,
    "augment": False,
    "dtype": "float32",
}
WEIGHTS = (0.9, 0.1)  # of madam and mrmsprop, chosen by the validation images
EXPERIMENTS = [(Config, "mnist_lenet"), (VggConfig, "cifar_vgg")]


def helps(config, name, capsys) -> dict[str, str]:
    """Option -> its part of the help text, without frames and line breaks."""
    with pytest.raises(SystemExit, match=r"^0$"):
        parse(config, name, ["--help"])
    text = re.sub(r"[\s│╭╮╰╯─]+", " ", capsys.readouterr().out)
    text = text.replace(", --no", "/--no").partition(" options ")[2]
    parts = re.split(r" (?=--[a-z][a-z0-9-]*[ /])", text)
    return {part.split()[0].partition("/")[0]: part for part in parts[1:]}


def test_the_defaults():
    given = dataclasses.asdict(parse(VggConfig, "cifar_vgg", []))
    assert given == dataclasses.asdict(Config()) | OWN_DEFAULTS
    assert VggConfig.PREFERRED == "cifar10"


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("--augment", {"augment": True}),
        ("--no-augment", {"augment": False}),
        ("--no-standardize", {"standardize": False}),
        ("--dataset cifar10", {"dataset": "cifar10"}),
        ("--dataset digits", {"dataset": "digits"}),
        *((f"--dtype {name}", {"dtype": name}) for name in ("float32", "bfloat16")),
        ("--split --prune-where all", {"split": True, "prune_where": "all"}),
    ],
)
def test_options(words, changes):
    expected = dataclasses.replace(VggConfig(), **changes)
    assert parse(VggConfig, "cifar_vgg", words.split()) == expected


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Config, "--augment"),
        (Config, "--no-augment"),
        (Config, "--dtype bfloat16"),
        (Config, "--dataset cifar10"),
        (VggConfig, "--dataset mnist"),
        (VggConfig, "--dtype float16"),
    ],
)
def test_what_another_experiment_takes_is_refused(config, words, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        parse(config, "example", words.split())
    assert words.split()[0] in capsys.readouterr().err


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
@pytest.mark.parametrize("optimizer", [*MULTI_GRADIENT, *BASELINES])
def test_resolved_defaults(optimizer, dataset):
    """The original's, where MRMSprop's learning rate is a tenth of SMGD's, but for the
    weights."""
    resolved = resolve(VggConfig(optimizer=optimizer), dataset)
    epochs = {"cifar10": 125, "digits": 20}[dataset]
    sgd_like = optimizer in ("smgd", "sgd")
    rate = 1e-2 if sgd_like else 1e-3
    assert resolved == VggConfig(
        optimizer=optimizer,
        epochs=epochs,
        learning_rate=rate,
        decay=rate / epochs if sgd_like else 0.0,
        momentum=0.9 if sgd_like else None,
        l1=0.03 if optimizer in BASELINES else None,
        weights=WEIGHTS if optimizer in ("madam", "mrmsprop") else None,
    )
    assert (resolved.batch_size, resolved.conv_l2) == (64, 1e-6)
    assert (resolved.threshold, resolved.schedule) == (1e-3, "logistic")
    assert resolved.standardize


@pytest.mark.parametrize("optimizer", ["madam", "mrmsprop"])
@pytest.mark.parametrize(
    "words",
    ["--split", "--normalize loss+", "--weigh-by gradients", "--weigh-by directions"],
)
def test_who_asks_for_weights_of_least_norm_gets_them(words, optimizer):
    given = parse(VggConfig, "cifar_vgg", ["--optimizer", optimizer, *words.split()])
    resolved = resolve(given, "cifar10")
    assert resolved.weights is None
    assert resolved.weigh_by == (given.weigh_by or "directions")


def test_given_weights_are_kept():
    for config in (VggConfig, Config):
        resolved = resolve(config(weights=(0.5, 0.25)), "digits")
        assert (resolved.weights, resolved.weigh_by) == ((0.5, 0.25), None)
    assert resolve(VggConfig(optimizer="smgd", weights=(1, 0)), "digits").weights == (
        1,
        0,
    )


def test_before_the_data_are_found_the_epochs_are_those_of_the_preferred():
    assert resolve(VggConfig(), "auto").epochs == 125
    assert resolve(Config(), "auto").epochs == 30


def test_the_help_of_inherited_options(capsys):
    """Their texts are those of mnist_lenet, their defaults VGG's own."""
    own, lenet = (helps(config, name, capsys) for config, name in reversed(EXPERIMENTS))
    assert set(own) - set(lenet) == {"--augment", "--dtype"}
    for field in dataclasses.fields(VggConfig):
        option = "--" + field.name.replace("_", "-")
        text = own[option]
        assert len(text.split()) >= 5, text  # its name, its values, and some words
        if field.default is not None:
            assert f"default: {field.default}" in text
        own_texts = {"dataset", "epochs", "l1", "weights", "augment", "dtype"}
        if field.name not in own_texts:
            said, same = (
                part.partition("(default: ")[0].strip()
                for part in (text, lenet[option])
            )
            assert said == same
    assert "CIFAR-10" in own["--dataset"]
    assert "default 125; 20 on the digits" in own["--epochs"]
    assert "default 0.03" in own["--l1"]
    assert "default 0.9 0.1 for madam and mrmsprop, unless" in own["--weights"]
    assert "4 pixels of padding" in own["--augment"]


# Options that do not go together

SPLIT = [
    ({"weights": (0.9, 0.1)}, r"--split finds weights for two groups .* --weights fix"),
    ({"l1_where": "all"}, r"--split puts the l2 norm .*, --l1-where all their l1 norm"),
]


@pytest.mark.parametrize("config", [Config, VggConfig])
@pytest.mark.parametrize(("options", "message"), SPLIT)
def test_what_split_does_not_go_with(config, options, message):
    given = config(split=True, **options)
    with pytest.raises(ConfigError, match=rf"{message}.*Leave one of the two out\.$"):
        resolve(given, "digits")
    assert resolve(dataclasses.replace(given, split=False), "digits")
    assert resolve(config(split=True), "digits").split


@pytest.mark.parametrize("optimizer", BASELINES)
def test_a_baseline_has_no_weights_to_split(optimizer):
    message = (
        rf"^--split has no meaning for --optimizer {optimizer}; it is for smgd, madam, "
        r"mrmsprop\. Leave it out, or choose one of these\.$"
    )
    with pytest.raises(ConfigError, match=message):
        resolve(VggConfig(optimizer=optimizer, split=True), "cifar10")
