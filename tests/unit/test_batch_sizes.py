"""Steps take stages of equal batches; positions and numbers of micro-batches are sums that can be turned round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.batch_sizes import BatchSizes
from shards.errors import UsageError


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9)), min_size=1, max_size=5), st.integers(1, 30))
def test_starts_are_the_sums_of_earlier_batches(stages: list[tuple[int, int]], first: int) -> None:
    begins = [first + sum(steps for steps, _ in stages[:i]) for i in range(len(stages))]
    sizes = BatchSizes(stages=tuple((begin, size) for begin, (_, size) in zip(begins, stages, strict=True)))
    position = 0
    for step in range(first, begins[-1] + 5):
        assert sizes.start(step) == position
        per_step = [size for _, size in sizes.stages]
        for within in range(sizes.batch_size(step)):
            assert sizes.step_at(position + within, per_step) == (step, within)
        position += sizes.batch_size(step)


@pytest.mark.parametrize("stages", [(), ((0, 4),), ((1, 4), (1, 5)), ((3, 4), (2, 4)), ((1, 0),)])
def test_what_is_no_list_of_stages_is_refused(stages: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(UsageError):
        BatchSizes(stages=stages)


def test_steps_before_the_first_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 7, got 6"):
        BatchSizes(stages=((7, 4),)).start(6)
