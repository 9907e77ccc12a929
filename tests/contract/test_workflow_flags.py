"""The command ``python -m workflows.run`` and the recipes as others see them: flags, names, options that other commands accept."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.glue import _parser as glue_parser
from finetune.thucnews import _parser as thucnews_parser
from finetune.training_texts import _parser as texts_parser
from pipeline.build import build_parser as build_parser
from pipeline.inspect import build_parser as inspect_parser
from pipeline.vocab import build_parser as vocab_parser
from pretrain.flags import add_flags, config_from
from shards.cli import new_parser
from tests.helpers.commands import ROOT, error_of, flags, run
from workflows.recipes import RECIPES, quickstart
from workflows.run import build_parser as workflow_parser

FLAGS = ["--debug", "--force", "--help", "--json", "--list", "--out"]


def pretrain_parser() -> argparse.ArgumentParser:
    parser = new_parser("pretrain.run", "Train.")
    add_flags(parser)
    return parser


PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "pipeline.build": build_parser,
    "pipeline.inspect": inspect_parser,
    "pretrain.run": pretrain_parser,
    "finetune.glue": glue_parser,
    "finetune.thucnews": thucnews_parser,
    "finetune.training_texts": texts_parser,
    "pipeline.vocab": vocab_parser,
}


def test_the_flags_are_these() -> None:
    assert flags(workflow_parser()) == FLAGS


def test_help_and_list_load_no_framework() -> None:
    program = (
        "import sys\n"
        "from workflows.run import main\n"
        "assert main(['--list']) == 0\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "loaded = {'paddle', 'ray', 'datasets', 'tokenizers', 'jieba', 'pyarrow', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "--force" in done.stdout


def test_the_whole_package_stays_away_from_the_frameworks_and_from_the_other_packages() -> None:
    program = (
        "import sys, pkgutil, importlib, workflows\n"
        "for found in pkgutil.iter_modules(workflows.__path__): importlib.import_module('workflows.' + found.name)\n"
        "from pathlib import Path\n"
        "from workflows.recipes import RECIPES\n"
        "for recipe in RECIPES.values(): recipe(Path('out'))\n"
        "forbidden = {'paddle', 'ray', 'datasets', 'pipeline', 'pretrain', 'finetune'} & set(sys.modules)\n"
        "assert not forbidden, forbidden\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_nothing_imports_workflows() -> None:
    for package in ("shards", "pipeline", "pretrain", "finetune"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                assert not any(name.split(".")[0] == "workflows" for name in names), path


def test_list_names_every_recipe_with_one_line(tmp_path: Path) -> None:
    listed = run("workflows.run", "--list", cwd=tmp_path)
    assert listed.code == 0
    lines = listed.out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(RECIPES)
    assert all(len(line.split()) > 3 for line in lines)
    assert set(run("workflows.run", "--list", "--json", cwd=tmp_path).json["figures"]["recipes"]) == set(RECIPES)
    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_is_refused_with_the_nearest(tmp_path: Path) -> None:
    error_of(run("workflows.run", "quickstrat", cwd=tmp_path), 2, "unknown recipe 'quickstrat'", "Did you mean 'quickstart'?")
    error_of(run("workflows.run", cwd=tmp_path), 2, "no recipe named", "quickstart")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_recipe_has_the_code_of_its_error(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "workflow.json").write_text(json.dumps({"format": 1, "recipe": "other", "steps": {}}))
    error_of(run("workflows.run", "quickstart", "--out", "out", cwd=tmp_path), 41, "another recipe", "out/workflow.json")


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_the_commands_of_a_recipe_accept_its_options(recipe: str) -> None:
    for step in RECIPES[recipe](Path("out")):
        if step.module not in PARSERS:
            assert step.module == "pretrain.fill_mask"
            continue
        for extra in ((), step.again):
            options = PARSERS[step.module]().parse_args([*map(str, step.argv), *extra])
            if step.module == "pretrain.run":
                config_from(options)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_recipe_stays_in_its_folder_and_feeds_its_steps_in_order(recipe: str) -> None:
    out, package_folders = Path("some/place"), [ROOT / "pipeline", ROOT / "finetune"]
    steps = RECIPES[recipe](out)
    assert len({step.name for step in steps}) == len(steps)
    made: set[Path] = set()
    for step in steps:
        assert all(path.is_relative_to(out) for path in step.outputs)
        assert step.run_folder is None or step.run_folder in step.outputs
        for path in step.inputs.values():
            from_package = any(path.is_relative_to(folder) for folder in package_folders)
            assert path in made or (from_package and path.exists()), f"{step.name} reads {path}, which nothing made"
        for part in step.argv:
            if isinstance(part, Path):
                assert part.is_relative_to(out)
        made |= set(step.outputs)


def test_quickstart_is_laid_out_as_documented() -> None:
    outputs = {str(path) for step in quickstart(Path("quickstart")) for path in step.outputs}
    assert outputs == {"quickstart/shards/sample", "quickstart/runs/quickstart"}
    score = next(step for step in quickstart(Path("quickstart")) if step.module == "finetune.glue")
    assert score.argv[score.argv.index("--out") + 1] == Path("quickstart/results")
