"""``python -m pipeline.diff A B``: what two data sets have in common, and where they part.

The exit code is 0 when both could be read, whatever the outcome. With --check it is 0 when they are the same data (the same
fingerprint) and 18 when they are not, as `cmp` would tell it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from shards.cli import Outcome, new_parser, run

EXIT_DIFFERENT = 18
_SHOWN = 8


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command; its flags are frozen by a test."""
    parser = new_parser("pipeline.diff", "Compare two data sets: options, input files, counts, shards and samples.")
    parser.add_argument("a", metavar="A", help="a data set")
    parser.add_argument("b", metavar="B", help="the data set to compare it with")
    parser.add_argument("--check", action="store_true", help=f"exit with code {EXIT_DIFFERENT} when they are not the same data")
    parser.add_argument("--no-verify", action="store_true", help="do not check the hashes of the shards")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run("pipeline.diff", build_parser(), _diff, argv)


def _diff(options: argparse.Namespace) -> Outcome:
    from pipeline.set_difference import compare
    from shards.reader import DataSet

    verify = not options.no_verify
    if not verify:
        print("the hashes of tokenizers and shards are not checked (--no-verify)")
    found = compare(DataSet.open(options.a, verify=verify), DataSet.open(options.b, verify=verify), verify=verify)
    for line in describe(found):
        print(line)
    code = EXIT_DIFFERENT if options.check and not found["same"] else 0
    return Outcome(fingerprint=found["fingerprints"][0], figures=found, exit_code=code)


def describe(found: Mapping[str, Any]) -> list[str]:
    """Return the differences as lines; where the two agree there is no line, but for the counts."""
    one, two = found["fingerprints"]
    lines = ["the same data" if found["same"] else "not the same data", f"fingerprint: {one[:16]} | {two[:16]}"]
    lines += [f"recipe: {entry['option']} is {entry['a']!r} | {entry['b']!r}" for entry in found["recipe"]]
    lines += _corpus(found["corpus"])
    if not found["tokenizer"]["same"]:
        for name in ("kind", "vocab_size", "pair_template", "hash"):
            a, b = found["tokenizer"][name]
            if a != b:
                lines.append(f"tokenizer: {name} {str(a)[:16]} | {str(b)[:16]}")
    lines += _counts(found)
    shards = found["shards"]
    lines.append(f"shards: {shards['identical']:,} identical, {shards['only_a']:,} only in A, {shards['only_b']:,} only in B")
    if (lengths := found["lengths"]) is not None and lengths["distance"] > 0:
        quantiles = "; ".join(f"{name} up to {a} | {b}" for name, (a, b) in lengths["quantiles"].items())
        mean_a, mean_b = lengths["mean"]
        lines.append(f"lengths: {lengths['distance']:.2%} differ; mean about {mean_a:.0f} | {mean_b:.0f} tokens; {quantiles}")
    lines.append("unknown tokens: {:.4%} | {:.4%}".format(*found["unknown_rate"]))
    return lines + _samples(found["samples"])


def _corpus(corpus: Mapping[str, Any]) -> list[str]:
    lines = [f"corpus: {corpus['same']:,} files the same, {corpus['bytes'][0]:,} | {corpus['bytes'][1]:,} bytes in all"]
    for name, what in (("only_a", "only in A"), ("only_b", "only in B"), ("changed", "changed")):
        if paths := corpus[name]:
            more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
            lines.append(f"corpus: {len(paths):,} {what}: {', '.join(paths[:_SHOWN])}{more}")
    return lines


def _counts(found: Mapping[str, Any]) -> list[str]:
    tally = found["tally"]
    pairs = [(f"documents {name}", tally[name]) for name in ("read", "kept")]
    pairs += [(f"documents dropped as {reason}", counts) for reason, counts in tally["dropped"].items()]
    pairs += [("input rows read", tally["rows_read"]), ("input rows kept", tally["rows_kept"])]
    pairs += [(f"input rows dropped as {reason}", counts) for reason, counts in tally["rows_dropped"].items()]
    pairs += [(f"input rows changed by {rule}", counts) for rule, counts in (found["rows_changed"] or {}).items()]
    for split, counts in found["splits"].items():
        pairs += [(f"{split} {name}", counts[name]) for name in ("rows", "tokens", "bytes")]
    return [f"{what}: {a:,} | {b:,}" + ("" if a == b else f" ({b - a:+,})") for what, (a, b) in pairs]


def _samples(samples: Mapping[str, Any] | None) -> list[str]:
    if samples is None:
        return ["samples: not comparable, the tokenizers differ"]
    lines: list[str] = []
    for split, found in samples.items():
        how = "" if found["exact"] else f", estimated from 1/{round(1 / found['share_of_hashes']):,} of all values"
        counts = f"{found['common']:,} in both, {found['only_a']:,} only in A, {found['only_b']:,} only in B"
        lines.append(f"{split} samples: {counts}{how}")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
