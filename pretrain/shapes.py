"""The shape of every weight, from the config alone: what a published checkpoint is held against before paddle is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from pretrain.config import ModelConfig, generator_config

Shapes = dict[str, tuple[int, ...]]


def encoder_shapes(config: ModelConfig) -> Shapes:
    """Return the shapes of the encoder's weights by structured name, without pooler."""
    return {f"{config.prefix}.{name}": shape for name, shape in (*_embeddings(config), *_blocks(config))}


def head_shapes(config: ModelConfig) -> Shapes:
    """Return the shapes of the other weights of `pretrain.heads.PretrainingModel`: pooler, MLM head, sentence order."""
    hidden = config.hidden_size
    shapes: Shapes = {}
    if config.has_pooler:
        shapes |= _linear(f"{config.prefix}.pooler.dense", hidden, hidden, config)
    if config.has_bias:
        shapes |= _linear("cls.predictions.transform", hidden, config.embedding_size, config)
        shapes |= _norm("cls.predictions.layer_norm", config.embedding_size)
        shapes["cls.predictions.decoder_bias"] = (config.vocab_size,)
    return shapes | _linear("cls.seq_relationship", hidden, 2, config)


def rtd_shapes(config: ModelConfig) -> Shapes:
    """Return the shapes of all weights of `pretrain.rtd.RTDModel`."""
    small, hidden = generator_config(config), config.hidden_size
    shapes = encoder_shapes(config)
    shapes |= _linear("discriminator_predictions.dense", hidden, hidden, config)
    shapes |= _linear("discriminator_predictions.dense_prediction", hidden, 1, config)
    own = {name: shape for name, shape in (*_embeddings(small), *_blocks(small)) if not name.startswith("embeddings.")}
    shapes |= {f"generator.{name}": shape for name, shape in own.items()}
    mlm = {name: shape for name, shape in head_shapes(small).items() if name.startswith("cls.predictions.")}
    return shapes | {name.replace("cls.predictions.", "generator_predictions."): shape for name, shape in mlm.items()}


def _linear(name: str, inputs: int, outputs: int, config: ModelConfig) -> Shapes:
    weight: Shapes = {f"{name}.weight": (inputs, outputs)}
    return weight | {f"{name}.bias": (outputs,)} if config.has_bias else weight


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _embeddings(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = config.embedding_size
    yield "embeddings.word_embeddings.weight", (config.vocab_size, width)
    yield "embeddings.token_type_embeddings.weight", (config.type_vocab_size, width)
    if config.architecture in ("bert", "roberta", "convbert"):
        yield "embeddings.position_embeddings.weight", (config.position_rows, width)
    if config.has_bias:
        yield from _norm("embeddings.layer_norm", width).items()
    if width != config.hidden_size:
        yield from _linear("embeddings_project", width, config.hidden_size, config).items()


def _blocks(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner, groups = config.hidden_size, config.intermediate_size, config.num_groups
    mixed = config.architecture == "convbert"
    half = hidden // 2 if mixed else hidden
    for n in range(config.num_layers):
        block = f"encoder.layers.{n}"
        attention = f"{block}.self_attn"
        for layer in ("q_proj", "k_proj", "v_proj"):
            yield from _linear(f"{attention}.{layer}", hidden, half, config).items()
        yield from _linear(f"{attention}.out_proj", hidden, hidden, config).items()
        for layer, inputs, outputs in (("linear1", hidden, inner), ("linear2", inner, hidden)):
            if groups > 1:
                yield f"{block}.{layer}.weight", (groups, inputs // groups, outputs // groups)
                yield f"{block}.{layer}.bias", (outputs,)
            else:
                yield from _linear(f"{block}.{layer}", inputs, outputs, config).items()
        if config.has_bias:
            yield from _norm(f"{block}.norm1", hidden).items()
            yield from _norm(f"{block}.norm2", hidden).items()
        if mixed:
            width = config.conv_kernel_size
            yield from _linear(f"{attention}.conv_kernel_layer", half, config.attention_heads * width, config).items()
            yield from _linear(f"{attention}.conv_out_layer", hidden, half, config).items()
            span = f"{attention}.key_conv_attn_layer"
            yield f"{span}.depthwise.weight", (hidden, 1, width)
            yield f"{span}.pointwise.weight", (half, hidden, 1)
            yield f"{span}.bias", (half,)
