"""The recipe `titles`: what pretraining is worth where labels are few.

The same network, tokenizer, 1,000 labelled titles, settings and seeds, once with pretrained and once with random weights. Both
get the same learning rates, so that the comparison is not one of a rate that suits one of them.

Corpora and titles are looked up as the commands do it: ``$WORDLOOM_DATA`` or ``./data`` holds the folders clue_small, wikipedia
(Chinese) and thucnews_titles. They lie outside the recipe's folder, so a change of their files is noticed with ``--force`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workflows.steps import Step


@dataclass(frozen=True, kw_only=True)
class TitlesOptions:
    """The sizes of `titles`: vocab_size and max_seq_len in tokens, global_batch in samples, train_rows in titles.

    The defaults take about an hour on two cores. epochs, batch_size (rows), learning_rates and seeds are those of fine-tuning,
    which is scored once, at its end: 10,000 titles take longer to score than 1,000 to train on.
    """

    vocab_size: int = 8000
    max_seq_len: int = 128
    global_batch: int = 32
    max_steps: int = 2400
    max_lr: float = 1e-3
    train_rows: int = 1000
    title_tokens: int = 48
    epochs: int = 8
    batch_size: int = 32
    learning_rates: str = "3e-4"
    seeds: int = 5


def titles(out: Path, options: TitlesOptions | None = None) -> tuple[Step, ...]:
    """Pretrained against random weights on 1,000 THUCNews titles, five seeds each, in about an hour on two cores."""
    sizes = options or TitlesOptions()
    vocabulary, shards, run, results = out / "vocabulary", out / "shards", out / "runs" / "titles", out / "results"
    learn = Step(
        name="vocabulary",
        module="pipeline.vocab",
        argv=("--corpus", "wikipedia", "--lang", "zh", "--size", str(sizes.vocab_size), "--out", vocabulary),
        outputs=(vocabulary,),
    )
    builds = [
        Step(
            name=f"build-{corpus}",
            module="pipeline.build",
            argv=(
                "--corpus", corpus, "--lang", "zh", "--name", corpus, "--out", shards, "--tokenizer", vocabulary,
                "--max-seq-len", str(sizes.max_seq_len),
            ),
            inputs={"vocabulary": vocabulary},
            outputs=(shards / corpus,),
            again=("--overwrite",),
        )
        for corpus in ("clue_small", "wikipedia")
    ]  # fmt: skip
    eighth = max(1, sizes.max_steps // 8)
    pretrain = Step(
        name="pretrain",
        module="pretrain.run",
        argv=(
            "--shards", shards, "--model", "roformer-tiny", "--out", out / "runs", "--name", "titles",
            "--global-batch", str(sizes.global_batch), "--max-steps", str(sizes.max_steps), "--max-lr", str(sizes.max_lr),
            "--warmup-steps", str(max(1, sizes.max_steps // 20)), "--eval-steps", str(eighth), "--save-steps", str(eighth),
            "--keep", "1",
        ),
        inputs={"clue_small": shards / "clue_small", "wikipedia": shards / "wikipedia"},
        outputs=(run,),
        run_folder=run,
    )  # fmt: skip
    return (learn, *builds, pretrain, _score(sizes, run, results, random=False), _score(sizes, run, results, random=True))


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
