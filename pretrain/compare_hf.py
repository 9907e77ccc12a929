"""The networks of transformers, on torch, as `pretrain.compare_batch.Network`. The only module that imports either.

Where transformers has no class, one is put together from the layers it has: BERT's pooler and sentence order on RoFormer,
RoBERTa and ConvBERT; a masked language model, an encoder and ELECTRA's head for replaced token detection.

Legend: B rows of the batch, L padded length, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
import transformers
from transformers.models.bert.modeling_bert import BertPooler
from transformers.models.electra.modeling_electra import ElectraDiscriminatorPredictions

from pretrain.compare_batch import BINARY, LABELS_OF, NUM_CLASSES, STEP, Batch
from pretrain.config import ModelConfig, generator_config
from pretrain.errors import WeightsError
from pretrain.names import WeightName, sequence_classifier_names, token_classifier_names, weight_names
from pretrain.names_rtd import discriminator_names, generator_names
from pretrain.optimizer import BETA1, BETA2, EPSILON
from pretrain.published_config import HF, config_json
from pretrain.weights import Tensors
from shards.manifest import SpecialIds

transformers.logging.set_verbosity_error()

FAMILIES: Final = {"roformer": "RoFormer", "bert": "Bert", "roberta": "Roberta", "convbert": "ConvBert"}
# What follows the first layer of the two-layer heads of sequence classifiers; fixed in transformers.
POOL_ACTS: Final = {"roformer": "gelu", "bert": "tanh", "roberta": "tanh", "convbert": "gelu"}
_SPECIAL: Final = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)  # without effect on what is computed

Made = tuple[dict[str, Any], dict[str, Any]]


def their_config(config: ModelConfig) -> Any:
    """Return transformers' config of one of our networks, as it is written for an export."""
    name = f"{FAMILIES[config.architecture]}Config"
    content = config_json(config, HF, name, _SPECIAL, dtype="float32")
    settings = {key: value for key, value in content.items() if key not in ("architectures", "model_type")}
    return getattr(transformers, name)(**settings, classifier_dropout=0.0, num_labels=NUM_CLASSES)


def their_class(config: ModelConfig, name: str) -> Any:
    """Return the class `name` of an architecture's family, as in RoFormerForMaskedLM."""
    return getattr(transformers, f"{FAMILIES[config.architecture]}{name}")


class _Pretraining(torch.nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._config, theirs = config, their_config(config)
        if config.architecture == "bert":
            self.model = transformers.BertForPreTraining(theirs)
            return
        self.model = their_class(config, "ForMaskedLM")(theirs)
        getattr(self.model, config.prefix).pooler = BertPooler(theirs)
        if not hasattr(self.model, "cls"):
            self.model.cls = torch.nn.Module()
        self.model.cls.seq_relationship = torch.nn.Linear(config.hidden_size, 2)

    def make(self, batch: Batch) -> Made:
        found = self.model(**_inputs(batch, self._config), output_hidden_states=True)
        hidden_BLD = found.hidden_states[-1]
        pooled_BD = getattr(self.model, self._config.prefix).pooler(hidden_BLD)
        if self._config.architecture == "bert":
            logits, order = found.prediction_logits, found.seq_relationship_logits
        else:
            logits, order = found.logits, self.model.cls.seq_relationship(pooled_BD)
        mlm = logits.reshape(-1, logits.shape[-1])[torch.from_numpy(batch.masked_M)]
        return {"hidden": _real(hidden_BLD, batch), "pooler": pooled_BD, "mlm": mlm, "sop": order}, {}


class _Classifier(torch.nn.Module):
    def __init__(self, config: ModelConfig, kind: str) -> None:
        super().__init__()
        self._config, self._kind = config, kind
        name = "ForSequenceClassification" if kind == "sequence" else "ForTokenClassification"
        self.model = their_class(config, name)(their_config(config))

    def make(self, batch: Batch) -> Made:
        logits = self.model(**_inputs(batch, self._config)).logits
        return {self._kind: logits if self._kind == "sequence" else _real(logits, batch)}, {}


class _Detection(torch.nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._config = config
        self.model = torch.nn.Module()
        body = their_class(config, "Model")(their_config(config))
        generator = their_class(config, "ForMaskedLM")(their_config(generator_config(config)))
        getattr(generator, config.prefix).embeddings = body.embeddings
        generator.get_output_embeddings().weight = body.embeddings.word_embeddings.weight
        self.model.add_module(config.prefix, body)
        self.model.generator = generator
        self.model.discriminator_predictions = ElectraDiscriminatorPredictions(
            transformers.ElectraConfig(hidden_size=config.hidden_size, hidden_act="gelu")
        )

    def make(self, batch: Batch) -> Made:
        logits_BLV = self.model.generator(**_inputs(batch, self._config)).logits
        logits_MV = logits_BLV.reshape(-1, logits_BLV.shape[-1])[torch.from_numpy(batch.masked_M)]
        seen_BL, were_BL = batch.ids_BL.copy(), batch.ids_BL.copy()
        seen_BL.reshape(-1)[batch.masked_M] = _sampled(logits_MV.detach().numpy(), batch.draws_M)
        were_BL.reshape(-1)[batch.masked_M] = batch.words_M
        inputs = _inputs(batch, self._config) | {"input_ids": torch.from_numpy(seen_BL)}
        hidden_BLD = getattr(self.model, self._config.prefix)(**inputs).last_hidden_state
        logits_R = _real(self.model.discriminator_predictions(hidden_BLD), batch)
        replaced_R = torch.from_numpy((seen_BL != were_BL)[batch.is_real_BL])
        return {"generator": logits_MV, "discriminator": logits_R}, {"discriminator": replaced_R}


def _sampled(logits_MV: npt.NDArray[np.float32], draws_M: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Invert the cumulative sum of the softmax, as `pretrain.rtd.sample` does."""
    shares_MV = np.exp(logits_MV.astype(np.float64) - logits_MV.max(-1, keepdims=True))
    below_MV = np.cumsum(shares_MV, axis=-1)
    return (below_MV <= draws_M[:, None] * below_MV[:, -1:]).sum(-1)  # type: ignore[no-any-return]


def _inputs(batch: Batch, config: ModelConfig) -> dict[str, Any]:
    types_BL = batch.types_BL if config.type_vocab_size > 1 else np.zeros_like(batch.types_BL)
    return {
        "input_ids": torch.from_numpy(np.ascontiguousarray(batch.ids_BL)),
        "token_type_ids": torch.from_numpy(np.ascontiguousarray(types_BL)),
        "attention_mask": torch.from_numpy(batch.is_real_BL.astype(np.int64)),
    }


def _real(x_BL: Any, batch: Batch) -> Any:
    return x_BL[torch.from_numpy(batch.is_real_BL)]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A parameter of theirs and how it is named and laid out."""

    name: WeightName
    parameter: Any


class TorchNetwork:
    """A network of transformers as a `Network`."""

    def __init__(self, module: Any, names: Sequence[WeightName]) -> None:
        """Raises WeightsError, naming some, when the map of names is not exactly that of the module's weights."""
        self.module = module.eval()
        # RoFormer's table of angles is a parameter there, which is not trained.
        own = {name: parameter for name, parameter in module.model.named_parameters() if parameter.requires_grad}
        # What transformers lacks was added under our name.
        theirs = {name.transformers or name.ours: name for name in names}
        if set(own) != set(theirs):
            raise WeightsError(
                "the map of names and transformers' weights differ", where=type(module.model).__name__,
                got=sorted(set(own) ^ set(theirs))[:5],
            )  # fmt: skip
        self._places = {name.ours: _Place(name=name, parameter=own[there]) for there, name in theirs.items()}
        self.theirs: Mapping[str, str] = {name.ours: there for there, name in theirs.items()}

    def load(self, weights: Tensors) -> None:
        with torch.no_grad():
            for ours, place in self._places.items():
                value = torch.from_numpy(np.ascontiguousarray(place.name.to_transformers(weights[ours])))
                if value.shape != place.parameter.shape:
                    raise WeightsError(
                        f"{ours!r} does not fit {self.theirs[ours]!r}", expected=tuple(place.parameter.shape),
                        got=tuple(value.shape),
                    )  # fmt: skip
                place.parameter.copy_(value)

    def weights(self) -> Tensors:
        return {ours: self._array(place, place.parameter) for ours, place in self._places.items()}

    def outputs(self, batch: Batch) -> dict[str, npt.NDArray[Any]]:
        with torch.no_grad():
            return {name: tensor.numpy() for name, tensor in self.module.make(batch)[0].items()}

    def gradients(self, batch: Batch, heads: Sequence[str]) -> Tensors:
        self._backward(batch, heads)
        return {o: self._array(p, p.parameter.grad) for o, p in self._places.items() if p.parameter.grad is not None}

    def step(self, batch: Batch, heads: Sequence[str], decayed: frozenset[str]) -> None:
        self._backward(batch, heads)
        groups = [
            {"params": [p.parameter for o, p in self._places.items() if (o in decayed) == decays], "weight_decay": decay}
            for decays, decay in ((True, STEP.weight_decay), (False, 0.0))
        ]
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), STEP.grad_clip)
        torch.optim.AdamW(groups, lr=STEP.max_lr, betas=(BETA1, BETA2), eps=EPSILON).step()

    def _backward(self, batch: Batch, heads: Sequence[str]) -> None:
        self.module.zero_grad(set_to_none=True)
        outputs, labels = self.module.make(batch)
        loss = torch.zeros([])
        for head in heads:
            wanted = labels[head] if head in labels else torch.from_numpy(getattr(batch, LABELS_OF[head]))
            if head in BINARY:
                loss = loss + F.binary_cross_entropy_with_logits(outputs[head], wanted.to(outputs[head].dtype))
            else:
                loss = loss + F.cross_entropy(outputs[head], wanted)
        loss.backward()

    @staticmethod
    def _array(place: _Place, tensor: Any) -> npt.NDArray[Any]:
        return place.name.from_transformers(tensor.detach().numpy()).copy()


def build_network(config: ModelConfig, kind: str) -> TorchNetwork:
    """Return transformers' network of a kind: "pretraining", "sequence", "token" or "rtd"."""
    if kind == "pretraining":
        return TorchNetwork(_Pretraining(config), weight_names(config))
    if kind == "rtd":
        generator = [
            dataclasses.replace(name, transformers=f"generator.{name.transformers}")
            for name in generator_names(config)
            if not name.ours.startswith(f"{config.prefix}.")  # the embeddings are the encoder's
        ]
        return TorchNetwork(_Detection(config), (*discriminator_names(config), *generator))
    names = sequence_classifier_names(config) if kind == "sequence" else token_classifier_names(config)
    return TorchNetwork(_Classifier(config, kind), names)
