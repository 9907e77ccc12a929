"""The flags of ``python -m finetune.glue``, frozen: whoever changes one changes this list, and the changelog."""

from __future__ import annotations

import subprocess
import sys

import pytest

from finetune.glue import _parser
from finetune.settings import Settings
from shards.errors import UsageError

FLAGS = {
    "--allow-unk",
    "--amp",
    "--batch-size",
    "--data",
    "--data-dir",
    "--debug",
    "--device",
    "--dropout",
    "--encoder-dropout",
    "--engine",
    "--epochs",
    "--eval-steps",
    "--grad-clip",
    "--help",
    "--hub-id",
    "--init-from",
    "--json",
    "--label-smoothing",
    "--layer-decay",
    "--learning-rate",
    "--length-window",
    "--logging-steps",
    "--lr-schedule",
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
    "--task",
    "--warmup",
    "--weight-decay",
    "--workers",
}


def test_the_flags_are_these() -> None:
    found = {flag for action in _parser()._actions for flag in action.option_strings if flag.startswith("--")}
    assert found == FLAGS


def test_help_loads_none_of_the_heavy_packages() -> None:
    program = (
        "import sys\n"
        "from finetune.glue import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
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
