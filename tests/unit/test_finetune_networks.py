"""Fine-tuning starts from a checkpoint of any architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrain.checkpoint import Contents, write_checkpoint
from pretrain.config import ARCHITECTURES, ModelConfig
from pretrain.environment import start

start("cpu")

import paddle  # noqa: E402

from finetune.initial import choose_start  # noqa: E402
from finetune.networks import build_network  # noqa: E402
from finetune.settings import Settings  # noqa: E402
from finetune.tasks import TASKS  # noqa: E402
from pretrain.heads import PretrainingModel  # noqa: E402
from pretrain.weights import named_weights  # noqa: E402


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_classifier_takes_over_encoder_and_pooler(architecture: str, tmp_path: Path) -> None:
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
    said: list[str] = []
    settings = Settings(epochs=1, batch_size=8, learning_rate=1e-3)
    begin = choose_start(model=str(tmp_path / "model"))
    classifier = build_network(TASKS["SST-2"], begin, settings, say=said.append)
    for name, value in named_weights(classifier).items():
        if not name.startswith("classifier."):
            np.testing.assert_array_equal(value, weights[name])
    assert said == []
