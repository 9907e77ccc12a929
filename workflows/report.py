"""The report of a workflow: one HTML page with what went in, what came out, and how each is known to belong to the other.

A page is made from the workflow's memory and from files that its steps committed (`evidence`), and from no clock: made again
from the same files it is the same bytes, and is not written again. What is shown depends on the commands the recipe has;
a recipe without pretraining has a report without a curve.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards import __version__
from shards import page as html
from shards.canonical import fingerprint
from shards.durable import commit_bytes
from shards.manifest import HISTOGRAM_BIN_TOKENS, Manifest
from shards.page import Html, tag
from workflows.curve import Panel, Series, draw
from workflows.errors import ReportError
from workflows.evidence import Evidence, Training, gather
from workflows.state import State

REPORT_NAME = "report.html"
_EVALUATIONS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report on disk; `written` is False when the same page was there already. `headline`: the figures at its top."""

    path: Path
    written: bool
    fingerprint: str
    headline: Mapping[str, float]


def write_report(recipe: str, state: State, names: Sequence[str]) -> Report:
    """Write ``<out>/report.html`` for the finished steps `names`.

    Raises ReportError, FormatError or NotFoundError for a file that does not hold what its step should have written, and
    StorageError.
    """
    evidence = gather(state, names)
    try:
        data, headline = render(recipe, evidence).encode(), headline_figures(evidence)
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"a result lacks what the report needs: {type(error).__name__} {error}",
            where=state.path,
            hint="Run again with --force",
        ) from error
    path = state.out / REPORT_NAME
    written = not path.is_file() or path.read_bytes() != data
    if written:
        commit_bytes(path, data)
    chain = {name: done["report"].get("fingerprint") for name, done in evidence.commands}
    return Report(path=path, written=written, fingerprint=fingerprint(chain), headline=headline)


def headline_figures(evidence: Evidence) -> dict[str, float]:
    """Return the figures that sum a workflow up: held-out losses and accuracies after the last step, and mean scores."""
    figures: dict[str, float] = {}
    for training in evidence.trainings:
        last = training.evaluations[-1] if training.evaluations else {}
        figures |= {
            name: last[name] for name in ("lm_loss", "lm_accuracy", "sop_loss", "sop_accuracy") if last.get(name) is not None
        }
    for score, _ in evidence.scores:
        figures |= {f"{_scored(score)} {name}": value for name, value in score["mean"].items()}
    return figures


def render(recipe: str, evidence: Evidence) -> str:
    """Return the page."""
    return html.page(
        f"{recipe} · Wordloom",
        tag("h1", f"{recipe}: from text to score"),
        tag("p", "What this run read, made and reached, and the hashes that tie each part to the one before.", cls="soft"),
        tag("div", *_tiles(evidence), cls="tiles"),
        html.section("Chain of proof", *_chain(evidence)),
        *(html.section(f"Data set {path.name}", *_data_set(manifest)) for path, manifest in evidence.data_sets),
        html.section("Samples", *_samples(evidence)) if evidence.samples else "",
        *(html.section(f"Pretraining {training.folder.name}", *_training(training)) for training in evidence.trainings),
        *(html.section(f"Score on {_scored(score)}", *_score(score, note)) for score, note in evidence.scores),
        html.section("Filled masks", *map(_filling, evidence.fillings)) if evidence.fillings else "",
        html.section("Steps", *_steps(evidence)),
        tag("footer", f"Made by Wordloom {__version__}. This page loads nothing from anywhere."),
    )


def _scored(score: Mapping[str, Any]) -> str:
    """Return what a score is of: the task, and what it started from unless that is the usual."""
    return (
        str(score["task"])
        if score.get("weights", "pretrained") == "pretrained"
        else f"{score['task']} ({score['weights']} weights)"
    )


def _tiles(evidence: Evidence) -> Iterator[Html]:
    def tile(figure: str, what: str, note: str) -> Html:
        return tag("div", tag("b", figure), tag("span", what), tag("span", note), cls="tile")

    for score, note in evidence.scores:
        for name, mean in score["mean"].items():
            sd, count = score["sd"].get(name), len(score["seeds"])
            spread = f"± {sd:.3f} over {count} seeds" if sd is not None else "one seed"
            yield tile(f"{mean:.3f}", f"{_scored(score)} {name}", f"{spread}; {note}" if note else spread)
    for training in evidence.trainings:
        if not training.evaluations:
            continue
        last, vocab_size = training.evaluations[-1], training.record["network"]["vocab_size"]
        yield tile(f"{last['lm_loss']:.2f}", "masked-token loss, held out", f"a uniform guess: {math.log(vocab_size):.2f}")
        yield tile(f"{last['lm_accuracy']:.1%}", "masked tokens guessed right", f"of {last['masked_tokens']:,}, held out")
        if last["sop_accuracy"] is not None:
            yield tile(
                f"{last['sop_accuracy']:.1%}", "sentence orders right", f"of {last['pairs']:,} pairs, held out; a coin: 50%"
            )
    total_s = sum(done["elapsed_s"] for _, done in evidence.commands)
    yield tile(_duration(total_s), "all steps together", f"{len(evidence.commands)} commands")


def _chain(evidence: Evidence) -> Iterator[Html]:
    """Yield the chain corpus → recipe → data set → checkpoint → score, each link checked where the next one names it."""
    known_data = {manifest.fingerprint for _, manifest in evidence.data_sets}
    known_models = {training.fingerprint for training in evidence.trainings}
    items: list[Html] = []

    def item(what: str, hashed: object, note: object, check: tuple[bool, str] | None = None) -> None:
        verdict = tag("span", ("✓ " if check[0] else "✗ not ") + check[1], cls="good" if check[0] else "bad") if check else ""
        items.append(tag("li", tag("b", what), " ", hashed, tag("div", note, " ", verdict, cls="link")))

    for path, manifest in evidence.data_sets:
        files = html.join(html.join((c.path, " ", html.short_hash(c.sha256, 12), "  ")) for c in manifest.corpus[:6])
        more = f"and {len(manifest.corpus) - 6:,} more" if len(manifest.corpus) > 6 else ""
        item(
            "Corpus", f"{len(manifest.corpus):,} files, {_bytes(sum(c.size for c in manifest.corpus))}", html.join((files, more))
        )
        item("Recipe", html.short_hash(manifest.recipe_hash), "every option that can change a byte")
        item(f"Data set {path.name}", html.short_hash(manifest.fingerprint), "of recipe, corpus, tokenizer and shards",
             (True, "recomputed from the manifest"))  # fmt: skip
    for training in evidence.trainings:
        named = [entry["fingerprint"] for entry in training.record["data"]]
        check = (set(named) <= known_data, "trained on the data set above") if known_data else None
        item(f"Checkpoint {training.folder.name}", html.short_hash(training.fingerprint), "of every file in it", check)
    for score, _ in evidence.scores:
        model = score["checkpoint_fingerprint"]
        check = (model in known_models, "of the checkpoint above") if known_models else None
        note = html.join(("task data ", html.short_hash(score["data_fingerprint"], 12)))
        item(f"Score {score['task']}", html.short_hash(fingerprint(score)), note, check)
    yield tag("p", "Hashes are sha256; hold the pointer over one to see all of it.", cls="soft small")
    yield tag("ol", *items, cls="chain")


def _data_set(manifest: Manifest) -> Iterator[Html]:
    tally, recipe = manifest.tally, manifest.recipe
    rows = {split: sum(s.rows for s in manifest.shards if s.split == split) for split in ("train", "heldout")}
    segmenter = recipe.get("segmenter", {})
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(tally.dropped.items()) if count) or "none"
    yield html.facts(
        (
            ("documents", f"{tally.read:,} read, {tally.kept:,} kept; dropped: {dropped}"),
            ("samples", f"{rows['train']:,} to train on, {rows['heldout']:,} held out"),
            ("tokens", f"{sum(s.tokens for s in manifest.shards):,}"),
            ("shards", f"{len(manifest.shards):,} files, {_bytes(sum(s.bytes for s in manifest.shards))}"),
            ("layout", f"{manifest.layout}, at most {manifest.max_seq_len:,} tokens a sample"),
            ("vocabulary", f"{manifest.tokenizer.vocab_size:,} tokens, {manifest.tokenizer.kind}"),
            ("segmenter", " ".join(str(segmenter[key]) for key in ("name", "version") if key in segmenter) or None),
            ("fingerprint", tag("code", manifest.fingerprint)),
        )
    )
    histogram = sorted((int(name), count) for name, count in manifest.length_histogram.items())  # by upper bounds of the bins
    most = max((count for _, count in histogram), default=0)
    if most:
        yield tag("h3", "Length of the samples, in tokens")
        width = HISTOGRAM_BIN_TOKENS
        bars = ((f"{bound - width + 1}–{bound}", _bar(count / most), f"{count:,}") for bound, count in histogram)
        yield html.table((), bars, numbers_from=2, cls="bars")


def _samples(evidence: Evidence) -> Iterator[Html]:
    note = "As stored. Each box is a word, masked as a whole; A and B are the segments whose order is to be told."
    yield tag("p", note, cls="soft small")
    for sample in evidence.samples:
        halves = [tag("span", letter, *_words(part), cls="half") for letter, part in _segments(sample)]
        meta = f"row {sample['row']}, from {sample['source']}, {sample['tokens']} tokens"
        yield tag("div", *halves, tag("div", meta, cls="meta"), cls="sample")


def _segments(sample: Mapping[str, Any]) -> list[tuple[Html, str]]:
    """Return the segments of a sample, each behind its letter; one without a letter when there is no pair."""
    first, border, second = str(sample["text"]).partition("‖")
    if not (border and sample["split"]):
        return [(Html(), str(sample["text"]))]
    return [(tag("span", "A", cls="tag"), first), (tag("span", "B", cls="tag"), second)]


def _words(part: str) -> Iterator[Html]:
    return (tag("span", word, cls="w") for word in part.split("|") if word)


def _training(training: Training) -> Iterator[Html]:
    record, last = training.record, training.steps[-1] if training.steps else {}
    network, config = record["network"], record["config"]
    schedule = record["schedule"]
    yield html.facts(
        (
            ("network", f"{config.get('model') or network['architecture']}: {network['num_layers']} layers, hidden "
                        f"{network['hidden_size']}, {network['num_heads']} heads, vocabulary {network['vocab_size']:,}"),
            ("steps", f"{schedule['max_steps']:,} of {config['global_batch']:,} samples, objective {config['objective']}"),
            ("learning rate", f"{schedule['kind']}, {schedule['warmup_steps']:,} steps of warm-up to {schedule['max_lr']:g}, "
                              f"then to {schedule['min_lr']:g}"),
            ("speed", f"{last['tokens_per_s']:,.0f} tokens/s, {last['steps_per_s']:.2f} steps/s; {last['data_wait_share']:.1%} "
                      "of the time waiting for data" if last else None),
            ("device", f"{record['device']}, {record['ranks']} process{'es' if record['ranks'] > 1 else ''}"),
        )
    )  # fmt: skip
    yield Html(draw(_panels(training, network["vocab_size"]), x_label="step"))
    if training.evaluations:
        yield tag("h3", "On documents held out of training")
        head = ("step", "masked-token loss", "perplexity", "accuracy", "order loss", "order accuracy", "95% lower bound", "pairs")
        yield html.table(head, map(_evaluation_row, _thinned(training.evaluations)), numbers_from=0)
        bound = training.evaluations[-1]["sop_lower_bound"]
        if bound is not None and bound <= 0.5:
            yield tag("p", "The order accuracy cannot be told from a coin's: its lower bound is not above 50%.", cls="soft small")


def _panels(training: Training, vocab_size: int) -> list[Panel]:
    def pair(key: str) -> tuple[Series, ...]:
        logged = [(float(r["step"]), float(r[key])) for r in training.steps]
        held_out = [(float(r["step"]), float(r[key])) for r in training.evaluations if r.get(key) is not None]
        return (
            Series(label="training", style="a", points=logged),
            Series(label="held out", style="b", points=held_out, markers=True),
        )

    panels = [
        Panel(title="Masked-token loss (lm_loss)", series=pair("lm_loss"), references=(("uniform guess", math.log(vocab_size)),)),
        Panel(title="Sentence-order loss (sop_loss)", series=pair("sop_loss"), references=(("coin", math.log(2.0)),)),
    ]
    rates = [(float(r["step"]), float(r["lr"])) for r in training.steps]
    panels.append(
        Panel(title="Learning rate", series=(Series(label="learning rate", style="a", points=rates),), height=80, from_zero=True)
    )
    return panels if training.record["config"]["objective"] == "mlm-sop" else [panels[0], panels[2]]


def _thinned(evaluations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return at most a few evaluations, evenly spread, the last one among them."""
    stride = -(-len(evaluations) // _EVALUATIONS_SHOWN)
    return list(evaluations[::-1][::stride][::-1])


def _evaluation_row(e: Mapping[str, Any]) -> tuple[object, ...]:
    order: tuple[object, ...] = (None, None, None, None)
    if e["sop_accuracy"] is not None:
        order = (f"{e['sop_loss']:.3f}", f"{e['sop_accuracy']:.1%}", f"{e['sop_lower_bound']:.1%}", f"{e['pairs']:,}")
    perplexity = f"{math.exp(e['lm_loss']):,.0f}" if e["lm_loss"] < 100 else None
    return (f"{e['step']:,}", f"{e['lm_loss']:.3f}", perplexity, f"{e['lm_accuracy']:.1%}", *order)


def _score(score: Mapping[str, Any], note: str) -> Iterator[Html]:
    if note:
        yield tag("p", f"Scored {note}.")
    count, seeds = len(score["seeds"]), ", ".join(map(str, score["seeds"]))
    head = ("metric", "mean", "sd", "median", "best evaluation", "its seed and step")
    rows = [
        (name, f"{mean:.4f}", None if score["sd"][name] is None else f"{score['sd'][name]:.4f}", f"{score['median'][name]:.4f}",
         f"{score['best'][name]:.4f}", f"{score['best']['seed']}, {score['best']['step']:,}")
        for name, mean in score["mean"].items()
    ]  # fmt: skip
    yield html.table(head, rows)
    yield tag(
        "p",
        f"Mean, sd and median are over {count} seed{'s' if count > 1 else ''} ({seeds}), after the last "
        "step. The best evaluation was chosen on the very rows it is scored on, so it flatters.",
        cls="soft small",
    )
    settings = ", ".join(f"{name} {value}" for name, value in sorted(score["settings"].items()) if value is not None)
    yield tag("p", f"Settings: {settings}.", cls="soft small")


def _filling(figures: Mapping[str, Any]) -> Html:
    parts = str(figures["text"]).split("[MASK]")
    shown: list[object] = [parts[0]]
    rows: list[tuple[object, ...]] = []
    for mask, rest in zip(figures["masks"], parts[1:], strict=True):
        candidates = mask["candidates"]
        best = candidates[0]["probability"] if candidates else 1.0
        shown += [tag("span", candidates[0]["token"] if candidates else "?", cls="gap"), rest]
        rows += [(c["token"], _bar(c["probability"] / max(best, 1e-12)), f"{c['probability']:.1%}") for c in candidates]
    return tag("div", tag("p", *shown), html.table((), rows, numbers_from=2, cls="bars"), cls="fill")


def _steps(evidence: Evidence) -> Iterator[Html]:
    rows = [
        (name, _command(done["command"]), f"{done['elapsed_s']:.1f} s", done["finished"].replace("T", " ").removesuffix("+00:00"))
        for name, done in evidence.commands
    ]
    yield html.table(("step", "command", "took", "finished (UTC)"), rows, numbers_from=2)
    versions: dict[str, Any] = {}
    for _, manifest in evidence.data_sets:
        versions |= {
            name: manifest.made[key] for name, key in (("wordloom", "version"), ("python", "python")) if key in manifest.made
        }
    for training in evidence.trainings:
        versions |= training.record.get("versions", {})
    if versions:
        yield tag("h3", "Versions")
        yield html.facts(sorted(versions.items()))


def _command(line: str) -> Html:
    """Return a command line that is not broken inside the name of an option."""
    parts = re.split(r"(?<= )(--[a-z-]+)", line)
    return tag("span", *(tag("span", part) if index % 2 else part for index, part in enumerate(parts)), cls="command")


def _bar(share: float) -> Html:
    return Html(f'<span class="bar" style="width:{min(max(share, 0.0), 1.0) * 10:.2f}rem"></span>')


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
