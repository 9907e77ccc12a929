"""Operations of a step against a count by hand, and the share of the peak that follows."""

from __future__ import annotations

from pretrain.utilisation import Work, find_peak, peak_memory_bytes, weight_shapes
from tests.helpers.tiny_training import start_paddle, tiny_network


def test_work_of_a_network_is_that_counted_by_hand() -> None:
    start_paddle()
    from pretrain.heads import PretrainingModel

    network = tiny_network(vocab_size=64)  # 2 layers, hidden = embedding = 16, feed-forward 32
    work = Work.of(weight_shapes(PretrainingModel(network)))
    a_layer = 4 * 16 * 16 + 2 * 16 * 32
    assert work == Work(per_token=6 * 2 * a_layer, per_token_and_length=12 * 2 * 16, per_masked=6 * (16 * 16 + 64 * 16))
    # Two samples of 10 tokens, 3 of all of them masked.
    assert work.operations(tokens=20, samples=2, masked=3) == 20 * (work.per_token + 384 * 10) + 3 * work.per_masked
    assert work.operations(tokens=0, samples=0, masked=0) == 0


def test_the_peak_is_the_one_given_or_measured_or_unknown() -> None:
    start_paddle()
    assert find_peak(1e12, processes=2, on_gpu=True).flops_per_s == 1e12
    unknown = find_peak(None, processes=1, on_gpu=True)
    assert unknown.flops_per_s is None and "--peak-flops" in unknown.reason
    one, two = (find_peak(None, processes=n, on_gpu=False) for n in (1, 2))
    assert one.flops_per_s is not None and one.flops_per_s > 1e9
    assert two.flops_per_s == 2 * one.flops_per_s and "times 2 processes" in two.reason
    assert peak_memory_bytes(on_gpu=False) > 10_000_000
