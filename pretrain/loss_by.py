"""Where a model's loss comes from: ``python -m pretrain.loss_by --model runs/NAME --shards shards/NAME``.

The masked language model's loss on the rows of a split, told apart by the corpus file that a sample begins in, and by what the
network saw in the token's place: the mask, another token, or the token itself. Masks are those of evaluation in training (the
same on every call); dropout is off.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shards.cli import Outcome, new_parser, run
from shards.errors import MismatchError, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pretrain.checkpoint import SavedModel
    from shards.reader import DataSet, Split

COMMAND = "pretrain.loss_by"
KINDS = ("mask", "random", "kept")
_BATCH_ROWS = 16


@dataclass(frozen=True, kw_only=True)
class Group:
    """Masked tokens that belong together: how many, their mean loss in nats, and the share that was guessed."""

    name: str
    tokens: int
    loss: float
    accuracy: float


def kinds_of(seen_M: npt.NDArray[Any], labels_M: npt.NDArray[Any], mask_id: int) -> npt.NDArray[Any]:
    """Return the index in `KINDS` of each masked token. A random token that happens to be the right one counts as kept."""
    import numpy as np

    return np.where(seen_M == mask_id, 0, np.where(seen_M == labels_M, 2, 1))


def grouped(names: Sequence[str], index: npt.NDArray[Any], loss: npt.NDArray[Any], right: npt.NDArray[Any]) -> list[Group]:
    """Return the groups that have a token, given for each token the index of its group, its loss and whether it was guessed."""
    import numpy as np

    counts, losses, rights = (np.bincount(index, weights, len(names)) for weights in (None, loss, right))
    return [
        Group(name=name, tokens=int(n), loss=float(a / n), accuracy=float(b / n))
        for name, n, a, b in zip(names, counts, losses, rights, strict=True)
        if n
    ]


def _batches(split: Split, saved: SavedModel, rows: int) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
    """Yield collated batches; with ``file``, the number of each sample's corpus file over all data sets."""
    import numpy as np

    from pretrain.evaluate import EVALUATION_KEY
    from shards.collate import BatchPlan, collate
    from shards.masks import MaskPolicy

    tokenizer = split.data_sets[0].manifest.tokenizer
    plan = BatchPlan(
        special_ids=tokenizer.special_ids, vocab_size=tokenizer.vocab_size, pair_template=tokenizer.pair_template,
        mask=MaskPolicy(), sop=False, seed=EVALUATION_KEY,
    )  # fmt: skip
    first_file = np.cumsum([0, *(len(data_set.manifest.corpus) for data_set in split.data_sets)])
    for begin in range(0, rows, _BATCH_ROWS):
        numbers = np.arange(begin, min(begin + _BATCH_ROWS, rows), dtype=np.int64)
        taken = split.take(numbers)
        arrays = dict(collate(taken, np.zeros(len(numbers), np.int64), plan))
        if arrays["input_ids"].shape[1] > saved.config.max_positions:
            raise MismatchError(
                "the data set holds longer samples than the model takes", where=split.data_sets[0].path,
                expected=saved.config.max_positions, got=arrays["input_ids"].shape[1],
            )  # fmt: skip
        yield arrays | {"file": taken.source_file.astype(np.int64) + first_file[split.identify(numbers)[0]]}


def measure(saved: SavedModel, split: Split, rows: int, *, device: str) -> dict[str, list[Group]]:
    """Return the groups ``kind`` and ``file`` of the first `rows` rows of a split. Loads paddle."""
    import numpy as np

    from pretrain.environment import start

    start(device, say=print)
    import paddle
    import paddle.nn.functional as F

    from pretrain.heads import PretrainingModel
    from pretrain.loader import INPUT_KEYS
    from pretrain.weights import load_into

    model = PretrainingModel(saved.config)
    load_into(model, saved.weights(), may_lack=saved.absent, where=saved.path)
    model.eval()
    mask_id = split.data_sets[0].manifest.tokenizer.special_ids.mask
    found: list[tuple[npt.NDArray[Any], ...]] = []
    with paddle.no_grad():
        for arrays in _batches(split, saved, rows):
            logits_MV, _ = model(*(paddle.to_tensor(arrays[name]) for name in INPUT_KEYS))
            labels_M, positions_M = arrays["masked_labels"], arrays["masked_positions"]
            loss_M = F.cross_entropy(logits_MV, paddle.to_tensor(labels_M), reduction="none").numpy().reshape(-1)
            right_M = logits_MV.argmax(axis=-1).numpy() == labels_M
            ids_BL = arrays["input_ids"]
            kind_M = kinds_of(ids_BL.reshape(-1)[positions_M], labels_M, mask_id)
            found.append((kind_M, arrays["file"][positions_M // ids_BL.shape[1]], loss_M, right_M))
    kind, file, loss, right = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return {"kind": grouped(KINDS, kind, loss, right), "file": grouped(_file_names(split.data_sets), file, loss, right)}


def _file_names(data_sets: Sequence[DataSet]) -> list[str]:
    many = len(data_sets) > 1
    return [f"{data_set.name}/{file.path}" if many else file.path for data_set in data_sets for file in data_set.manifest.corpus]


def body(options: argparse.Namespace) -> Outcome:
    """Run the command."""
    from pretrain.checkpoint import resolve_model
    from shards.locate import find_data_sets
    from shards.reader import Split

    for name, value in (("--rows", options.rows), ("--limit", options.limit)):
        if value < 1:
            raise UsageError(f"{name} is wrong", expected="at least 1", got=value)
    saved = resolve_model(options.model)
    if saved.objective == "rtd":
        raise MismatchError("a model of replaced token detection has no masked language model of its own", where=saved.path)
    data_sets = find_data_sets(options.shards, verify=not options.no_verify)
    for data_set in data_sets:
        if data_set.manifest.tokenizer.hash != saved.tokenizer_hash:
            raise MismatchError(
                "the data set was built with another tokenizer than the model's", where=data_set.path,
                expected=saved.tokenizer_hash[:16], got=data_set.manifest.tokenizer.hash[:16],
            )  # fmt: skip
    split = Split(data_sets, options.split)
    if not len(split):
        raise UsageError(f"no row is {options.split}", where=options.shards, hint="--split train, or build with --heldout")
    rows = min(options.rows, len(split))
    print(f"model: {saved.path} ({saved.fingerprint[:8]}); {rows:,} of {len(split):,} rows of {options.split}")
    groups = measure(saved, split, rows, device=options.device)
    for name, members in groups.items():
        ordered = sorted(members, key=lambda group: -group.loss) if name == "file" else members
        for group in ordered[: options.limit]:
            print(f"{name} {group.name}: loss {group.loss:.4f}, accuracy {group.accuracy:.4f}, {group.tokens:,} tokens")
        if len(ordered) > options.limit:
            print(f"{len(ordered) - options.limit} more: --limit")
    figures = {name: [vars(group) for group in members] for name, members in groups.items()}
    return Outcome(fingerprint=saved.fingerprint, figures={"rows": rows, "split": options.split, **figures})


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m pretrain.loss_by``."""
    parser = new_parser(COMMAND, "Tell the loss of masked tokens apart, by corpus file and by what was seen in their place.")
    parser.add_argument("--model", required=True, help="run, checkpoint, or folder of transformers or PaddleNLP")
    parser.add_argument("--shards", metavar="PATH", default="shards/", help="a data set, or a folder of data sets")
    parser.add_argument("--split", choices=("heldout", "train"), default="heldout", help="which rows")
    parser.add_argument("--rows", type=int, default=2000, metavar="N", help="the first so many of them")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="files printed, the worst first")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="where to compute")
    parser.add_argument("--no-verify", action="store_true", help="trust the shards: do not check their sha256 first")
    return run(COMMAND, parser, body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
