"""The networks of PaddleNLP as `pretrain.compare_batch.Network`. The only module that imports paddlenlp.

That import replaces methods of paddle's transformer layers, none of which is ours. Two of its networks are put right here, for
what is compared is the arithmetic that was meant: ConvBERT's classifier is fed with the first token (theirs feeds it with what a
pooler made of it), and its discriminator, which crashes, is put together from its parts.

Legend: B rows of the batch, L padded length.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, Final

import paddle
from paddle import Tensor, nn

from pretrain.attention import select_rows
from pretrain.compare_batch import NUM_CLASSES, Batch
from pretrain.compare_paddle import Made, PaddleNetwork, real_tokens, tensors
from pretrain.config import ModelConfig
from pretrain.names import WeightName, sequence_classifier_names, token_classifier_names, weight_names
from pretrain.names_rtd import discriminator_names
from pretrain.published_config import PADDLENLP, config_json
from shards.manifest import SpecialIds

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import paddlenlp.transformers as peers

_FAMILIES: Final = {
    "roformer": "RoFormer", "roformer_v2": "RoFormerv2", "bert": "Bert", "roberta": "Roberta", "convbert": "ConvBert",
}  # fmt: skip
_MASKED: Final = {"bert": "ForPretraining", "convbert": "Generator"}
# What follows the pooler, or the first layer of a two-layer head, in their sequence classifiers.
POOL_ACTS: Final = {"roformer": "tanh", "bert": "tanh", "roberta": "tanh", "convbert": "gelu", "roformer_v2": "tanh"}
_SPECIAL: Final = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)  # without effect on what is computed


def their_config(config: ModelConfig) -> Any:
    """Return PaddleNLP's config of one of our networks, as it is written for an export."""
    content = config_json(config, PADDLENLP, "", _SPECIAL, dtype="float32")
    settings = {key: value for key, value in content.items() if key not in ("architectures", "model_type", "dtype")}
    return their_class(config, "Config")(**settings, num_labels=NUM_CLASSES)


def their_class(config: ModelConfig, name: str) -> Any:
    """Return the class `name` of an architecture's family, as in RoFormerForMaskedLM."""
    return getattr(peers, f"{_FAMILIES[config.architecture]}{name}")


def build_network(config: ModelConfig, kind: str) -> PaddleNetwork:
    """Return PaddleNLP's network of a kind: "pretraining", "sequence", "token" or "discriminator"."""
    theirs = their_config(config)
    unused: tuple[str, ...] = ()
    names: Sequence[WeightName]
    if kind == "pretraining":
        layer, make = their_class(config, _MASKED.get(config.architecture, "ForMaskedLM"))(theirs), _pretraining
        names = weight_names(config)
        if config.architecture == "roberta":  # it is made without a pooler there
            names = [name for name in names if ".pooler." not in name.ours]
    elif kind == "discriminator":
        layer, make = their_class(config, "Model")(theirs), _discriminator
        layer = _Detector(config.prefix, layer, peers.ConvBertDiscriminator(_electra(config)).discriminator_predictions)
        # Only ConvBERT has this head there; on another encoder it keeps our name.
        names = [dataclasses.replace(name, paddlenlp=name.paddlenlp or name.ours) for name in discriminator_names(config)]
        unused = (".pooler.",)
    elif kind == "sequence":
        layer, make = their_class(config, "ForSequenceClassification")(theirs), _sequence
        names = sequence_classifier_names(config)
        unused = ("convbert.pooler.",)
    else:
        layer, make = their_class(config, "ForTokenClassification")(theirs), _token
        names = token_classifier_names(config)
        unused = (".pooler.",)
    named = {name.ours: name.paddlenlp for name in names if name.paddlenlp is not None}
    return PaddleNetwork(layer, make, named, unused=unused)


class _Detector(nn.Layer):
    def __init__(self, prefix: str, body: nn.Layer, head: nn.Layer) -> None:
        super().__init__()
        self._prefix = prefix
        self.add_sublayer(prefix, body)
        self.discriminator_predictions = head

    @property
    def body(self) -> Any:
        return getattr(self, self._prefix)


def _electra(config: ModelConfig) -> Any:
    """Return a config for a ConvBERT of one layer, whose head is as wide as the network."""
    return peers.ConvBertConfig(
        vocab_size=2, hidden_size=config.hidden_size, num_hidden_layers=1, num_attention_heads=2, intermediate_size=1,
        embedding_size=config.hidden_size,
    )  # fmt: skip


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def _inputs(batch: Batch) -> tuple[Tensor, Tensor]:
    ids_BL, types_BL, _ = tensors(batch)
    return ids_BL, types_BL


def _pretraining(model: Any, batch: Batch) -> Made:
    ids_BL, types_BL = _inputs(batch)
    base = getattr(model, model.base_model_prefix)(ids_BL, types_BL)
    logits = model(ids_BL, types_BL)
    made = {
        "hidden": real_tokens(_first(base), batch),
        "mlm": select_rows(_first(logits), paddle.to_tensor(batch.masked_M)),
    }
    if isinstance(base, tuple) and len(base) > 1 and base[1] is not None:
        made["pooler"] = base[1]
    if model.base_model_prefix == "bert":
        made["sop"] = logits[1]
    return made, {}


def _sequence(model: Any, batch: Batch) -> Made:
    if model.base_model_prefix == "convbert":
        return {"sequence": model.classifier(_first(model.convbert(*_inputs(batch)))[:, 0])}, {}
    return {"sequence": _first(model(*_inputs(batch)))}, {}


def _token(model: Any, batch: Batch) -> Made:
    return {"token": real_tokens(_first(model(*_inputs(batch))), batch)}, {}


def _discriminator(model: Any, batch: Batch) -> Made:
    logits_BL = model.discriminator_predictions(_first(model.body(*_inputs(batch))))
    return {"discriminator": real_tokens(logits_BL, batch)}, {}
