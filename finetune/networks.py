"""The network of a task: encoder, head, the weights it starts from, and how fast each layer learns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from finetune.initial import Start, with_dropout
from finetune.settings import Settings
from finetune.targets import new_network
from finetune.task import Task
from pretrain.weights import load_into

HEAD = "classifier."
_LAYER = re.compile(r"\.layers\.(\d+)\.")


def build_network(task: Task, start: Start, settings: Settings, *, say: Callable[[str], None] = print) -> Any:
    """Return the task's network with the start's weights; what the start has none of is drawn from paddle's generator.

    Raises WeightsError, naming what is missing, unexpected or mis-shaped.
    """
    network = new_network(task, with_dropout(start.saved, settings.encoder_dropout).config, settings)
    if not start.is_random:
        _load(network, start, task, settings, say)
    return network


def _load(network: Any, start: Start, task: Task, settings: Settings, say: Callable[[str], None]) -> None:
    """Load the encoder, and the head where it is the same one; other heads of the checkpoint are left behind."""
    saved, prefix = start.saved, start.saved.config.prefix
    body, pooler = f"{prefix}.", f"{prefix}.pooler."
    keeps_head = start.head is not None and start.head.fits(task.kind, task.labels, settings.pooling)
    has_pooler = any(name.startswith(pooler) for name in network.state_dict())
    wanted = (body, HEAD) if keeps_head else (body,)
    weights = {name: array for name, array in saved.weights().items() if name.startswith(wanted)}
    may_lack = (pooler,) if keeps_head else (HEAD, pooler)
    load_into(network, weights, may_lack=may_lack, may_ignore=() if has_pooler else (pooler,), where=saved.path)
    if start.head is not None and not keeps_head:
        say(f"the head of {start.head.task} is left behind: {task.name} has other labels or another pooling")
    if has_pooler and not any(name.startswith(pooler) for name in weights):
        say("the checkpoint has no pooler: it starts from random weights, as the head does")


def slow_down_lower_layers(network: Any, num_layers: int, decay: float) -> None:
    """Scale every weight's learning rate by decay^(layers above it), as ELECTRA does (Clark et al., ICLR 2020, appendix B).

    Embeddings, and what projects them, stand below the first layer; pooler and head learn at the full rate.
    """
    for name, parameter in network.named_parameters():
        parameter.optimize_attr["learning_rate"] = decay ** (num_layers + 1 - depth_of(name, num_layers))


def depth_of(name: str, num_layers: int) -> int:
    """Return where a weight stands by its structured name: 0 embeddings, 1 to num_layers the layers, then pooler and head."""
    found = _LAYER.search(name)
    if found is not None:
        return int(found[1]) + 1
    return num_layers + 1 if name.startswith(HEAD) or ".pooler." in name else 0
