"""Parity with transformers without torch: golden tensors that `make parity` made and keeps true.

Made anew by: .venv-parity/bin/python -m tests.parity.torch.golden
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open

from pretrain.environment import start

start("cpu")

from pretrain.compare_batch import LABELS_OF, Batch, difference  # noqa: E402
from pretrain.compare_paddle import our_network  # noqa: E402
from pretrain.config import ModelConfig  # noqa: E402
from pretrain.names import WeightName, sequence_classifier_names, token_classifier_names, weight_names  # noqa: E402
from pretrain.names_rtd import discriminator_names, generator_names  # noqa: E402
from tests.parity.golden_files import FOLDER, GOLDEN, Golden  # noqa: E402

MAX, MEAN = 1e-5, 1e-6


def names_of(config: ModelConfig, kind: str) -> dict[str, WeightName]:
    """Return name there → names; what transformers lacks has ours, and a generator stands below ``generator.``."""
    named = {"pretraining": weight_names, "sequence": sequence_classifier_names, "token": token_classifier_names}
    if kind != "rtd":
        return {name.transformers or name.ours: name for name in named[kind](config)}
    own = {name.transformers or name.ours: name for name in discriminator_names(config)}
    generator = {f"generator.{name.transformers}": name for name in generator_names(config)}
    return own | {there: name for there, name in generator.items() if ".embeddings." not in there}


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.path.stem)
def test_outputs_and_gradients_are_those_of_transformers(golden: Golden) -> None:
    with safe_open(golden.path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        metadata = file.metadata()
    config = ModelConfig.from_json(json.loads(metadata["config"]))
    names = names_of(config, golden.kind)
    weights = {name.removeprefix("weight/"): value for name, value in tensors.items() if name.startswith("weight/")}
    assert weights.keys() == names.keys()
    ours = our_network(config, golden.kind)
    ours.load(
        {names[there].ours: np.ascontiguousarray(names[there].from_transformers(value)) for there, value in weights.items()}
    )
    batch = Batch(**{field.name: tensors[f"batch/{field.name}"] for field in dataclasses.fields(Batch)})
    found = ours.outputs(batch)
    apart = {head: difference(value, tensors[f"output/{head}"]) for head, value in found.items()}
    assert {f"output/{head}" for head in found} == {name for name in tensors if name.startswith("output/")}
    gradients = ours.gradients(batch, [head for head in found if head in LABELS_OF])
    laid_out = [names[there].to_transformers(gradients[names[there].ours]).ravel() for there in sorted(names)]
    apart["gradients"] = difference(np.concatenate(laid_out), tensors["gradients"])
    assert {name: d for name, d in apart.items() if not (d.max <= MAX and d.mean <= MEAN and d.scale > 1e-2)} == {}


def test_golden_files_are_small_and_none_is_left_over() -> None:
    files = sorted(FOLDER.iterdir())
    assert files == sorted(golden.path for golden in GOLDEN)
    assert sum(file.stat().st_size for file in files) < 300_000
