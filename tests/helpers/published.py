"""Models of transformers and PaddleNLP, made without either: random tensors under the names that transformers was seen to save."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from pipeline.tokenizer import Tokenizer
from pretrain.checkpoint import Contents, write_checkpoint
from pretrain.config import ModelConfig
from pretrain.published_weights import sinusoids
from pretrain.shapes import encoder_shapes, head_shapes, rtd_shapes

GOLDEN = Path(__file__).parents[1] / "golden" / "transformers_saves.json"
SEEN: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
VOCABULARY = [*["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], *"今天气很好不坏我们去公园玩，。", "the", "##s", "a", "b"]


def write_transformers_folder(folder: Path, case: str, *, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Write what transformers saves for a case of the golden file, with random weights; return the tensors."""
    seen = SEEN[case]
    random = np.random.default_rng(0)
    tensors = {name: random.normal(0, 0.2, shape).astype(dtype) for name, (_, *shape) in seen["tensors"].items()}
    size = seen["config"]["hidden_size"] // seen["config"]["num_attention_heads"]
    for name in tensors:
        if name.endswith("embed_positions.weight"):
            rows = seen["config"]["max_position_embeddings"]
            network = ModelConfig(
                vocab_size=5,
                hidden_size=size,
                embedding_size=size,
                num_layers=1,
                num_heads=1,
                intermediate_size=1,
                max_positions=rows,
            )
            tensors[name] = sinusoids(network).astype(dtype)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata=seen["metadata"])
    (folder / "config.json").write_text(json.dumps(seen["config"]), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return tensors


def small_network(architecture: str, tokenizer: Tokenizer, **changes: object) -> ModelConfig:
    """Return a tiny network over a tokenizer's vocabulary."""
    fields: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size, "hidden_size": 16, "embedding_size": 16, "num_layers": 2, "num_heads": 4,
        "intermediate_size": 24, "max_positions": 40, "pad_id": tokenizer.special_ids.pad,
    }  # fmt: skip
    if architecture == "roberta":
        fields |= {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return ModelConfig(architecture=architecture, **(fields | changes))


def write_model(folder: Path, config: ModelConfig, tokenizer: Tokenizer, *, objective: str = "mlm-sop") -> dict[str, np.ndarray]:
    """Write a checkpoint of ours with random weights, as training leaves it; return them."""
    random = np.random.default_rng(1)
    shapes = rtd_shapes(config) if objective == "rtd" else encoder_shapes(config) | head_shapes(config)
    weights = {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    state = {"tokenizer_hash": tokenizer.hash, "objective": objective}
    contents = Contents(step=3, model=weights, optimizer=None, state=state, config=config, tokenizer_files=tokenizer.files())
    write_checkpoint(folder, contents)
    return weights
