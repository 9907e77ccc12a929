"""The corpora Wordloom knows by name. A new one is an entry here, and a reader if its format is new."""

from __future__ import annotations

from dataclasses import dataclass

from shards.errors import UsageError, unknown_name

LANGUAGES = ("zh", "en")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus by name.

    format: its reader, or ``auto`` to tell by a file's first bytes; languages: those it exists in, the first is the default;
    hub_id and hub_configs: where `datasets` finds it, a configuration for each language; hub_rows: whether a row there is a
    whole document or a line of one; origin: where a person finds it.
    """

    name: str
    format: str
    languages: tuple[str, ...]
    hub_id: str | None
    hub_configs: dict[str, str]
    origin: str
    hub_rows: str = "documents"
    embedded: bool = False

    def language(self, asked: str | None) -> str | None:
        """Return the language to build, None for all that the embedded sample has. Raises UsageError."""
        if asked is None:
            return None if self.embedded else self.languages[0]
        if asked not in self.languages:
            raise UsageError(f"corpus {self.name!r} has no text in {asked!r}", expected=" or ".join(self.languages), got=asked)
        return asked


_CHINESE = "JSON lines linked from the repository brightmart/nlp_chinese_corpus on GitHub"
_ALL = (
    Corpus(
        name="sample",
        format="text",
        languages=("zh", "en"),
        hub_id=None,
        hub_configs={},
        origin="part of this package",
        embedded=True,
    ),
    Corpus(
        name="clue_small",
        format="text",
        languages=("zh",),
        hub_id="austenjs/ClueCorpusSmallDataset",
        hub_configs={},
        hub_rows="lines",
        origin="CLUECorpusSmall (14 GB), linked from the repository CLUEbenchmark/CLUECorpus2020 on GitHub",
    ),
    Corpus(
        name="wikipedia",
        format="auto",
        languages=("zh", "en"),
        hub_id="wikimedia/wikipedia",
        hub_configs={"zh": "20231101.zh", "en": "20231101.en"},
        origin="a dump from dumps.wikimedia.org, as it is, or extracted with wikiextractor (its plain or its --json output)",
    ),
    Corpus(
        name="text",
        format="auto",
        languages=("zh", "en"),
        hub_id=None,
        hub_configs={},
        origin="your own files: text, wikiextractor's files, JSON lines, MediaWiki dumps, CSV, TSV, Parquet, Arrow, or folders "
        "of datasets, plain or compressed",
    ),
    *(
        Corpus(name=name, format="jsonl", languages=languages, hub_id=None, hub_configs={}, origin=f"{what}, {_CHINESE}")
        for name, languages, what in (
            ("wiki_zh", ("zh",), "wiki2019zh, articles of Chinese Wikipedia"),
            ("news2016zh", ("zh",), "news2016zh, news of 2014 to 2016"),
            ("baike2018qa", ("zh",), "baike2018qa, questions and answers of an encyclopedia"),
            ("webtext2019zh", ("zh",), "webtext2019zh, questions and answers of a community"),
            ("translation2019zh", ("zh", "en"), "translation2019zh, sentence pairs"),
        )
    ),
)
CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _ALL}


def find_corpus(name: str) -> Corpus:
    """Return a corpus by name. Raises UsageError with the nearest known name."""
    if name not in CORPORA:
        raise unknown_name("corpus", name, CORPORA)
    return CORPORA[name]
