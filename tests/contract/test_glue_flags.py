"""The flags of the fine-tuning commands, frozen: whoever changes one changes this list, and the changelog."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from finetune.settings import Settings
from shards.errors import UsageError

# What all of them have; then what each adds.
FLAGS = {
    "--allow-unk",
    "--amp",
    "--batch-size",
    "--debug",
    "--device",
    "--dropout",
    "--encoder-dropout",
    "--engine",
    "--epochs",
    "--eval-steps",
    "--grad-clip",
    "--help",
    "--init-from",
    "--json",
    "--label-smoothing",
    "--layer-decay",
    "--learning-rate",
    "--length-window",
    "--logging-steps",
    "--lr-schedule",
    "--max-dev-rows",
    "--max-seq-len",
    "--max-train-rows",
    "--model",
    "--out",
    "--patience",
    "--pooling",
    "--random-weights",
    "--ray-address",
    "--rerun",
    "--seed",
    "--seeds",
    "--warmup",
    "--weight-decay",
    "--workers",
}
OWN_FLAGS = {
    "glue": {"--data", "--data-dir", "--hub-id", "--predict", "--task"},
    "clue": {"--data", "--data-dir", "--predict", "--task"},
    "thucnews": {"--data", "--data-dir", "--layout"},
    "cail2019_scm": {"--data", "--data-dir", "--swap-seed"},
    "text": {"--columns", "--dev", "--kind", "--labels", "--layout", "--name", "--no-header", "--train"},
    "ner": {"--dev", "--labels", "--layout", "--name", "--train"},
}


@pytest.mark.parametrize("command", OWN_FLAGS)
def test_the_flags_are_these(command: str) -> None:
    parser = importlib.import_module(f"finetune.{command}")._parser()
    found = {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}
    assert found == FLAGS | OWN_FLAGS[command]


def test_help_loads_none_of_the_heavy_packages() -> None:
    program = (
        "import importlib, sys\n"
        f"commands = [importlib.import_module('finetune.' + name).main for name in {list(OWN_FLAGS)}]\n"
        "for main in commands:\n    try:\n        main(['--help'])\n    except SystemExit as end:\n        assert end.code == 0\n"
        "loaded = {'paddle', 'ray', 'datasets', 'tokenizers', 'jieba', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--max-train-rows" in result.stdout


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("epochs", 0, "--epochs must be at least 1, got 0"),
        ("batch_size", -3, "--batch-size must be at least 1, got -3"),
        ("max_train_rows", 0, "--max-train-rows"),
        ("max_dev_rows", 0, "--max-dev-rows must be at least 1, got 0"),
        ("eval_steps", 0, "--eval-steps"),
        ("learning_rate", 0.0, "--learning-rate must be positive, got 0.0"),
        ("learning_rate", float("nan"), "--learning-rate"),
        ("warmup", 1.5, "--warmup is a share"),
        ("weight_decay", -0.1, "--weight-decay"),
        ("layer_decay", 0.0, "--layer-decay is a factor"),
        ("label_smoothing", 1.0, "--label-smoothing must be from 0 to below 1, got 1.0"),
        ("encoder_dropout", -0.5, "--encoder-dropout"),
        ("grad_clip", -1.0, "--grad-clip must be 0 or more"),
        ("patience", 0, "--patience must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_their_flag(field: str, value: float, words: str) -> None:
    usual: dict[str, float] = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    with pytest.raises(UsageError, match=words):
        Settings(**{**usual, field: value})  # type: ignore[arg-type]
