"""What each weight of a pretraining model is called in transformers and in PaddleNLP, and how its layout differs there.

PaddleNLP's layout is ours. transformers (torch) keeps the weight of a linear layer transposed, and the bias of ConvBERT's
separable convolution as a column; everything else is alike. A name of None: there is no place for the weight (a head that the
published class lacks; RoFormerV2 altogether, which transformers does not have).

Both write the MLM bias under the name given here; there may be an equal ``….decoder.bias`` beside it, or alone in older files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pretrain.config import ModelConfig

if TYPE_CHECKING:
    import numpy.typing as npt

SAME, TRANSPOSED, COLUMN = "same", "transposed", "column"


@dataclass(frozen=True, kw_only=True)
class WeightName:
    """One weight under its three names. layout: how transformers has it, of our array: `SAME`, `TRANSPOSED` or a `COLUMN`."""

    ours: str
    transformers: str | None
    paddlenlp: str | None
    layout: str = SAME

    def to_transformers(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return our array as transformers lays it out; a view."""
        return array.T if self.layout == TRANSPOSED else array[:, None] if self.layout == COLUMN else array

    def from_transformers(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array of transformers as ours; a view. Raises ValueError for a column that is none."""
        return array.T if self.layout == TRANSPOSED else array.squeeze(1) if self.layout == COLUMN else array


# our layer within a block → that of transformers
_BLOCK: Final = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
}
_BLOCK_NORMS: Final = {"norm1": "attention.output.LayerNorm", "norm2": "output.LayerNorm"}
_MIXED: Final = ("conv_kernel_layer", "conv_out_layer")
_SPAN: Final = "key_conv_attn_layer"
# architectures whose sequence classifier has a head of two layers there, and no pooler before it
_TWO_LAYERS_IN_TRANSFORMERS: Final = ("roformer", "roberta", "convbert")
_TWO_LAYERS_IN_PADDLENLP: Final = ("roberta", "convbert")


@dataclass(frozen=True, kw_only=True)
class _MLMNames:
    """What the parts of our ``cls.predictions`` are called elsewhere."""

    transform: str
    layer_norm: str
    bias: str


_MLM_OF_TRANSFORMERS: Final = {
    "roformer": _MLMNames(
        transform="cls.predictions.transform.dense", layer_norm="cls.predictions.transform.LayerNorm", bias="cls.predictions.bias"
    ),
    "roberta": _MLMNames(transform="lm_head.dense", layer_norm="lm_head.layer_norm", bias="lm_head.bias"),
    "convbert": _MLMNames(
        transform="generator_predictions.dense", layer_norm="generator_predictions.LayerNorm", bias="generator_lm_head.bias"
    ),
}
_MLM_OF_PADDLENLP: Final = {
    "roformer": _MLMNames(
        transform="cls.predictions.transform", layer_norm="cls.predictions.layer_norm", bias="cls.predictions.decoder_bias"
    ),
    "bert": _MLMNames(
        transform="cls.predictions.transform", layer_norm="cls.predictions.layer_norm", bias="cls.predictions.decoder_bias"
    ),
    "roberta": _MLMNames(transform="lm_head.dense", layer_norm="lm_head.layer_norm", bias="lm_head.bias"),
    "convbert": _MLMNames(
        transform="generator_predictions.dense", layer_norm="generator_predictions.layer_norm", bias="generator_lm_head_bias"
    ),
}


def weight_names(config: ModelConfig) -> tuple[WeightName, ...]:
    """Return the names of all weights of `pretrain.heads.PretrainingModel`, in no particular order."""
    return tuple(_encoder(config)) + tuple(_heads(config))


def sequence_classifier_names(config: ModelConfig) -> tuple[WeightName, ...]:
    """Return the names of all weights of `pretrain.heads.SequenceClassifier` that takes the first token.

    Where the published head has two layers, our pooler is the first. Its activation there is tanh in RoBERTa, gelu in RoFormer
    and ConvBERT (`ModelConfig.pool_act`).
    """
    pooled = f"{config.prefix}.pooler.dense"
    pooler_in, layer_in = zip(
        *(
            ("classifier.dense", "classifier.out_proj") if config.architecture in architectures else (pooled, "classifier")
            for architectures in (_TWO_LAYERS_IN_TRANSFORMERS, _TWO_LAYERS_IN_PADDLENLP)
        ),
        strict=True,
    )
    pooler = _linear(config, pooled, *pooler_in) if config.has_pooler else ()
    return (*_encoder(config), *pooler, *_linear(config, "classifier", *layer_in))


def token_classifier_names(config: ModelConfig) -> tuple[WeightName, ...]:
    """Return the names of all weights of `pretrain.heads.TokenClassifier`."""
    return (*_encoder(config), *_linear(config, "classifier", "classifier", "classifier"))


def _linear(config: ModelConfig, ours: str, transformers: str, paddlenlp: str) -> Iterator[WeightName]:
    known = config.architecture != "roformer_v2"
    for kind, layout in (("weight", TRANSPOSED), ("bias", SAME)) if config.has_bias else (("weight", TRANSPOSED),):
        yield WeightName(
            ours=f"{ours}.{kind}", transformers=f"{transformers}.{kind}" if known else None, paddlenlp=f"{paddlenlp}.{kind}",
            layout=layout,
        )  # fmt: skip


def _encoder(config: ModelConfig) -> Iterator[WeightName]:
    known = config.architecture != "roformer_v2"
    prefix = config.prefix

    def named(ours: str, theirs: str, layout: str = SAME) -> WeightName:
        return WeightName(
            ours=f"{prefix}.{ours}", transformers=f"{prefix}.{theirs}" if known else None, paddlenlp=f"{prefix}.{ours}",
            layout=layout,
        )  # fmt: skip

    def linear(ours: str, theirs: str, layout: str = TRANSPOSED) -> Iterator[WeightName]:
        yield named(f"{ours}.weight", f"{theirs}.weight", layout)
        if config.has_bias:
            yield named(f"{ours}.bias", f"{theirs}.bias")

    tables = ["word", "token_type"] + (["position"] if config.architecture in ("bert", "roberta", "convbert") else [])
    for table in tables:
        yield named(f"embeddings.{table}_embeddings.weight", f"embeddings.{table}_embeddings.weight")
    if config.has_bias:
        yield from linear("embeddings.layer_norm", "embeddings.LayerNorm", SAME)
    if config.embedding_size != config.hidden_size:
        yield from linear("embeddings_project", "embeddings_project")
    for n in range(config.num_layers):
        ours, theirs = f"encoder.layers.{n}", f"encoder.layer.{n}"
        for layer, other in _BLOCK.items():
            grouped = config.num_groups > 1 and layer.startswith("linear")
            yield from linear(f"{ours}.{layer}", f"{theirs}.{other}", SAME if grouped else TRANSPOSED)
        if config.has_bias:
            for layer, other in _BLOCK_NORMS.items():
                yield from linear(f"{ours}.{layer}", f"{theirs}.{other}", SAME)
        if config.architecture == "convbert":
            inside, outside = f"{ours}.self_attn", f"{theirs}.attention.self"
            for layer in _MIXED:
                yield from linear(f"{inside}.{layer}", f"{outside}.{layer}")
            for part in ("depthwise", "pointwise"):
                yield named(f"{inside}.{_SPAN}.{part}.weight", f"{outside}.{_SPAN}.{part}.weight")
            yield named(f"{inside}.{_SPAN}.bias", f"{outside}.{_SPAN}.bias", COLUMN)


def _heads(config: ModelConfig) -> Iterator[WeightName]:
    architecture, prefix = config.architecture, config.prefix
    if config.has_pooler:
        # transformers has a pooler for BERT and RoBERTa only.
        pooled = architecture in ("bert", "roberta")
        for kind, layout in (("weight", TRANSPOSED), ("bias", SAME)):
            name = f"{prefix}.pooler.dense.{kind}"
            yield WeightName(ours=name, transformers=name if pooled else None, paddlenlp=name, layout=layout)
    if config.has_bias:
        hf, nlp = _MLM_OF_TRANSFORMERS.get(architecture, _MLM_OF_TRANSFORMERS["roformer"]), _MLM_OF_PADDLENLP[architecture]
        for kind, layout in (("weight", TRANSPOSED), ("bias", SAME)):
            yield WeightName(
                ours=f"cls.predictions.transform.{kind}", transformers=f"{hf.transform}.{kind}",
                paddlenlp=f"{nlp.transform}.{kind}", layout=layout,
            )  # fmt: skip
            yield WeightName(
                ours=f"cls.predictions.layer_norm.{kind}", transformers=f"{hf.layer_norm}.{kind}",
                paddlenlp=f"{nlp.layer_norm}.{kind}",
            )  # fmt: skip
        yield WeightName(ours="cls.predictions.decoder_bias", transformers=hf.bias, paddlenlp=nlp.bias)
    for kind, layout in (("weight", TRANSPOSED), ("bias", SAME)) if config.has_bias else (("weight", TRANSPOSED),):
        ours = f"cls.seq_relationship.{kind}"
        elsewhere = ours if architecture == "bert" else None
        yield WeightName(ours=ours, transformers=elsewhere, paddlenlp=elsewhere, layout=layout)
