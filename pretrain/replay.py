"""Show any batch of a run again: ``python -m pretrain.replay runs/NAME --step N [--rank R]``.

A batch is a function of data, seed, step and batch sizes, all of which run.json records; so nothing but that file and the data
sets is needed, found where they were or below --shards, and recognised by their fingerprints. Arrays are made by the trainer's
own `MicroBatches`. Paddle is not loaded.

In the text ``{天→[MASK]}`` is a masked token and what the network saw in its place, ``{天}`` one that is predicted but was kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards import cli
from shards.errors import MismatchError, NotFoundError, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.tokenizer import Tokenizer
    from pretrain.options import TrainConfig
    from pretrain.sections import Section
    from shards.collate import BatchPlan
    from shards.reader import DataSet, Split
    from shards.sampler import Drawing

COMMAND = "pretrain.replay"
_DEFAULT_LIMIT = 8
_SOP_WORDS = {0: "in order", 1: "swapped", -100: "no pair"}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A run as its record describes it, with its data sets open, in the order of the record.

    `skips` is the record of samples left out, see `pretrain.data_plan`.
    """

    config: TrainConfig
    data_sets: tuple[DataSet, ...]
    split: Split
    batches: BatchPlan
    drawing: Drawing
    sections: tuple[Section, ...]
    skips: Any
    ranks: int
    micro_batch: int
    max_steps: int


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One micro-batch: the arrays of `pretrain.loader.MicroBatches`, and whose it was."""

    rank: int
    micro: int
    arrays: Mapping[str, npt.NDArray[Any]]


def read_recorded(folder: Path, *, shards: str | None = None, verify: bool = True) -> Recorded:
    """Open what the run in `folder` was trained on.

    Raises NotFoundError for a folder without a run or data that are gone, MismatchError for data that are not the same any
    more, RunStateError for a record that does not hold what is needed.
    """
    from pretrain.errors import RunStateError
    from pretrain.options import TrainConfig
    from pretrain.plan import batch_plan
    from pretrain.run_state import RUN, read_run

    record = read_run(folder)
    if record is None:
        raise NotFoundError("no run here", where=folder, expected=f"a {RUN}", hint="List runs: python -m pretrain.runs")
    try:
        config = TrainConfig(**record["config"])
        data = [(str(d["name"]), Path(d["path"]), str(d["fingerprint"])) for d in record["data"]]
        ranks, micro_batch, max_steps = (
            int(n) for n in (record["ranks"], record["micro_batch"], record["schedule"]["max_steps"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunStateError(
            "the record does not describe the batches of this version", where=folder / RUN, got=f"{type(error).__name__}: {error}"
        ) from None
    if not data or ranks < 1 or micro_batch < 1:
        raise RunStateError("the record names no data, or no batch", where=folder / RUN)
    data_sets = tuple(_open(data, shards, verify=verify))
    sections = tuple(_sections(config, data_sets, record.get("sections", [len(data_sets)]), folder / RUN))
    split, drawing = sections[0].train, sections[0].drawing
    if (packed := record.get("packing", [])) != [packing.hash for packing in drawing.packings]:
        raise MismatchError("rows are packed otherwise than the run's were", where=folder / RUN, expected=packed)
    return Recorded(
        config=config, data_sets=data_sets, split=split, drawing=drawing, sections=sections,
        skips=record.get("skipped", []), ranks=ranks,
        batches=batch_plan(config, data_sets[0].manifest.tokenizer, max_steps=max_steps), micro_batch=micro_batch,
        max_steps=max_steps,
    )  # fmt: skip


def _sections(config: TrainConfig, data_sets: Sequence[DataSet], counts: Any, where: Path) -> Iterator[Section]:
    """Yield the sections of the run, given how many of its data sets each reads."""
    from pretrain.data_plan import make_drawing
    from pretrain.errors import RunStateError
    from pretrain.sections import Section
    from pretrain.stages import sections_of, sizes_of
    from shards.reader import Split

    staged = [sizes_of(stages) for stages in sections_of(config.stage_list())] or [config.batch_sizes()]
    if not isinstance(counts, list) or len(counts) != len(staged) or sum(counts) != len(data_sets):
        raise RunStateError("the record does not say which stage reads which data", where=where, got=counts)
    begin = 0
    for count, sizes in zip(counts, staged, strict=True):
        train = Split(data_sets[begin : begin + count], "train")
        yield Section(train=train, sizes=sizes, drawing=make_drawing(replace(config, skip_samples=None), train))
        begin += count


def _open(data: Sequence[tuple[str, Path, str]], shards: str | None, *, verify: bool) -> Iterator[DataSet]:
    from shards.locate import find_data_sets
    from shards.reader import DataSet

    below = find_data_sets(shards, verify=verify) if shards is not None else None
    for name, path, fingerprint in data:
        found = below if below is not None else [DataSet.open(path, verify=verify)]
        same = [s for s in found if s.manifest.fingerprint == fingerprint]
        if not same:
            raise MismatchError(
                f"data set {name!r} is not what the run was trained on", where=path if shards is None else shards,
                expected=f"fingerprint {fingerprint[:16]}", got=", ".join(s.manifest.fingerprint[:16] for s in found),
                hint="Name the folder that holds the original: --shards PATH",
            )  # fmt: skip
        yield same[0]


def replay_step(recorded: Recorded, step: int, rank: int | None = None) -> list[Replayed]:
    """Return the micro-batches of a step as the ranks saw them, all ranks or one. Raises UsageError for no such step or rank."""
    from pretrain.data_plan import recorded_skips
    from pretrain.sections import staged_batches

    if not 1 <= step <= recorded.max_steps:
        raise UsageError("the run has no such step", expected=f"1 to {recorded.max_steps}", got=step)
    if rank is not None and not 0 <= rank < recorded.ranks:
        raise UsageError("the run had no such rank", expected=f"0 to {recorded.ranks - 1}", got=rank)
    skipped = recorded_skips(recorded.skips, recorded.split, step, where="run.json")
    drawing = replace(recorded.drawing, skipped=skipped if len(skipped) else None)
    sections = (replace(recorded.sections[0], drawing=drawing), *recorded.sections[1:])
    replayed = []
    for r in range(recorded.ranks) if rank is None else (rank,):
        batches = staged_batches(sections, recorded.batches, micro_batch=recorded.micro_batch, rank=r, ranks=recorded.ranks)
        for micro in range(batches.micro_batches_of(step)):
            replayed.append(Replayed(rank=r, micro=micro, arrays=batches.make(batches.first_number(step) + micro)))
    return replayed


def samples_of(replayed: Replayed, recorded: Recorded, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    """Yield each sample of a micro-batch as JSON: where it is from, its text with the masks in it, labels."""
    from pretrain.sample_sources import source_of
    from shards.collate import cells_of_samples

    arrays = replayed.arrays
    begins, ends = cells_of_samples(arrays)
    flat = arrays["input_ids"].reshape(-1)
    for i, sample_id in enumerate(arrays["sample_ids"].tolist()):
        data_set = recorded.data_sets[int(arrays["set_index"][i])]
        shard, row = sample_id >> 32, sample_id & 0xFFFFFFFF
        masked = arrays["masked_positions"]
        inside = (begins[i] <= masked) & (masked < ends[i])
        positions = (masked[inside] - begins[i]).tolist()
        labels = dict(zip(positions, arrays["masked_labels"][inside].tolist(), strict=True))
        seen = flat[begins[i] : ends[i]].tolist()
        yield {
            "rank": replayed.rank,
            "micro_batch": replayed.micro,
            "sample_id": sample_id,
            "data_set": data_set.name,
            "shard": data_set.manifest.shards[shard].file,
            "row": row,
            "epoch": int(arrays["epochs"][i]),
            "source": source_of(data_set, sample_id),
            "tokens": len(seen),
            "sop_label": int(arrays["sop_labels"][i]),
            "text": render(seen, labels, tokenizer),
            "masks": [_mask(position, labels[position], seen[position], tokenizer) for position in sorted(labels)],
        }


def _mask(position: int, label: int, seen: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return one masked token as JSON. A random token that happens to be the right one counts as kept."""
    kind = "mask" if seen == tokenizer.special_ids.mask else "kept" if seen == label else "random"
    return {"position": position, "token": _shown(label, tokenizer), "seen": _shown(seen, tokenizer), "kind": kind}


def render(seen: Sequence[int], labels: Mapping[int, int], tokenizer: Tokenizer) -> str:
    """Return the tokens as one text; pieces that begin with ## join the one before, Latin words are parted by spaces.

    Byte-level tokens bring their own spaces.
    """
    text, before = "", ""
    byte_level = tokenizer.kind == "byte-bpe"
    for position, token_id in enumerate(seen):
        token = _shown(labels.get(position, token_id), tokenizer)
        joined = not byte_level and token.startswith("##") and len(token) > 2
        plain = token[2:] if joined else token
        if not byte_level and not joined and _is_latin(before[-1:]) and _is_latin(plain[:1]):
            text += " "
        if position not in labels:
            text += plain
        elif labels[position] == token_id:
            text += f"{{{plain}}}"
        else:
            text += f"{{{plain}→{_shown(token_id, tokenizer)}}}"
        before = plain
    return text


def _shown(token_id: int, tokenizer: Tokenizer) -> str:
    """Return a token as the vocabulary spells it; a byte-level one as text, unless it is a part of a character."""
    if tokenizer.kind != "byte-bpe" or token_id in tokenizer.special_ids.as_tuple():
        return tokenizer.token(token_id)
    text = tokenizer.decode([token_id])
    return tokenizer.token(token_id) if "\ufffd" in text else text


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()  # false for no character


def replay(options: argparse.Namespace) -> cli.Outcome:
    from pipeline.load_tokenizer import load_tokenizer

    if options.limit < 0:
        raise UsageError(f"--limit must be 0 or more, got {options.limit}")
    recorded = read_recorded(Path(options.run), shards=options.shards, verify=not options.no_verify)
    batches = replay_step(recorded, options.step, options.rank)
    tokenizer = load_tokenizer(recorded.data_sets[0].tokenizer_folder)
    total = sum(len(b.arrays["sample_ids"]) for b in batches)
    samples: list[dict[str, Any]] = []
    for batch in batches:
        for sample in samples_of(batch, recorded, tokenizer):
            if options.limit and len(samples) == options.limit:
                break
            samples.append(sample)
    masked, pairs, tokens = (sum(int(b.arrays["counts"][k]) for b in batches) for k in range(3))
    whose = f"{recorded.ranks} ranks" if options.rank is None else f"rank {options.rank} of {recorded.ranks}"
    print(f"step {options.step}, {whose}: {total} samples, {tokens} tokens, {masked} masked, {pairs} pairs")
    for sample in samples:
        print(_heading(sample))
        print(f"  {sample['text']}")
    if len(samples) < total:
        print(f"{total - len(samples)} more samples: --limit 0 shows all")
    figures = {
        "step": options.step, "ranks": recorded.ranks, "rank": options.rank, "sample_count": total, "tokens": tokens,
        "masked": masked, "pairs": pairs, "samples": samples,
    }  # fmt: skip
    return cli.Outcome(fingerprint=recorded.data_sets[0].manifest.fingerprint, figures=figures)


def _heading(sample: Mapping[str, Any]) -> str:
    kinds = [m["kind"] for m in sample["masks"]]
    counts = ", ".join(
        f"{kinds.count(kind)} {word}" for kind, word in (("mask", "masked"), ("random", "random"), ("kept", "kept"))
    )
    return (
        f"{sample['source']}  [{sample['data_set']} id {sample['sample_id']:#x}, epoch {sample['epoch']}, rank {sample['rank']}, "
        f"micro-batch {sample['micro_batch']}, {sample['tokens']} tokens: {counts}; {_SOP_WORDS[sample['sop_label']]}]"
    )


def build_parser() -> cli.Parser:
    parser = cli.new_parser(COMMAND, "Show the text, masks, labels and source lines of any batch of a run.")
    parser.add_argument("run", metavar="RUN", help="folder of a run")
    parser.add_argument("--step", type=int, required=True, metavar="N", help="the update, counted from 1")
    parser.add_argument("--rank", type=int, default=None, metavar="R", help="only what this process saw")
    parser.add_argument("--limit", type=int, default=_DEFAULT_LIMIT, metavar="COUNT", help="samples shown; 0: all")
    parser.add_argument("--shards", metavar="PATH", default=None, help="where the data sets are now, if they were moved")
    parser.add_argument("--no-verify", action="store_true", help="trust the shards: do not check their sha256 first")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(COMMAND, build_parser(), replay, argv)


if __name__ == "__main__":
    raise SystemExit(main())
