"""The committed golden tensors are what transformers gives today."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.parity.golden_files import GOLDEN, Golden
from tests.parity.torch.golden import made_by_transformers


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.path.stem)
def test_golden_tensors_are_current(golden: Golden) -> None:
    made, _ = made_by_transformers(golden)
    stored = load_file(golden.path)
    assert stored.keys() == made.keys()
    for name, value in made.items():
        np.testing.assert_allclose(stored[name], value, atol=1e-6, rtol=1e-5, err_msg=name)
