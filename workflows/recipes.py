"""Recipes by name. A recipe is a function from an output folder to its steps; the first line of its docstring is its description.

To add one: write the function, add it to `RECIPES`. Steps run in order; what one writes and another reads is named as output
of the first and input of the second, so that a change travels down and stops where it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shards.errors import NotFoundError, unknown_name
from workflows.recipe_titles import titles
from workflows.steps import Step


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """The sizes of `quickstart`; the defaults are for people, smaller ones for tests.

    vocab_size in tokens, max_seq_len in tokens with the special ones, heldout a share of the documents, global_batch in
    samples; epochs, batch_size (rows), learning_rate and seeds are those of fine-tuning.

    The sample is small (600 samples) and so is the time: many small updates reach a far lower loss in the same minutes than few
    large ones (held out: 6.6 after 1,600 samples with batch 8, 7.1 after 1,280 with batch 32). A learning rate of 2e-3 never
    leaves the plateau of plain token frequencies; 5e-4 to 1e-3 leave it after about a hundred steps.
    """

    vocab_size: int = 4000
    max_seq_len: int = 128
    heldout: float = 0.1
    global_batch: int = 8
    max_steps: int = 600
    max_lr: float = 8e-4
    warmup_steps: int = 60
    logging_steps: int = 10
    eval_steps: int = 50
    epochs: int = 5
    batch_size: int = 16
    learning_rate: float = 5e-4
    seeds: int = 3


def quickstart(out: Path, options: QuickstartOptions | None = None) -> tuple[Step, ...]:
    """The embedded sample, from text to a scored encoder and a report, in about three minutes on two cores."""
    sizes = options or QuickstartOptions()
    data, run = out / "shards" / "sample", out / "runs" / "quickstart"
    task_rows = _package_folder("finetune", "sample")
    # In this process: 200 KB are encoded before workers of Ray would have started.
    build = Step(
        name="build",
        module="pipeline.build",
        argv=(
            "--corpus", "sample", "--out", out / "shards", "--vocab-size", str(sizes.vocab_size),
            "--max-seq-len", str(sizes.max_seq_len), "--heldout", str(sizes.heldout), "--engine", "local",
        ),
        inputs={"corpus": _package_folder("pipeline", "sample")},
        outputs=(data,),
        again=("--overwrite",),
    )  # fmt: skip
    pretrain = Step(
        name="pretrain",
        module="pretrain.run",
        argv=(
            "--shards", data, "--model", "roformer-tiny", "--out", out / "runs", "--name", "quickstart",
            "--global-batch", str(sizes.global_batch), "--max-steps", str(sizes.max_steps), "--max-lr", str(sizes.max_lr),
            "--warmup-steps", str(sizes.warmup_steps), "--logging-steps", str(sizes.logging_steps),
            "--eval-steps", str(sizes.eval_steps), "--save-steps", str(sizes.eval_steps), "--keep", "1",
        ),
        inputs={"data set": data},
        outputs=(run,),
        run_folder=run,
    )  # fmt: skip
    finetune = Step(
        name="finetune",
        module="finetune.glue",
        argv=(
            "--task", "SST-2", "--data", "sample", "--model", run, "--out", out / "results",
            "--epochs", str(sizes.epochs), "--batch-size", str(sizes.batch_size), "--learning-rate", str(sizes.learning_rate),
            "--seeds", str(sizes.seeds), "--engine", "local",
        ),
        inputs={"run": run, "task": task_rows},
        note="on the embedded rows (half positive), not GLUE's",
    )  # fmt: skip
    return (
        build,
        _samples("samples-en", data, row=0),
        _samples("samples-zh", data, row=300),  # the English third of the sample comes first
        pretrain,
        finetune,
        _fill_mask("fill-zh", run, "今天[MASK]很好，我想去公园玩！"),
        _fill_mask("fill-en", run, "The river flows into [MASK] sea."),
    )


def _samples(name: str, data: Path, *, row: int) -> Step:
    argv = (data, "--row", str(row), "--rows", "2")
    return Step(name=name, module="pipeline.inspect", argv=argv, inputs={"data set": data})


def _fill_mask(name: str, run: Path, text: str) -> Step:
    return Step(name=name, module="pretrain.fill_mask", argv=("--model", run, "--text", text), inputs={"run": run})


def _package_folder(package: str, folder: str) -> Path:
    """Return a folder inside an installed package, without importing the package."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise NotFoundError(f"package {package} is not installed", hint="Install the project: pip install -e .")
    return Path(found.submodule_search_locations[0]) / folder


Recipe = Callable[[Path], tuple[Step, ...]]
RECIPES: dict[str, Recipe] = {"quickstart": quickstart, "titles": titles}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name. Raises UsageError for an unknown one."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def description(recipe: Recipe) -> str:
    """Return a recipe's one-line description."""
    return (recipe.__doc__ or "").strip().partition("\n")[0]
