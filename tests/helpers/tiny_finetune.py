"""A finished run that fine-tuning can start from: random weights, and a vocabulary that spells the embedded sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def sample_words() -> list[str]:
    """Return the words of the embedded task rows, and the letters."""
    from finetune.read import read_examples
    from finetune.sample import sample_folder
    from finetune.tasks import TASKS

    texts = read_examples(TASKS["SST-2"], sample_folder() / "train.tsv")[0].texts_a
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    return list(dict.fromkeys([*words, *letters, *(f"##{letter}" for letter in letters)]))


def make_run(folder: Path, name: str, words: Sequence[str]) -> Path:
    """Write a finished run that holds one checkpoint of random weights over a vocabulary of `words`."""
    import paddle

    from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer
    from pretrain.checkpoint import Contents, step_folder, write_checkpoint
    from pretrain.config import ModelConfig
    from pretrain.heads import PretrainingModel
    from pretrain.run_state import begin_run, end_run

    vocabulary = folder / f"{name}-vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.from_vocab_file(vocabulary)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        embedding_size=32,
        num_layers=1,
        num_heads=2,
        intermediate_size=64,
        max_positions=64,
    )
    paddle.seed(1)
    weights = {key: tensor.numpy() for key, tensor in PretrainingModel(config).state_dict().items()}
    run = folder / "runs" / name
    state = {"tokenizer_hash": tokenizer.hash, "data": [{"name": "toy", "fingerprint": "5" * 64}]}
    contents = Contents(step=7, model=weights, optimizer=None, state=state, config=config, tokenizer_files=tokenizer.files())
    write_checkpoint(step_folder(run, 7), contents)
    end_run(run, begin_run(run, {"command": "test"}), {})
    return run
