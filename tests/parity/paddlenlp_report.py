"""Compare every network and head with PaddleNLP's, on random weights, and print the differences as one JSON object.

Run by `test_paddlenlp.py` in a process of its own: importing paddlenlp replaces methods of paddle's classes, and warns a lot.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pretrain.environment import start

start("cpu")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import paddle  # noqa: E402
import paddlenlp.transformers as peers  # noqa: E402

from pretrain.config import ModelConfig  # noqa: E402
from pretrain.heads import DiscriminatorHead, PretrainingModel, SequenceClassifier, TokenClassifier  # noqa: E402
from pretrain.names import weight_names  # noqa: E402

WIDTH, LENGTHS = 20, {"unpadded": [20, 20, 20], "padded": [20, 13, 5]}
ROWS = np.array([1, 4, 9, 22, 32, 43])
VOCAB = 90


@dataclass(frozen=True, kw_only=True)
class Case:
    """A small config of ours, PaddleNLP's config class and the names of its model classes."""

    ours: ModelConfig
    config: str
    models: dict[str, str]
    more: dict[str, Any]


def small(architecture: str, **changes: Any) -> ModelConfig:
    settings: dict[str, Any] = {
        "vocab_size": VOCAB, "hidden_size": 48, "embedding_size": 48, "num_layers": 3, "num_heads": 4, "intermediate_size": 96,
        "max_positions": 64, "dropout": 0.0, "attention_dropout": 0.0,
    }  # fmt: skip
    return ModelConfig(architecture=architecture, **(settings | changes))


def models(family: str, **changes: str) -> dict[str, str]:
    names = {"mlm": "MaskedLM", "sequence": "SequenceClassification", "token": "TokenClassification"}
    return {head: f"{family}For{name}" for head, name in names.items()} | changes


CASES = {
    "roformer": Case(ours=small("roformer"), config="RoFormerConfig", models=models("RoFormer"), more={"embedding_size": 48}),
    "roformer-projected": Case(
        ours=small("roformer", embedding_size=32, rotary_value=True, pool_act="linear"), config="RoFormerConfig",
        models=models("RoFormer"), more={"embedding_size": 32, "rotary_value": True, "pool_act": "linear"},
    ),
    "roformer-v2": Case(ours=small("roformer_v2"), config="RoFormerv2Config", models=models("RoFormerv2"), more={}),
    "bert": Case(ours=small("bert"), config="BertConfig", models=models("Bert", mlm="BertForPretraining"), more={}),
    "roberta": Case(
        ours=small("roberta", type_vocab_size=1, layer_norm_eps=1e-5, pad_id=1), config="RobertaConfig", models=models("Roberta"),
        more={"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1, "max_position_embeddings": 66},
    ),
    "convbert": Case(
        ours=small("convbert", embedding_size=32, conv_sees_padding=True), config="ConvBertConfig",
        models=models("ConvBert", mlm="ConvBertGenerator"), more={"embedding_size": 32},
    ),
    "convbert-grouped": Case(
        ours=small("convbert", num_heads=8, num_groups=2, conv_kernel_size=5, conv_sees_padding=True), config="ConvBertConfig",
        models=models("ConvBert", mlm="ConvBertGenerator"),
        more={"embedding_size": 48, "num_attention_heads": 8, "num_groups": 2, "conv_kernel_size": 5},
    ),
}  # fmt: skip


def their_config(case: Case) -> Any:
    settings: dict[str, Any] = {
        "vocab_size": VOCAB, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
        "max_position_embeddings": 64, "pad_token_id": 0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        "type_vocab_size": 2, "num_labels": 3, "layer_norm_eps": 1e-12,
    }  # fmt: skip
    return getattr(peers, case.config)(**(settings | case.more))


def scatter(model: Any, config: ModelConfig) -> None:
    """Give a model weights that hide nothing: none of them 0 or 1, but the padding's word embedding, which theirs never reads."""
    random = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        noise = random.normal(0, 0.2, parameter.shape)
        value = noise + (parameter.numpy() if parameter.ndim == 1 else 0)
        if name.endswith("word_embeddings.weight"):
            value[config.pad_id] = 0
        parameter.set_value(value.astype("float32"))


def copy(theirs: dict[str, Any], ours: Any, names: dict[str, str]) -> tuple[list[str], list[str]]:
    """Copy weights by name; return the names of theirs that found no place, and of ours that got nothing."""
    wanted = dict(ours.named_parameters())
    given = {names[name]: value for name, value in theirs.items() if names.get(name) in wanted}
    for name, value in given.items():
        assert tuple(value.shape) == tuple(wanted[name].shape), (name, value.shape, wanted[name].shape)
        wanted[name].set_value(value.numpy())
    return sorted(n for n in theirs if names.get(n) not in wanted), sorted(set(wanted) - set(given))


def batch(config: ModelConfig, lengths: list[int]) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(1)
    ids = random.integers(5, VOCAB, (len(lengths), WIDTH))
    ids[np.arange(WIDTH)[None] >= np.array(lengths)[:, None]] = config.pad_id
    types = random.integers(0, config.type_vocab_size, ids.shape)
    return paddle.to_tensor(ids), paddle.to_tensor(types), paddle.to_tensor(lengths)


def logits_of(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def difference(ours: Any, theirs: Any) -> dict[str, float]:
    apart = np.abs(ours.numpy().astype(np.float64) - theirs.numpy().astype(np.float64))
    return {"max": float(apart.max()), "mean": float(apart.mean())}


def compare_pretraining(case: Case) -> Iterator[tuple[str, Any]]:
    config = case.ours
    theirs, ours = getattr(peers, case.models["mlm"])(their_config(case)), PretrainingModel(config)
    scatter(theirs, config)
    theirs.train(), ours.train()
    names = {name.paddlenlp: name.ours for name in weight_names(config) if name.paddlenlp is not None}
    given = dict(theirs.named_parameters())
    unplaced, fresh = copy(given, ours, names)
    yield "weights", {"unplaced": unplaced, "fresh": fresh}
    base = getattr(theirs, config.prefix)
    for kind, lengths in LENGTHS.items():
        ids, types, sizes = batch(config, lengths)
        real = paddle.to_tensor(np.flatnonzero(np.arange(WIDTH)[None] < np.array(lengths)[:, None]))
        rows = paddle.to_tensor([row for row in ROWS.tolist() if row % WIDTH < lengths[row // WIDTH]])
        output = base(ids, types)
        hidden_theirs = logits_of(output)
        hidden_ours = ours.encoder(ids, types, sizes)
        yield f"{kind} hidden", difference(*(paddle.gather(h.reshape([-1, 48]), real) for h in (hidden_ours, hidden_theirs)))
        if isinstance(output, tuple) and len(output) > 1 and output[1] is not None:
            yield f"{kind} pooler", difference(ours.encoder.pooler(hidden_ours[:, 0]), output[1])
        found = theirs(ids, types)
        logits_theirs = paddle.gather(logits_of(found).reshape([-1, VOCAB]), rows)
        logits_ours, order_ours = ours(ids, types, sizes, rows)
        yield f"{kind} mlm", difference(logits_ours, logits_theirs)
        if case.models["mlm"] == "BertForPretraining":
            yield f"{kind} sop", difference(order_ours, found[1])
        factor = paddle.to_tensor(np.random.default_rng(2).normal(size=logits_ours.shape).astype("float32"))
        theirs.clear_gradients(), ours.clear_gradients()
        (logits_theirs * factor).mean().backward(), (logits_ours * factor).mean().backward()
        own = dict(ours.named_parameters())
        for name, parameter in given.items():
            if parameter.grad is not None and names.get(name) in own and own[names[name]].grad is not None:
                mine, their = own[names[name]].grad, parameter.grad
                if name.endswith("word_embeddings.weight"):  # theirs never learns the padding's row
                    mine, their = mine[5:], their[5:]
                yield f"{kind} gradient {name}", difference(mine, their)


def compare_classifiers(case: Case, head: str, make: Callable[[ModelConfig, int], Any]) -> Iterator[tuple[str, Any]]:
    config = case.ours
    if case.models[head] == "ConvBertForSequenceClassification":
        config = replace(config, pool_act="gelu")
    theirs = getattr(peers, case.models[head])(their_config(case))
    scatter(theirs, config)
    theirs.eval()
    ours = make(config, 3)
    ours.eval()
    given = dict(theirs.named_parameters())
    names = {name: name for name in given}
    if any(name.startswith("classifier.dense") for name in given):  # our pooler is the first layer of their head
        names = {name: name for name in given if ".pooler." not in name}
        for kind in ("weight", "bias"):
            names |= {
                f"classifier.dense.{kind}": f"{config.prefix}.pooler.dense.{kind}",
                f"classifier.out_proj.{kind}": f"classifier.{kind}",
            }
    _, fresh = copy(given, ours, names)
    yield f"{head} weights", {"fresh": fresh}
    for kind, lengths in LENGTHS.items():
        ids, types, sizes = batch(config, lengths)
        found, expected = ours(ids, types, sizes), logits_of(theirs(ids, types))
        if case.models[head] == "ConvBertForSequenceClassification":
            # Theirs feeds the head with what the pooler made; transformers, whose head it is, with the first token.
            yield f"{kind} pooled twice", difference(found, expected)
            expected = theirs.classifier(theirs.convbert(ids, types)[0][:, 0])
        if head == "token":
            real = paddle.to_tensor(np.flatnonzero(np.arange(WIDTH)[None] < np.array(lengths)[:, None]))
            found, expected = (paddle.gather(t.reshape([-1, 3]), real) for t in (found, expected))
        yield f"{kind} {head}", difference(found, expected)


def compare_discriminator() -> dict[str, float]:
    case = CASES["convbert"]
    theirs, ours = peers.ConvBertDiscriminator(their_config(case)).discriminator_predictions, DiscriminatorHead(case.ours)
    scatter(theirs, case.ours)
    given = dict(theirs.named_parameters())
    copy(given, ours, {name: name for name in given})
    hidden = paddle.to_tensor(np.random.default_rng(3).normal(size=(4, 7, 48)).astype("float32"))
    return difference(ours(hidden), theirs(hidden))


def their_mistakes() -> dict[str, Any]:
    """What PaddleNLP does that we do not."""
    config = peers.RoFormerv2Config(
        vocab_size=90, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128
    )
    weight = peers.RoFormerv2Model(config).encoder.layers[0].self_attn.q_proj.weight.numpy()
    roformer = peers.RoFormerConfig(embedding_size=32, hidden_size=48, num_hidden_layers=1, architectures=["RoFormerForMaskedLM"])
    roberta = peers.RobertaConfig(num_hidden_layers=1, architectures=["RobertaForMaskedLM"])
    mapped = {m.source_name: m.action for m in peers.RobertaForMaskedLM._get_name_mappings(roberta)}
    total = peers.ConvBertForTotalPretraining(their_config(CASES["convbert"]))
    blocks = [sum(p.size for p in part.convbert.encoder.parameters()) for part in (total.generator, total.discriminator)]
    try:
        peers.ConvBertDiscriminator(their_config(CASES["convbert"]))(batch(CASES["convbert"].ours, [20])[0])
        crash = ""
    except ValueError as error:
        crash = str(error)
    return {
        "roformer_v2_sd": float(weight.std()),
        "roformer_maps": [m.source_name for m in peers.RoFormerForMaskedLM._get_name_mappings(roformer)],
        "roberta_actions": {
            name: mapped[name] for name in ("lm_head.dense.weight", "roberta.encoder.layer.0.intermediate.dense.weight")
        },
        "rtd_block_weights": blocks,
        "discriminator_crash": crash,
    }


def maps_apart(name: str, model: str) -> list[list[Any]]:
    """Return [their target, their source and action, our names for it] wherever their conversion and our table differ."""
    case = CASES[name]
    config = their_config(case)
    config.architectures = [model]
    ours = {w.paddlenlp: (w.transformers, w.layout == "transposed") for w in weight_names(case.ours)}
    apart = []
    for mapping in getattr(peers, model)._get_name_mappings(config):
        theirs = (mapping.source_name, mapping.action == "transpose")
        if ours.get(mapping.target_name) != theirs:
            apart.append([mapping.target_name, theirs, ours.get(mapping.target_name)])
    return apart


def main() -> None:
    report: dict[str, Any] = {}
    for name, case in CASES.items():
        paddle.seed(0)
        found = dict(compare_pretraining(case))
        for head, make in (("sequence", SequenceClassifier), ("token", TokenClassifier)):
            found |= dict(compare_classifiers(case, head, make))
        report[name] = found
    report["discriminator"] = compare_discriminator()
    report["mistakes"] = their_mistakes()
    report["maps"] = {
        "roformer": maps_apart("roformer", "RoFormerForMaskedLM"), "bert": maps_apart("bert", "BertForPretraining"),
        "roberta": maps_apart("roberta", "RobertaForMaskedLM"),
    }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main()
