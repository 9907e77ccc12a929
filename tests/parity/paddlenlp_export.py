"""Load exported folders with the classes of the installed PaddleNLP; print the differences as one JSON object.

Run by `test_paddlenlp_export.py` in a process of its own, as `paddlenlp_report`: ``python -m tests.parity.paddlenlp_export FOLDER``.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from pretrain.environment import start

start("cpu")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import paddle  # noqa: E402
import paddlenlp.transformers as peers  # noqa: E402
from paddlenlp.utils.log import logger  # noqa: E402

from pretrain.checkpoint import resolve_model  # noqa: E402
from pretrain.heads import PretrainingModel  # noqa: E402
from pretrain.weights import load_into  # noqa: E402

IDS = paddle.to_tensor(np.random.default_rng(5).integers(5, 60, (2, 12)))
TEXT = "研究生研究生命起源 hello"
TOKENIZERS = {"roformer-word": "RoFormerTokenizer", "roberta": "RobertaBPETokenizer"}


class Notes(logging.Handler):
    """Keeps what PaddleNLP warns of: weights that were not there, or not used."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "Some weights of" in (text := record.getMessage()):
            self.said.append(text)


def main() -> None:
    root, report = Path(sys.argv[1]), {}
    notes = Notes()
    logger.logger.addHandler(notes)
    for folder in sorted((root / "paddlenlp").iterdir()):
        notes.said = []
        kind = json.loads((folder / "config.json").read_text())["architectures"][0]
        theirs: Any = getattr(peers, kind).from_pretrained(str(folder))
        theirs.eval()
        found = theirs(IDS)
        saved = resolve_model(root / "ours" / folder.name)
        network = PretrainingModel(saved.config)
        load_into(network, saved.weights())
        network.eval()
        mlm, sop = network(IDS, paddle.zeros_like(IDS), paddle.to_tensor([12, 12]), paddle.arange(24))
        logits = found[0] if isinstance(found, tuple) else found
        apart = {"mlm": float((logits.reshape(mlm.shape) - mlm).abs().max())}
        if kind == "BertForPretraining":
            apart["sop"] = float((found[1] - sop).abs().max())
        ids = getattr(peers, TOKENIZERS.get(folder.name, "BertTokenizer")).from_pretrained(str(folder))(TEXT)["input_ids"]
        report[folder.name] = {"apart": apart, "notes": notes.said, "ids": ids}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
