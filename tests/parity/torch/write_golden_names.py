"""What transformers itself saves: names, types and shapes of tensors, and config.json, of tiny models; for tests without torch.

Regenerate, in the environment of ``make parity``: ``python tests/parity/torch/write_golden_names.py tests/golden/transformers_saves.json``
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import transformers
from safetensors import safe_open

SIZE = {
    "vocab_size": 24, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24,
    "max_position_embeddings": 32, "pad_token_id": 0,
}  # fmt: skip
CASES = {
    "roformer": ("RoFormerForMaskedLM", "RoFormerConfig", {}),
    "roformer-projected": ("RoFormerForMaskedLM", "RoFormerConfig", {"embedding_size": 8, "rotary_value": True}),
    "roformer-encoder": ("RoFormerModel", "RoFormerConfig", {}),
    "bert": ("BertForPreTraining", "BertConfig", {}),
    "bert-mlm": ("BertForMaskedLM", "BertConfig", {}),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "convbert": ("ConvBertForMaskedLM", "ConvBertConfig", {"embedding_size": 8}),
    "convbert-grouped": (
        "ConvBertForMaskedLM",
        "ConvBertConfig",
        {"embedding_size": 8, "num_attention_heads": 8, "num_groups": 2},
    ),
}


def saved(model: str, config: str, more: dict[str, object]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        getattr(transformers, model)(getattr(transformers, config)(**(SIZE | more))).save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", "np") as file:
            tensors = {name: file.get_slice(name) for name in sorted(file.keys())}
            described = {name: [tensor.get_dtype(), *tensor.get_shape()] for name, tensor in tensors.items()}
            metadata = file.metadata()
        return {"config": json.loads(Path(folder, "config.json").read_text()), "metadata": metadata, "tensors": described}


def main() -> None:
    content = {name: saved(*case) for name, case in CASES.items()}
    Path(sys.argv[1]).write_text(json.dumps(content, indent=0, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
