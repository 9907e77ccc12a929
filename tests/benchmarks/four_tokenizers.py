"""Both Wikipedias through all four kinds of tokenizer: speed, the tally, and the share of unknown tokens."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from shards.reader import DataSet
from tests.benchmarks.builds import Setting
from tests.benchmarks.measure import Figure, command

# kind, files in the folder of vocabularies, languages that the vocabulary is for
KINDS: tuple[tuple[str, dict[str, tuple[str, ...]], tuple[str, ...]], ...] = (
    ("wordpiece", {"zh": ("bert_base_chinese_vocab.txt",), "en": ("bert_base_uncased_vocab.txt",)}, ("zh", "en")),
    ("roformer-word", dict.fromkeys(("zh", "en"), ("roformer_chinese_base_vocab.txt",)), ("zh",)),
    ("character", dict.fromkeys(("zh", "en"), ("roformer_v2_char_vocab.txt",)), ("zh",)),
    ("byte-bpe", dict.fromkeys(("zh", "en"), ("roberta_vocab.json", "gpt2_merges.txt")), ("zh", "en")),
)


def four_tokenizers(setting: Setting) -> list[Figure]:
    figures = []
    for kind, files, meant_for in KINDS:
        for lang in ("zh", "en"):
            folder = setting.work / "tokenizer"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in files[lang]:
                target = {".json": "vocab.json"}.get(Path(name).suffix, "merges.txt" if "merges" in name else "vocab.txt")
                shutil.copyfile(setting.data / "vocab" / name, folder / target)
            out = setting.work / "out"
            shutil.rmtree(out, ignore_errors=True)
            found = command(
                "pipeline.build", "--corpus", "wikipedia", "--lang", lang, "--out", str(out), "--engine", "local",
                "--input", *map(str, setting.files(lang)), "--tokenizer", str(folder),
                "--tokenizer-kind", "wordpiece" if kind == "character" else kind,
                *(["--simplify"] if lang == "zh" and kind in ("roformer-word", "character") else []), cwd=setting.work,
            )["figures"]  # fmt: skip
            conserved = all(
                found[f"{what}_read"] == found[f"{what}_kept"] + sum(found[dropped].values())
                for what, dropped in (("documents", "dropped"), ("rows", "rows_dropped"))
            )
            unknown = unknown_share(out / "wikipedia")
            judged = lang in meant_for
            figures.append(
                Figure(
                    name=f"{kind}, {lang}wiki",
                    bar="tally conserved, unknown ≤ 1 %" if judged else "tally conserved",
                    value=f"{found['documents_read']:,} documents read, {found['rows']:,} samples, {found['tokens']:,} tokens, "
                    f"unknown {unknown:.3%}, {found['mb_per_s']:.1f} MB/s",
                    reached=conserved and (unknown <= 0.01 or not judged),
                )
            )
    return figures


def unknown_share(path: Path) -> float:
    """Return the share of unknown tokens in all samples of a data set."""
    data_set = DataSet.open(path)
    unk = data_set.manifest.tokenizer.special_ids.unk
    unknown = tokens = 0
    for split in ("train", "heldout"):
        rows = data_set.split(split)
        for at in range(0, len(rows), 4096):
            ids = rows.take(np.arange(at, min(at + 4096, len(rows)))).ids
            unknown += int((ids == unk).sum())
            tokens += len(ids)
    return unknown / tokens
