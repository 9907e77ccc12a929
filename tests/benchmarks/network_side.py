"""One side of the network benchmark, a process of its own: builds a network, then does training steps on demand.

``python -m tests.benchmarks.network_side SIDE SETTINGS``: for each number N read from stdin, N steps, and one line of JSON
{wall_s, cpu_s, loss} on stdout. SIDE is `ours`, `paddlenlp` or `transformers`; SETTINGS is `Settings` as JSON. Needs nothing
but the libraries of its side, so that a peer may live in an environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LEARNING_RATE, WEIGHT_DECAY, GRAD_CLIP = 1e-4, 0.01, 1.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The network, the batch and the threads. Every row is full: no padding.

    prepared: PaddleNLP is given the variables and the allocator settings of `pretrain.environment` too.
    """

    architecture: str = "roformer"
    vocab_size: int = 12000
    layers: int = 6
    hidden: int = 384
    heads: int = 6
    rows: int = 16
    length: int = 128
    threads: int = 2
    dropout: float = 0.1
    prepared: bool = False


def batch(settings: Settings) -> dict[str, Any]:
    """Return a batch of random ids in two segments, with 15 % of the tokens masked; the same one for all sides."""
    random = np.random.default_rng(0)
    ids = random.integers(5, settings.vocab_size, (settings.rows, settings.length))
    types = np.zeros_like(ids)
    types[:, settings.length // 2 :] = 1
    count = round(0.15 * settings.length)
    columns = np.stack([np.sort(random.permutation(np.arange(1, settings.length))[:count]) for _ in range(settings.rows)])
    positions = (columns + settings.length * np.arange(settings.rows)[:, None]).reshape(-1)
    labels = np.full(ids.size, -100)
    labels[positions] = ids.reshape(-1)[positions]
    seen = ids.reshape(-1).copy()
    seen[positions] = 4
    return {
        "ids": seen.reshape(ids.shape), "types": types, "positions": positions, "labels": labels.reshape(ids.shape),
        "sop": random.integers(0, 2, settings.rows),
    }  # fmt: skip


def _ours(settings: Settings) -> Callable[[], float]:
    from pretrain.environment import start

    start("cpu")
    import paddle

    from pretrain.config import ModelConfig
    from pretrain.objectives import MaskedTokens
    from pretrain.optimizer import Optimizer

    objective = MaskedTokens(sop=True)
    paddle.seed(0)
    network = objective.build(
        ModelConfig(
            architecture=settings.architecture, vocab_size=settings.vocab_size, hidden_size=settings.hidden,
            embedding_size=settings.hidden, num_layers=settings.layers, num_heads=settings.heads,
            intermediate_size=4 * settings.hidden, max_positions=512, dropout=settings.dropout,
            attention_dropout=settings.dropout,
        )
    )  # fmt: skip
    network.train()
    optimizer = Optimizer(network, weight_decay=WEIGHT_DECAY, grad_clip=GRAD_CLIP)
    data = batch(settings)
    given = {
        "input_ids": data["ids"], "token_type_ids": data["types"], "lengths": np.full(settings.rows, settings.length),
        "masked_positions": data["positions"], "masked_labels": data["labels"].reshape(-1)[data["positions"]],
        "sop_labels": data["sop"],
    }  # fmt: skip
    tensors = {name: paddle.to_tensor(array) for name, array in given.items()}
    counts = (len(data["positions"]), settings.rows, data["ids"].size)

    def step() -> float:
        shares = objective.shares(network, tensors, counts)
        shares.loss.backward()
        squared_norm, loss = paddle.concat([optimizer.squared_norm(), shares.loss.reshape([1])]).numpy().tolist()
        optimizer.update(float(squared_norm) ** 0.5, LEARNING_RATE)
        return float(loss)

    return step


def _paddlenlp(settings: Settings) -> Callable[[], float]:
    if settings.prepared:
        from pretrain.environment import prepare

        prepare()
    import paddle
    from paddlenlp.transformers import RoFormerConfig, RoFormerForMaskedLM

    paddle.set_device("cpu")
    paddle.seed(0)
    network = RoFormerForMaskedLM(
        RoFormerConfig(
            vocab_size=settings.vocab_size, hidden_size=settings.hidden, num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads, intermediate_size=4 * settings.hidden, max_position_embeddings=512,
            embedding_size=settings.hidden, hidden_dropout_prob=settings.dropout, attention_probs_dropout_prob=settings.dropout,
        )
    )  # fmt: skip
    network.train()
    decayed = {p.name for p in network.parameters() if p.ndim > 1}
    optimizer = paddle.optimizer.AdamW(
        learning_rate=LEARNING_RATE, parameters=network.parameters(), weight_decay=WEIGHT_DECAY, epsilon=1e-6,
        grad_clip=paddle.nn.ClipGradByGlobalNorm(GRAD_CLIP), apply_decay_param_fun=decayed.__contains__,
    )  # fmt: skip
    data = {name: paddle.to_tensor(array) for name, array in batch(settings).items()}

    def step() -> float:
        loss, _ = network(input_ids=data["ids"], token_type_ids=data["types"], labels=data["labels"])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


def _transformers(settings: Settings) -> Callable[[], float]:
    import torch
    from transformers import RoFormerConfig, RoFormerForMaskedLM

    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    network = RoFormerForMaskedLM(
        RoFormerConfig(
            vocab_size=settings.vocab_size, hidden_size=settings.hidden, num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads, intermediate_size=4 * settings.hidden, max_position_embeddings=512,
            embedding_size=settings.hidden, hidden_dropout_prob=settings.dropout, attention_probs_dropout_prob=settings.dropout,
        )
    )  # fmt: skip
    network.train()
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, eps=1e-6)
    data = {name: torch.from_numpy(array) for name, array in batch(settings).items()}

    def step() -> float:
        loss = network(input_ids=data["ids"], token_type_ids=data["types"], labels=data["labels"]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return step


def main() -> None:
    side, settings = sys.argv[1], Settings(**json.loads(sys.argv[2]))
    # Libraries write to stdout as they please: what is said to the caller goes through a copy of it.
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    step = {"ours": _ours, "paddlenlp": _paddlenlp, "transformers": _transformers}[side](settings)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            loss = step()
        done = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "loss": loss}
        print(json.dumps(done), file=told, flush=True)


if __name__ == "__main__":
    main()
