"""Make the golden tensors of tests/golden/parity with transformers: tiny random networks, a batch, what comes out of it.

    .venv-parity/bin/python -m tests.parity.torch.golden

Weights are as transformers names them and lays them out; gradients are one vector, in the sorted order of those names. The two
implementations' rounding makes the last digits of another machine different, so `make parity` compares, and commits nothing.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pretrain.environment import start

start("cpu")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

from pretrain.compare_batch import LABELS_OF, make_batch  # noqa: E402
from pretrain.compare_hf import POOL_ACTS, build_network  # noqa: E402
from pretrain.compare_paddle import our_network, random_weights  # noqa: E402
from tests.parity.golden_files import FOLDER, GOLDEN, Golden  # noqa: E402


def made_by_transformers(golden: Golden) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the tensors of one golden file and its metadata."""
    config = golden.config(POOL_ACTS[golden.architecture])
    network = build_network(config, golden.kind)
    network.load(random_weights(our_network(config, golden.kind), config, seed=7))
    batch = make_batch(config, [9, 4, 7], width=10, seed=7)
    tensors: dict[str, Any] = {}
    parameters = {n: p for n, p in network.module.model.named_parameters() if p.requires_grad}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter.detach().numpy()
    for field, value in dataclasses.asdict(batch).items():
        tensors[f"batch/{field}"] = value
    for head, value in network.outputs(batch).items():
        tensors[f"output/{head}"] = value
    network.gradients(batch, [head for head in network.outputs(batch) if head in LABELS_OF])
    order = [parameters[name].grad for name in sorted(parameters)]
    tensors["gradients"] = np.concatenate([gradient.numpy().ravel() for gradient in order])
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return tensors, {"config": json.dumps(config.to_json()), "kind": golden.kind, **versions}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for golden in GOLDEN:
        tensors, metadata = made_by_transformers(golden)
        contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        save_file(contiguous, str(golden.path), metadata=metadata)
        print(f"{golden.path.name}: {golden.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
