"""The recipe `titles`: what pretraining is worth where labels are few.

The same network, tokenizer, 1,000 labelled titles, settings and seeds, once with pretrained and once with random weights. The
encoder is pretrained on the task's own training titles, without their labels: the news that a small network has to know is in
them, and rows of twenty tokens make for cheap steps. Titles of the dev and test rows are left out. Both sides get the same
learning rates, so that the comparison is not one of a rate that suits one of them.

The titles are looked up as the commands do it: ``$WORDLOOM_DATA`` or ``./data`` holds the folder thucnews_titles. It lies outside
the recipe's folder, so a change of its files is noticed with ``--force`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workflows.steps import Step


@dataclass(frozen=True, kw_only=True)
class TitlesOptions:
    """The sizes of `titles`: vocab_size and title_tokens in tokens, global_batch in samples, train_rows in titles.

    The defaults take about an hour on two cores. epochs, batch_size (rows), learning_rates and seeds are those of fine-tuning,
    which is scored once, at its end: 20,000 titles take longer to score than 1,000 to train on.
    """

    vocab_size: int = 8000
    title_tokens: int = 48
    mask_rate: float = 0.25  # a title of twenty tokens has three words to guess at the usual 0.15
    global_batch: int = 64
    max_steps: int = 5000
    max_lr: float = 1e-3
    train_rows: int = 1000
    epochs: int = 8
    batch_size: int = 32
    learning_rates: str = "3e-4"
    seeds: int = 5


def titles(out: Path, options: TitlesOptions | None = None) -> tuple[Step, ...]:
    """Pretrained against random weights on 1,000 THUCNews titles, five seeds each, in about an hour on two cores."""
    sizes = options or TitlesOptions()
    texts, vocabulary, shards = out / "titles.txt", out / "vocabulary", out / "shards"
    run, results = out / "runs" / "titles", out / "results"
    write = Step(
        name="texts",
        module="finetune.training_texts",
        argv=("--task", "thucnews_titles", "--out", texts),
        outputs=(texts,),
    )
    learn = Step(
        name="vocabulary",
        module="pipeline.vocab",
        argv=("--corpus", "text", "--input", texts, "--lang", "zh", "--size", str(sizes.vocab_size), "--out", vocabulary),
        inputs={"texts": texts},
        outputs=(vocabulary,),
    )
    build = Step(
        name="build",
        module="pipeline.build",
        argv=(
            "--corpus", "text", "--input", texts, "--lang", "zh", "--name", "titles", "--out", shards, "--tokenizer", vocabulary,
            "--layout", "line", "--max-seq-len", str(sizes.title_tokens), "--heldout", "0.02",
        ),
        inputs={"texts": texts, "vocabulary": vocabulary},
        outputs=(shards / "titles",),
        again=("--overwrite",),
    )  # fmt: skip
    tenth = max(1, sizes.max_steps // 10)
    pretrain = Step(
        name="pretrain",
        module="pretrain.run",
        argv=(
            "--shards", shards / "titles", "--model", "roformer-tiny", "--out", out / "runs", "--name", "titles",
            "--objective", "mlm", "--mask-rate", str(sizes.mask_rate), "--global-batch", str(sizes.global_batch),
            "--micro-batch", str(sizes.global_batch), "--max-steps", str(sizes.max_steps), "--max-lr", str(sizes.max_lr),
            "--warmup-steps", str(max(1, sizes.max_steps // 20)), "--eval-steps", str(tenth), "--save-steps", str(tenth),
            "--keep", "1",
        ),
        inputs={"titles": shards / "titles"},
        outputs=(run,),
        run_folder=run,
    )  # fmt: skip
    return (write, learn, build, pretrain, _score(sizes, run, results, random=False), _score(sizes, run, results, random=True))


def _score(sizes: TitlesOptions, run: Path, results: Path, *, random: bool) -> Step:
    return Step(
        name="score-random" if random else "score-pretrained",
        module="finetune.thucnews",
        argv=(
            "--layout", "titles", "--model", run, "--out", results, "--max-train-rows", str(sizes.train_rows),
            "--max-seq-len", str(sizes.title_tokens), "--epochs", str(sizes.epochs), "--batch-size", str(sizes.batch_size),
            "--learning-rate", sizes.learning_rates, "--pooling", "mean", "--eval-steps", "1000000",
            "--seeds", str(sizes.seeds), *(("--random-weights",) if random else ()),
        ),
        inputs={"run": run},
        note="from random weights" if random else "from pretrained weights",
    )  # fmt: skip
