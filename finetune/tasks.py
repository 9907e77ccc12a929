"""The table of tasks: files and columns, labels, metrics, and the settings each is usually run with.

GLUE: files and columns are those of the archives of gluebenchmark.com. Metrics are the ones of the GLUE paper (Wang et al.,
ICLR 2019, table 1), in this order; the first chooses the best evaluation. Default settings suit the encoders this project
trains, which are small: batch 32, warm-up over a tenth, 3 epochs, but 10 on RTE and STS-B, as ELECTRA (Clark et al., ICLR 2020,
appendix B) and its successors of that size use. Learning rate 1e-4, which the published ConvBERT-small scores on all eight tasks
were made with (batch 256 there); base-size models want 2e-5 to 5e-5.

CLUE: files of cluebenchmarks.com, or of FewCLUE, which has the same keys. Epochs and lengths of PaddleNLP's CLUE table (3, but 2
for CMNLI, 5 for OCNLI and CSL, 50 for CLUEWSC; 128 tokens, 256 for CSL); its grid is 1e-5 to 5e-5 for base-size models, so the
small encoders' 1e-4 holds here too.

THUCNews: 3 epochs, batch 64, 256 tokens as in PaddleNLP's RoFormer example (learning rate 2e-5 for its base-size model). Titles
are short: 64 tokens hold all of them.

CAIL2019-SCM (Xiao et al. 2019, arXiv 1911.08962): constant learning rate 6e-6, batch 8 and 20 epochs, the published recipe of
RoFormer, which decays neither rate nor weights.
"""

from __future__ import annotations

from finetune.task import Split, Task
from shards.errors import UsageError, unknown_name

_ENTAILMENT = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")
_BINARY = ("0", "1")
_DIAGNOSTIC = ("diagnostic.tsv", "../diagnostic/diagnostic.tsv", "../AX/diagnostic.tsv", "../AX/AX.tsv", "AX.tsv")
_LABELLED_DIAGNOSTIC = ("diagnostic-full.tsv", "../diagnostic/diagnostic-full.tsv", "../AX/diagnostic-full.tsv")


def _test(name: str) -> tuple[Split, ...]:
    return (Split(files=("test.tsv",), submission=f"{name}.tsv"),)


_SCORED_DIAGNOSTIC = Split(
    name="ax", files=_LABELLED_DIAGNOSTIC, texts=("Premise", "Hypothesis"), label="Label", metrics=("mcc",)
)
_AX_TEST = Split(name="ax", files=_DIAGNOSTIC, submission="AX.tsv")

GLUE = (
    Task(
        name="CoLA",
        texts=("sentence",),
        labels=_BINARY,
        columns=("source", "label", "annotation", "sentence"),
        metrics=("mcc",),
        id="index",
        tests=(Split(files=("test.tsv",), columns=(), submission="CoLA.tsv"),),
        hub_config="cola",
    ),
    Task(name="SST-2", texts=("sentence",), labels=_BINARY, id="index", tests=_test("SST-2"), hub_config="sst2"),
    Task(
        name="MRPC",
        texts=("#1 String", "#2 String"),
        label="Quality",
        labels=_BINARY,
        metrics=("acc", "f1"),
        id="index",
        tests=_test("MRPC"),
        hub_config="mrpc",
        hub_texts=("sentence1", "sentence2"),
    ),
    Task(
        name="STS-B",
        kind="score",
        texts=("sentence1", "sentence2"),
        label="score",
        score_range=(0.0, 5.0),
        metrics=("pearson", "spearman"),
        id="index",
        tests=_test("STS-B"),
        hub_config="stsb",
        epochs=10,
    ),
    Task(
        name="QQP",
        texts=("question1", "question2"),
        label="is_duplicate",
        labels=_BINARY,
        metrics=("acc", "f1"),
        id="id",
        tests=_test("QQP"),
        hub_config="qqp",
        # Some questions of the official file contain line ends, which cut their rows in two, and a few are empty
        # (nyu-mll/GLUE-baselines issue 5); the common loaders leave these rows out.
        max_defects=100,
    ),
    Task(
        name="MNLI",
        texts=("sentence1", "sentence2"),
        label="gold_label",
        labels=_THREE_WAY,
        id="index",
        dev=Split(files=("dev_matched.tsv",)),
        other_dev=(Split(name="mismatched", files=("dev_mismatched.tsv",)), _SCORED_DIAGNOSTIC),
        tests=(
            Split(name="matched", files=("test_matched.tsv",), submission="MNLI-m.tsv"),
            Split(name="mismatched", files=("test_mismatched.tsv",), submission="MNLI-mm.tsv"),
            _AX_TEST,
        ),
        hub_config="mnli",
        hub_texts=("premise", "hypothesis"),
        hub_dev="validation_matched",
    ),
    Task(name="QNLI", texts=("question", "sentence"), labels=_ENTAILMENT, id="index", tests=_test("QNLI"), hub_config="qnli"),
    Task(
        name="RTE",
        texts=("sentence1", "sentence2"),
        labels=_ENTAILMENT,
        id="index",
        tests=_test("RTE"),
        hub_config="rte",
        epochs=10,
    ),
    # Its dev rows repeat training sentences with the other answer, so that most models end below the majority's 0.563.
    Task(name="WNLI", texts=("sentence1", "sentence2"), labels=_BINARY, id="index", tests=_test("WNLI"), hub_config="wnli"),
    # The diagnostic has no training rows: MNLI's are trained on, and the labelled diagnostic is the dev set.
    Task(
        name="AX",
        folder="MNLI",
        texts=("sentence1", "sentence2"),
        label="gold_label",
        labels=_THREE_WAY,
        metrics=("mcc",),
        id="index",
        dev=Split(files=_LABELLED_DIAGNOSTIC, texts=("Premise", "Hypothesis"), label="Label"),
        tests=(_AX_TEST,),
    ),
)


def _clue(
    name: str,
    texts: tuple[str, ...],
    labels: tuple[str, ...],
    *,
    version: str = "",
    id: str = "id",
    rewrite: str | None = None,
    train_files: tuple[str, ...] = (),
    epochs: int = 3,
    max_seq_len: int = 128,
) -> Task:
    return Task(
        name=name,
        family="clue",
        layout="json",
        texts=texts,
        labels=labels,
        id=id,
        rewrite=rewrite,
        unlabelled="-",
        train_files=(*train_files, "train.json", "train_few_all.json"),
        dev=Split(files=("dev.json", "dev_few_all.json")),
        tests=(
            Split(
                files=("test1.1.json", "test.json", "test_public.json"),
                submission=f"{name}{version}_predict.json",
                submission_of={"train_few_all.json": f"{name}f_predict.json"},
            ),
        ),
        epochs=epochs,
        max_seq_len=max_seq_len,
    )


_TNEWS = ("100", "101", "102", "103", "104", "106", "107", "108", "109", "110", "112", "113", "114", "115", "116")
CLUE = (
    # Version 1.1 of the benchmark has new test rows for two tasks, and their submissions other names.
    _clue("tnews", ("sentence",), _TNEWS, version="11"),
    _clue("iflytek", ("sentence",), tuple(str(number) for number in range(119))),
    _clue("afqmc", ("sentence1", "sentence2"), _BINARY),
    _clue("cmnli", ("sentence1", "sentence2"), _THREE_WAY, epochs=2),
    _clue(
        "ocnli",
        ("sentence1", "sentence2"),
        _THREE_WAY,
        version="_50k",
        train_files=("train.50k.json",),
        epochs=5,
    ),
    _clue("csl", ("keyword", "abst"), _BINARY, epochs=5, max_seq_len=256),
    _clue("cluewsc", ("text",), ("false", "true"), version="11", rewrite="mark_spans", epochs=50),
)

THUCNEWS = (
    Task(
        name="thucnews",
        family="",
        texts=("text",),
        columns=("label", "text"),
        tabs_in_last=True,  # as PaddleNLP's reader: articles may hold tabs
        train_files=("train.txt", "cnews.train.txt"),
        dev=Split(files=("val.txt", "dev.txt", "cnews.val.txt")),
        other_dev=(Split(name="test", files=("test.txt", "cnews.test.txt")),),
        batch_size=64,
        max_seq_len=256,
    ),
    Task(
        name="thucnews_titles",
        family="",
        texts=("title",),
        columns=("title", "label"),
        label_file="class.txt",
        train_files=("train.txt",),
        dev=Split(files=("dev.txt",)),
        other_dev=(Split(name="test", files=("test.txt",)),),
        batch_size=64,
        max_seq_len=64,
    ),
)

CAIL = (
    Task(
        name="cail2019_scm",
        family="",
        kind="choice",
        layout="json",
        texts=("A", "B", "C"),
        labels=("B", "C"),
        rewrite="mark_unlabelled",
        train_files=("train.json", "cail2019_scm_train.json"),
        dev=Split(files=("valid.json", "dev.json", "cail2019_scm_dev.json")),
        other_dev=(Split(name="test", files=("test.json", "cail2019_scm_test.json")),),
        epochs=20,
        batch_size=8,
        learning_rate=6e-6,
        warmup=0.0,
        lr_schedule="constant",
        weight_decay=0.0,
        max_seq_len=512,
    ),
)

TASKS = {task.name: task for task in (*GLUE, *CLUE, *THUCNEWS, *CAIL)}
# What --task all means: AX would train on MNLI again, which scores the diagnostic on the way.
GLUE_ALL = tuple(task for task in GLUE if task.name != "AX")


def find_task(name: str, tasks: tuple[Task, ...] = GLUE) -> Task:
    """Return the task of this name, whatever its case. Raises UsageError, with the nearest known name."""
    for task in tasks:
        if task.name.lower() == name.lower():
            return task
    raise unknown_name("task", name, [task.name for task in tasks])


def find_tasks(names: str, tasks: tuple[Task, ...], all_of: tuple[Task, ...]) -> tuple[Task, ...]:
    """Return the tasks of a list ``NAME,NAME``, or `all_of` them for ``all``. Raises UsageError for unknown ones and repeats."""
    if names.lower() == "all":
        return all_of
    found = tuple(find_task(name.strip(), tasks) for name in names.split(","))
    if len(set(found)) < len(found):
        raise UsageError(f"--task names a task twice, got {names}")
    return found
