"""Compare our networks with another implementation: ``python -m pretrain.compare --model convbert-small --against hf``.

Prints the largest and the mean difference of every head's outputs with and without padding, of gradients, and of weights and
outputs after one optimizer step (AdamW with the hyper-parameters of training). Both get the same weights: random ones, or
those of a checkpoint. Exit code 1 when a difference is larger than float32 should give: 1e-5 at most, 1e-6 on average.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pretrain.published_config import FAMILIES, HF, PADDLENLP
from shards.cli import Outcome, new_parser, run
from shards.errors import MismatchError, NotFoundError, UsageError

if TYPE_CHECKING:
    from pretrain.compare_report import Row
    from pretrain.config import ModelConfig

COMMAND = "pretrain.compare"
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {HF: ("torch", "transformers"), PADDLENLP: ("paddlenlp",)}
_MODULES: Final[Mapping[str, str]] = {HF: "pretrain.compare_hf", PADDLENLP: "pretrain.compare_paddlenlp"}
_HINTS: Final[Mapping[str, str]] = {
    HF: "transformers 5 and paddlenlp do not go into one environment. `make parity` makes .venv-parity, from which this command"
    " runs; or: pip install 'wordloom[cpu,parity]' in an environment without paddlenlp",
    PADDLENLP: "pip install 'wordloom[cpu,paddlenlp]'",
}
_EXIT_APART = 1
_VOCAB_SIZE, _ROWS, _LENGTH, _PADDING = 2000, 4, 64, 16
_NOT_SIZES: Final = ("vocab_size", "pad_id", "dropout", "attention_dropout", "initializer_range", "conv_sees_padding", "pool_act")


def require_peer(against: str) -> None:
    """Raise NotFoundError, saying how to install it, when what is compared with is not there."""
    for package in _NEEDS[against]:
        if importlib.util.find_spec(package) is None:
            raise NotFoundError(f"{package} is not installed here", hint=_HINTS[against])


def compare(config: ModelConfig, *, against: str, name: str, trained: Mapping[str, Any] | None = None) -> Iterator[Row]:
    """Yield the differences of all networks that the peer has of an architecture. Loads paddle, and torch or paddlenlp."""
    from pretrain.compare_batch import make_batch
    from pretrain.compare_report import compare_kind, kinds_of

    peer = importlib.import_module(_MODULES[against])
    length = min(_LENGTH, config.max_positions - _PADDING)
    lengths = [max(3, length - 13 * row) for row in range(_ROWS)]
    cases = {
        "no padding": make_batch(config, [length] * _ROWS, width=length),
        "padding": make_batch(config, lengths, width=length + _PADDING),
    }
    for kind in kinds_of(config, against=against):
        yield from compare_kind(
            config, kind, peer.build_network, cases, name=name, pool_act=peer.POOL_ACTS[config.architecture], trained=trained
        )  # fmt: skip


def body(options: argparse.Namespace) -> Outcome:
    """Run the command."""
    from pretrain.environment import start

    require_peer(options.against)
    config, name, trained, fingerprint = _chosen(options)
    if options.against == HF:
        if config.architecture == "roformer_v2":
            raise UsageError("transformers has no RoFormerV2", hint="Compare it with --against paddlenlp")
        # paddle's threads and torch's would spin while waiting, and keep each other from the cores.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("KMP_BLOCKTIME", "0")
    start("cpu")
    from pretrain.compare_report import MAX, MEAN, TITLE

    print(f"{name} against {options.against}, weights: {'random' if trained is None else options.path}")
    print(TITLE)
    rows = []
    for row in compare(config, against=options.against, name=name, trained=trained):
        print(row, flush=True)
        rows.append(row)
    over = [row for row in rows if not row.is_equal]
    print(f"{len(over)} of {len(rows)} differences are over the bar of {MAX:.0e} at most and {MEAN:.0e} on average")
    figures = {
        "model": name, "against": options.against, "rows": [dataclasses.asdict(row) | {"equal": row.is_equal} for row in rows],
        "max": max(row.max for row in rows), "mean": max(row.mean for row in rows), "over": len(over),
    }  # fmt: skip
    return Outcome(fingerprint=fingerprint, figures=figures, exit_code=_EXIT_APART if over else 0)


def _chosen(options: argparse.Namespace) -> tuple[ModelConfig, str, Mapping[str, Any] | None, str | None]:
    """Return config, name, trained weights and fingerprint of what is to be compared."""
    from pretrain.models import model_config

    if options.path is None:
        if options.model is None:
            raise UsageError("nothing to compare", expected="--model NAME or --path PATH")
        pad_id = 1 if options.model.startswith("roberta") else 0
        return _comparable(model_config(options.model, _VOCAB_SIZE, pad_id=pad_id), options.against), options.model, None, None
    from pretrain.checkpoint import resolve_model

    saved = resolve_model(options.path)
    if options.model is not None:
        named = model_config(options.model, saved.config.vocab_size).to_json()
        apart = [
            field for field, value in saved.config.to_json().items() if field not in _NOT_SIZES and named.get(field) != value
        ]
        if apart:
            raise MismatchError(
                f"the checkpoint is no {options.model}", where=saved.path, expected=f"{apart[0]} {named.get(apart[0])}",
                got=saved.config.to_json()[apart[0]], hint="Leave --model out to compare what is there",
            )  # fmt: skip
    return _comparable(saved.config, options.against), saved.name, saved.weights(), saved.fingerprint


def _comparable(config: ModelConfig, against: str) -> ModelConfig:
    """Return the config without dropout, and with a convolution that treats padding as the peer's does, if that can be.

    transformers' reads padding's embedding. PaddleNLP's reads zeros in its place, whatever training has made of it: our rows with
    padding, which convolutions stop at, are compared with its rows without.
    """
    changes: dict[str, Any] = {"dropout": 0.0, "attention_dropout": 0.0}
    if config.architecture == "convbert":
        changes["conv_sees_padding"] = against == HF
    return dataclasses.replace(config, **changes)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = new_parser(COMMAND, "Compare a network with another implementation of it, head by head, on the same weights.")
    parser.add_argument("--model", metavar="NAME", help="a named size, with random weights unless --path is given")
    parser.add_argument("--path", metavar="PATH", help="compare the weights of a run, a checkpoint or a published folder")
    parser.add_argument("--against", choices=FAMILIES, default=HF, help="transformers on torch, or PaddleNLP")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m pretrain.compare``."""
    return run(COMMAND, build_parser(), body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
