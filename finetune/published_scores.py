"""Published scores to set beside ours, each with its source and with what has to be known to compare it. All are percentages.

Sizes of the official GLUE splits are those of the archives: a row made with fewer is marked.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published figure: task, metric, what was trained, on which split, how many runs it stands for, and where it is from."""

    task: str
    metric: str
    model: str
    value: float
    notes: tuple[str, ...]
    source: str
    is_median: bool = False


# The tasks in the order in which the publications name them.
_GLUE = ("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE")
_METRICS = {"CoLA": "mcc", "STS-B": "pearson"}
_UNSAID = {
    "MRPC": "acc or F1, not said which",
    "QQP": "acc or F1, not said which",
    "STS-B": "Pearson or Spearman, not said which",
}

OFFICIAL_ROWS = {
    "CoLA": (8551, 1043), "SST-2": (67349, 872), "MRPC": (3668, 408), "STS-B": (5749, 1500), "QQP": (363846, 40430),
    "MNLI": (392702, 9815), "QNLI": (104743, 5463), "RTE": (2490, 277),
}  # fmt: skip


def _of_glue(
    model: str,
    values: tuple[float, ...],
    notes: tuple[str, ...],
    source: str,
    *,
    says_metric: bool,
    from_mnli: tuple[str, ...] = (),
) -> list[Published]:
    rows = []
    for task, value in zip(_GLUE, values, strict=True):
        more: tuple[str, ...] = () if says_metric or task not in _UNSAID else (_UNSAID[task],)
        more += ("starts from MNLI",) if task in from_mnli else ()
        metric = _METRICS.get(task, "acc")
        rows.append(
            Published(
                task=task,
                metric=metric,
                model=model,
                value=value,
                notes=(*notes, *more),
                source=source,
                is_median=notes[1].startswith("median"),
            )
        )
    return rows


PUBLISHED: tuple[Published, ...] = (
    *_of_glue(
        "ConvBERT-small", (56.22, 91.39, 87.70, 86.34, 85.47, 81.87, 87.71, 66.06),
        ("dev", "one run", "14M weights", "batch 256, lr 1e-4, 3 epochs"),
        "PaddleNLP, examples/language_model/convbert", says_metric=False,
    ),
    *_of_glue(
        "RoBERTa-base, 6 epochs of Wikipedia", (36.9, 89.5, 84.3, 86.2, 88.6, 80.5, 88.4, 58.1),
        ("dev", "runs not said", "125M weights", "batch 32, lr 3e-5, 3 epochs"),
        "PaddleNLP, examples/language_model/roberta", says_metric=False,
    ),
    *_of_glue(
        "RoBERTa-large", (68.0, 96.4, 90.9, 92.4, 92.2, 90.2, 94.7, 86.6),
        ("dev", "median of 5 seeds", "355M weights"),
        "Liu et al. 2019, arXiv 1907.11692", says_metric=True, from_mnli=("MRPC", "STS-B", "RTE"),
    ),
    *(
        Published(
            task=task, metric="acc", model="RoFormer-base", value=98.0,
            notes=("dev", "one run", "124M weights", what, "256 tokens, batch 64, lr 2e-5, 3 epochs"),
            source="PaddleNLP, examples/language_model/roformer",
        )
        for task, what in (("thucnews", "full articles"), ("thucnews_titles", "full articles, not titles"))
    ),
    *(
        Published(
            task="cail2019_scm", metric=metric, model="RoFormer-512", value=value,
            notes=(split, "one run", "124M weights", "mean pooling, constant lr 6e-6, 20 epochs"),
            source="PaddleNLP, examples/language_model/roformer",
        )
        for metric, value, split in (("acc", 63.07, "dev"), ("acc_test", 69.47, "test"))
    ),
)  # fmt: skip
