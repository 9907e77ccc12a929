"""A data card as a page: one file that loads nothing, in the look of all reports, readable on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.card_statistics import LONGEST_WORD
from pipeline.card_tally import tally_section
from pipeline.histogram_chart import histogram
from shards import page as html
from shards.manifest import HISTOGRAM_BIN_TOKENS
from shards.page import Html, tag

_SHOWN_FILES, _SHOWN_SHARDS = 200, 200

STYLE = """
:root { --other: #f8ece1; }
@media (prefers-color-scheme: dark) { :root { --other: #3a2d22; } }
.sample { line-height: 2.1; }
.sample .w.o { background: var(--other); }
.sample .w.m { outline: 2px solid var(--b); outline-offset: -1px; }
.sample .w.m i { font-style: normal; font-size: .78rem; color: var(--b); margin-left: .3em; }
svg.histogram { display: block; width: 100%; height: auto; margin: .5rem 0 0; overflow: visible; }
svg.histogram text { fill: var(--soft); font-size: 11px; } svg.histogram rect { fill: var(--a); }
details { margin: .75rem 0; } summary { cursor: pointer; color: var(--soft); }
td code { overflow-wrap: anywhere; }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; margin: .5rem 0; }
.chips span { background: var(--card); border: 1px solid var(--rule); border-radius: 6px;
  padding: .1rem .55rem; font-size: .9rem; }
.chips small { color: var(--soft); margin-left: .4em; }
@media (max-width: 30rem) { main { padding: 1.5rem .9rem 3rem; } dl { grid-template-columns: 1fr; gap: .05rem; }
  dd { margin-bottom: .5rem; } svg.histogram text { font-size: 20px; } }
"""


def render_card(card: Mapping[str, Any]) -> str:
    """Return the page of what `pipeline.card.make_card` returned."""
    name = card["name"]
    return html.page(
        f"{name} · data card · Wordloom",
        tag("h1", f"Data card: {name}"),
        tag("p", "What this data set was made from, what was left out and why, and what its samples are like.", cls="soft"),
        tag("div", *_tiles(card), cls="tiles"),
        html.section("What was read, kept and dropped", *tally_section(card)),
        html.section("Length of the samples", *_lengths(card)),
        html.section("Words", *_words(card["sample"])),
        html.section("Characters", *_characters(card)),
        html.section("Equal samples", *_duplicates(card)),
        html.section("Padding", *_padding(card["sample"], card["recipe"])),
        html.section("Speed of the build", *_speed(card["throughput"])),
        html.section("Samples", *_examples(card)) if card["examples"] else "",
        html.section("Recipe", html.facts(_flat(card["recipe"]))),
        html.section("Hashes", *_hashes(card["hashes"])),
        tag("footer", f"Made by Wordloom {card['wordloom']}. This page loads nothing from anywhere."),
        style=STYLE,
    )


def _tiles(card: Mapping[str, Any]) -> Iterator[Html]:
    def tile(figure: str, what: str, note: str) -> Html:
        return tag("div", tag("b", figure), tag("span", what), tag("span", note), cls="tile")

    train, heldout, sample = card["splits"]["train"], card["splits"]["heldout"], card["sample"]
    yield tile(f"{train['rows']:,}", "samples to train on", f"{heldout['rows']:,} held out")
    yield tile(
        f"{train['tokens'] + heldout['tokens']:,}", "tokens", f"{sample['mean_length']:.0f} a sample, special ones included"
    )
    yield tile(f"{sample['unknown_rate']:.3%}", "unknown tokens", _of_sample(sample))
    yield tile(f"{sample['pair_share']:.1%}", "are pairs", _of_sample(sample))
    if card["duplicates"] is not None:
        yield tile(f"{card['duplicates']['duplicate_share']:.2%}", "equal an earlier sample", _how_counted(card["duplicates"]))
    if card["throughput"]["mb_per_s"]:
        yield tile(f"{card['throughput']['mb_per_s']:.1f} MB/s", "build", str(card["throughput"]["engine"] or ""))


def _of_sample(sample: Mapping[str, Any]) -> str:
    return "of all rows" if sample["share_of_rows"] == 1 else f"of {sample['rows']:,} sampled rows"


def _how_counted(duplicates: Mapping[str, Any]) -> str:
    if duplicates["exact"]:
        return "all rows compared"
    return f"estimated from 1/{round(1 / duplicates['share_of_hashes']):,} of all values"


def _lengths(card: Mapping[str, Any]) -> Iterator[Html]:
    counts = card["lengths"] or card["sample"]["lengths"]
    origin = "all rows to train on" if card["lengths"] else _of_sample(card["sample"])
    longest = card["recipe"].get("max_seq_len")
    yield tag("p", f"Tokens, special ones included; at most {longest:,}. Counted over {origin}.", cls="soft small")
    columns = [(f"{int(bound) - HISTOGRAM_BIN_TOKENS + 1}–{bound}", count) for bound, count in counts.items()]
    yield histogram(columns, name="Length of the samples in tokens")


def _words(sample: Mapping[str, Any]) -> Iterator[Html]:
    words = sample["words"]
    note = f"{words:,} words, {_of_sample(sample)}. A word is what whole-word masking masks as one."
    yield tag("p", note, cls="soft small")
    for title, key in (("Tokens a word", "tokens_per_word"), ("Characters a word", "characters_per_word")):
        counts = sample[key]
        total = sum(counts.values())
        mean = sum(int(length) * count for length, count in counts.items()) / max(total, 1)
        yield tag("h3", f"{title}: {mean:.2f} on average")
        columns = [(f"{length}+" if int(length) == LONGEST_WORD else length, count) for length, count in counts.items()]
        yield histogram(columns, name=title)


def _characters(card: Mapping[str, Any]) -> Iterator[Html]:
    sample = card["sample"]
    total = sum(sample["scripts"].values())
    yield tag("p", f"By the text of the tokens, {_of_sample(sample)}.", cls="soft small")
    yield html.table(
        (), ((script, _bar(n / max(total, 1)), f"{n / max(total, 1):.2%}") for script, n in sample["scripts"].items()),
        numbers_from=2, cls="bars",
    )  # fmt: skip
    unknown = f"{sample['unknown_tokens']:,} of {sample['tokens']:,} tokens are unknown ({sample['unknown_rate']:.4%})"
    yield tag("p", f"{unknown}; {sample['vocabulary_seen']:,} tokens of the vocabulary occur, {_of_sample(sample)}.")
    characters = card["unknown_characters"]
    if characters:
        yield tag("h3", "Unknown characters, most frequent first")
        chips = (
            tag("span", character, tag("small", f"U+{ord(character[0]):04X} {count:,}" if character else f"{count:,}"))
            for character, count in characters.items()
        )
        yield tag("div", *chips, cls="chips")
    elif characters is None:
        yield tag("p", "The build did not record which characters were unknown.", cls="soft small")


def _duplicates(card: Mapping[str, Any]) -> Iterator[Html]:
    found = card["duplicates"]
    if found is None:
        yield tag("p", "Not counted: --no-duplicates.", cls="soft")
        return
    yield tag(
        "p", f"{found['duplicate_share']:.2%} of the samples equal an earlier one token by token: {found['rows']:,} rows, "
        f"{found['distinct']:,} distinct ({_how_counted(found)}).",
    )  # fmt: skip


def _padding(sample: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterator[Html]:
    waste = sample["padding_waste"]
    yield tag("p", f"Share of a batch's cells that hold no token; batches of 128, {_of_sample(sample)}.", cls="soft small")
    rows = (
        (f"every sample padded to {recipe.get('max_seq_len'):,}", waste["fixed"]),
        ("each batch padded to its longest sample", waste["batches"]),
        ("the same, samples of 16 batches sorted by length first", waste["bins"]),
    )
    yield html.table((), ((what, _bar(share), f"{share:.1%}") for what, share in rows), numbers_from=2, cls="bars")


def _speed(throughput: Mapping[str, Any]) -> Iterator[Html]:
    rate = throughput["mb_per_s"]
    worker = throughput["mb_per_s_of_one_worker"]
    yield html.facts(
        (
            ("input", f"{throughput['input_bytes'] / 1e6:,.1f} MB"),
            ("took", f"{throughput['elapsed_s']:,.1f} s, {rate:.1f} MB/s" if rate else None),
            ("one worker", f"{worker:.1f} MB/s" if worker else None),
            ("engine", throughput["engine"]),
            ("finished", throughput["finished"]),
            *throughput["versions"].items(),
        )
    )
    stages = throughput["stage_seconds"]
    if not stages:
        yield tag("p", "The build did not record the time of its stages.", cls="soft small")
        return
    total, megabytes = sum(stages.values()), throughput["input_bytes"] / 1e6
    yield tag("h3", "By stage, seconds of all workers")
    rows = (
        (stage, _bar(s / max(total, 1e-9)), f"{s:.2f}", f"{s / max(total, 1e-9):.1%}", f"{megabytes / s:.1f}" if s > 0 else None)
        for stage, s in stages.items()
    )
    yield html.table(("stage", "", "seconds", "share", "MB/s"), rows, numbers_from=2)


def _examples(card: Mapping[str, Any]) -> Iterator[Html]:
    note = (
        "Drawn at random. Each box is a word. Outlined words are predicted in the first epoch with seed "
        f"{card['sample']['seed']} and the default masks; behind the arrow is what the model sees in their place. "
        "A and B are the segments of a pair; when swapped, the model sees B first."
    )
    yield tag("p", note, cls="soft small")
    for example in card["examples"]:
        paired = len(example["segments"]) == 2
        halves = [
            tag("span", tag("span", letter, cls="tag") if paired else "", *_boxes(segment), cls="half")
            for letter, segment in zip("AB", example["segments"], strict=False)
        ]
        order = ", swapped" if example["swapped"] else ", in order" if paired else ", no pair"
        meta = (
            f"row {example['row']:,}, from {example['source']}, {example['tokens']:,} tokens, {example['masked_tokens']:,} masked"
        )
        yield tag("div", *halves, tag("div", meta, order, cls="meta"), cls="sample")


def _boxes(segment: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    for number, word in enumerate(segment):
        style = "w o" if number % 2 else "w"
        if word["seen"] is None:
            yield tag("span", word["text"], cls=style)
        else:
            seen = "kept" if word["seen"] == word["text"] else f"→ {word['seen']}"
            yield tag("span", word["text"], tag("i", seen), cls=f"{style} m")


def _hashes(hashes: Mapping[str, Any]) -> Iterator[Html]:
    tokenizer = hashes["tokenizer"]
    yield html.facts(
        (
            ("fingerprint", tag("code", hashes["fingerprint"])),
            ("recipe", tag("code", hashes["recipe"])),
            ("tag", tag("code", hashes["tag"])),
            (
                "tokenizer",
                html.join((f"{tokenizer['kind']}, {tokenizer['vocab_size']:,} tokens, ", tag("code", tokenizer["hash"]))),
            ),
        )
    )
    files = ((f["name"], f"{f['size']:,}", tag("code", f["sha256"])) for f in tokenizer["files"])
    yield _folded(f"Tokenizer files ({len(tokenizer['files'])})", ("file", "bytes", "sha256"), files)
    corpus, shards = hashes["corpus"], hashes["shards"]
    files = ((f["path"], f"{f['size']:,}", tag("code", f["sha256"])) for f in corpus[:_SHOWN_FILES])
    yield _folded(_title("Corpus files", corpus, _SHOWN_FILES), ("file", "bytes", "sha256"), files)
    rows = (
        (s["file"], f"{s['rows']:,}", f"{s['tokens']:,}", f"{s['bytes']:,}", tag("code", s["sha256"]))
        for s in shards[:_SHOWN_SHARDS]
    )
    yield _folded(_title("Shards", shards, _SHOWN_SHARDS), ("file", "rows", "tokens", "bytes", "sha256"), rows)


def _title(what: str, entries: Sequence[object], shown: int) -> str:
    return f"{what} ({len(entries):,})" + (f", the first {shown} here, all in the JSON" if len(entries) > shown else "")


def _folded(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    return tag("details", tag("summary", title), html.table(head, rows))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the options of a recipe by their paths."""
    for key, entry in value.items():
        if isinstance(entry, Mapping) and entry:
            yield from _flat(entry, f"{prefix}{key}.")
        elif isinstance(entry, (list, tuple)) and any(isinstance(e, Mapping) for e in entry):
            for number, one in enumerate(entry):
                yield from _flat(one if isinstance(one, Mapping) else {"": one}, f"{prefix}{key}[{number}].")
        else:
            yield f"{prefix}{key}", ", ".join(map(str, entry)) if isinstance(entry, (list, tuple)) else str(entry)


def _bar(share: float) -> Html:
    return Html(f'<span class="bar" style="width:{min(max(share, 0.0), 1.0) * 10:.2f}rem"></span>')
