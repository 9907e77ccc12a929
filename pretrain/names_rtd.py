"""What each weight of a replaced-token-detection model is called elsewhere: two models there, encoder and generator.

Neither transformers nor PaddleNLP has a class for the pair with a smaller generator. So the encoder becomes a bare encoder, with
the discriminator's head beside it (or in it: PaddleNLP's ``ConvBertDiscriminator``), and the generator becomes a masked language
model of its own, with a copy of the embeddings that the two share.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pretrain.config import ModelConfig, generator_config
from pretrain.names import SAME, TRANSPOSED, WeightName, weight_names

HEAD: Final = "discriminator_predictions."
_GENERATOR: Final = "generator."
_GENERATOR_HEAD: Final = "generator_predictions."
_MLM: Final = "cls.predictions."


def discriminator_names(config: ModelConfig) -> tuple[WeightName, ...]:
    """Return the names of the encoder's weights and of the discriminator's head, as ELECTRA's code has it."""
    encoder = (w for w in weight_names(config) if w.ours.startswith(f"{config.prefix}.") and ".pooler." not in w.ours)
    head = []
    for layer in ("dense", "dense_prediction"):
        for kind, layout in (("weight", TRANSPOSED), ("bias", SAME)):
            name = f"{HEAD}{layer}.{kind}"
            paddlenlp = name if config.architecture == "convbert" else None
            head.append(WeightName(ours=name, transformers=None, paddlenlp=paddlenlp, layout=layout))
    return (*encoder, *head)


def generator_names(config: ModelConfig) -> tuple[WeightName, ...]:
    """Return the names of the generator's weights as a masked language model; its embeddings are the encoder's."""
    small, prefix = generator_config(config), f"{config.prefix}."
    named = []
    for weight in weight_names(small):
        if ".pooler." in weight.ours or weight.ours.startswith("cls.seq_relationship."):
            continue
        ours = weight.ours
        if ours.startswith(_MLM):
            ours = _GENERATOR_HEAD + ours.removeprefix(_MLM)
        elif not ours.startswith(f"{prefix}embeddings."):
            ours = _GENERATOR + ours.removeprefix(prefix)
        named.append(replace(weight, ours=ours))
    return tuple(named)
