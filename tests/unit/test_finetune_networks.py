"""Fine-tuning starts from a checkpoint of any architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrain.checkpoint import Contents, resolve_model, write_checkpoint
from pretrain.config import ARCHITECTURES, ModelConfig
from pretrain.environment import start

start("cpu")

import paddle  # noqa: E402

from finetune.train import load_encoder  # noqa: E402
from pretrain.heads import PretrainingModel, SequenceClassifier  # noqa: E402
from pretrain.weights import named_weights  # noqa: E402


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_classifier_takes_over_encoder_and_pooler(
    architecture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ModelConfig(
        architecture=architecture, vocab_size=30, hidden_size=16, embedding_size=16, num_layers=1, num_heads=4,
        intermediate_size=24, max_positions=16,
    )  # fmt: skip
    paddle.seed(1)
    weights = named_weights(PretrainingModel(config))
    contents = Contents(
        step=0,
        model=weights,
        optimizer=None,
        state={"tokenizer_hash": "0" * 64},
        config=config,
        tokenizer_files={"vocab.txt": b"a\n"},
    )
    write_checkpoint(tmp_path / "model", contents)
    paddle.seed(2)
    classifier = SequenceClassifier(config, num_classes=2)
    load_encoder(classifier, resolve_model(tmp_path / "model"))
    for name, value in named_weights(classifier).items():
        if not name.startswith("classifier."):
            np.testing.assert_array_equal(value, weights[name])
    assert capsys.readouterr().out == ""
