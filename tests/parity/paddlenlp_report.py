"""Compare every network and head with PaddleNLP's, on random weights, and print the differences as one JSON object.

Run by `test_paddlenlp.py` in a process of its own: importing paddlenlp replaces methods of paddle's classes, and warns a lot.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from typing import Any

from pretrain.environment import start

start("cpu")
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import paddle  # noqa: E402
import paddlenlp.transformers as peers  # noqa: E402

from pretrain import compare  # noqa: E402
from pretrain.compare_batch import difference  # noqa: E402
from pretrain.compare_paddle import our_network, random_weights, tensors  # noqa: E402
from pretrain.compare_paddlenlp import POOL_ACTS, build_network, their_class, their_config  # noqa: E402
from pretrain.compare_report import compare_kind, kinds_of  # noqa: E402
from pretrain.names import weight_names  # noqa: E402
from tests.parity.cases import CASES, CONFIGS, V2, batches, small  # noqa: E402

ALL = CONFIGS | {"roformer-v2": V2, "roformer-linear-pooler": small("roformer", pool_act="linear")}


def compared(name: str) -> dict[str, Any]:
    """Return the rows of differences of all kinds of a network, and those of our weights that theirs lacks."""
    config = ALL[name]
    # transformers has all networks but RoFormerV2, and `make parity` goes through all cases with it.
    cases, rows = batches(config), []
    cases = cases if name == "roformer-v2" else {case: cases[case] for case in CASES[:2]}
    for kind in kinds_of(config, against="paddlenlp"):
        # One step is enough to see that optimizers and gradients go together.
        step = kind == "token"
        pool_act = POOL_ACTS[config.architecture]
        rows += list(compare_kind(config, kind, build_network, cases, name=name, pool_act=pool_act, step=step))
    theirs = build_network(config, "pretraining").theirs
    lacked = sorted(n.ours for n in weight_names(config) if n.ours not in theirs)
    return {"rows": [dataclasses.asdict(row) | {"equal": row.is_equal} for row in rows], "lacked": lacked}


def pooled_twice(name: str) -> float:
    """Return how far their ConvBERT's classifier is from the same layers on the first token, as transformers and we have it."""
    config = ALL[name]
    theirs = their_class(config, "ForSequenceClassification")(their_config(config))
    theirs.eval()
    random = np.random.default_rng(0)
    for parameter in theirs.parameters():
        parameter.set_value(random.normal(0, 0.2, parameter.shape).astype("float32"))
    ids, types, _ = tensors(batches(config)["no padding"])
    expected = theirs.classifier(theirs.convbert(ids, types)[0][:, 0])
    return difference(theirs(ids, types).numpy(), expected.numpy()).max


def reads_padding(scale: float) -> float:
    """Return how far we are apart in a ConvBERT whose convolutions read padding, when padding's embedding has values so large."""
    config = ALL["convbert"]
    ours, theirs, batch = our_network(config, "token"), build_network(config, "token"), batches(config)["padding"]
    weights = random_weights(ours, config)
    weights["convbert.embeddings.word_embeddings.weight"][config.pad_id] = scale * np.random.default_rng(0).normal(size=32)
    ours.load(weights), theirs.load(weights)
    return difference(ours.outputs(batch)["token"], theirs.outputs(batch)["token"]).max


def their_mistakes() -> dict[str, Any]:
    """What PaddleNLP does that we do not."""
    config = peers.RoFormerv2Config(
        vocab_size=90, hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128
    )
    weight = peers.RoFormerv2Model(config).encoder.layers[0].self_attn.q_proj.weight.numpy()
    roformer = peers.RoFormerConfig(embedding_size=32, hidden_size=48, num_hidden_layers=1, architectures=["RoFormerForMaskedLM"])
    roberta = peers.RobertaConfig(num_hidden_layers=1, architectures=["RobertaForMaskedLM"])
    mapped = {m.source_name: m.action for m in peers.RobertaForMaskedLM._get_name_mappings(roberta)}
    convbert = their_config(ALL["convbert"])
    total = peers.ConvBertForTotalPretraining(convbert)
    blocks = [sum(p.size for p in part.convbert.encoder.parameters()) for part in (total.generator, total.discriminator)]
    try:
        peers.ConvBertDiscriminator(convbert)(paddle.zeros([1, 20], dtype="int64"))
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
        "pooled_twice": {name: pooled_twice(name) for name in ("convbert", "convbert-grouped")},
        "apart_by_paddings_embedding": [reads_padding(value) for value in (0.0, 0.5)],
    }


def maps_apart(name: str, model: str) -> list[list[Any]]:
    """Return [their target, their source and action, our names for it] wherever their conversion and our table differ."""
    config = their_config(ALL[name])
    config.architectures = [model]
    ours = {w.paddlenlp: (w.transformers, w.layout == "transposed") for w in weight_names(ALL[name])}
    apart = []
    for mapping in getattr(peers, model)._get_name_mappings(config):
        theirs = (mapping.source_name, mapping.action == "transpose")
        if ours.get(mapping.target_name) != theirs:
            apart.append([mapping.target_name, theirs, ours.get(mapping.target_name)])
    return apart


def of_command(run: str) -> dict[str, Any]:
    """Return the figures of ``pretrain.compare --path run``, and what it would exit with."""
    outcome = compare.body(compare.build_parser().parse_args(["--path", run, "--against", "paddlenlp"]))
    return dict(outcome.figures) | {"exit_code": outcome.exit_code, "fingerprint": outcome.fingerprint}


def main(run: str) -> None:
    report: dict[str, Any] = {name: compared(name) for name in ALL}
    report["command"] = of_command(run)
    report["mistakes"] = their_mistakes()
    report["maps"] = {
        "roformer": maps_apart("roformer", "RoFormerForMaskedLM"), "bert": maps_apart("bert", "BertForPretraining"),
        "roberta": maps_apart("roberta", "RobertaForMaskedLM"),
    }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
