"""The import rule, and who may load, rename or unpickle what: read from the source and tried in fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("shards", "pipeline", "pretrain", "finetune", "workflows")
# package → packages it may import; a module in brackets is allowed in the named files only.
MAY_IMPORT = {
    "shards": {"shards"},
    "pipeline": {"shards", "pipeline"},
    "pretrain": {"shards", "pretrain"},
    "finetune": {"shards", "pretrain", "finetune"},
    "workflows": {"shards", "workflows"},
}
PURE_TEXT = {
    "pipeline.clean", "pipeline.segment", "pipeline.tokenizer", "pipeline.load_tokenizer",
    "pipeline.encode", "pipeline.errors", "pipeline.tokenizer_wordpiece", "pipeline.extend_tokenizer",
}  # fmt: skip
PURE_TEXT_ALLOWED = {
    "pretrain": {
        "fill_mask.py",
        "replay.py",
        "convert.py",
        "export.py",
        "published.py",
        "export_folder.py",
        "published_tokenizer.py",
        "extend_vocab.py",
    },
    "finetune": None,
}
THIRD_PARTY = {
    "shards": {"numpy", "pyarrow", "fsspec"},
    "pipeline": {"numpy", "pyarrow", "fsspec", "jieba", "rjieba", "tokenizers", "datasets", "tqdm", "opencc", "ray"},
    "pretrain": {"numpy", "paddle", "safetensors", "visualdl", "tqdm", "matplotlib"},
    "finetune": {"numpy", "paddle", "datasets", "tqdm", "ray"},
    "workflows": set(),
}
# What networks are compared with is never needed to train one.
PEERS_ONLY_IN = {
    "torch": "pretrain/compare_hf.py", "transformers": "pretrain/compare_hf.py", "paddlenlp": "pretrain/compare_paddlenlp.py",
}  # fmt: skip
RAY_ONLY_IN = {"pipeline/ray_engine.py", "finetune/ray_jobs.py"}
# Renaming, syncing and deleting belong to one module; the reason stands beside each exception.
DISK_EXCEPTIONS = {
    "shards/durable.py": "the one place",
    "shards/lock.py": "deletes its own lock file, under the lock",
}
UNSAFE = ("pickle", "marshal", "shelve", "dill", "cloudpickle")
UNSAFE_EXCEPTIONS = {
    "pretrain/unpickle.py": "reads pickles behind --trust-pickle only, in a process of its own, by an exact list of stand-ins",
}


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names if node.module in PACKAGES)


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in modules()} == set(PACKAGES)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_rule(path: Path) -> None:
    relative = path.relative_to(ROOT)
    package = relative.parts[0]
    for name, line in imports(path):
        top = name.split(".")[0]
        where = f"{relative}:{line} imports {name}"
        if top in PACKAGES:
            if top in MAY_IMPORT[package]:
                continue
            files = PURE_TEXT_ALLOWED.get(package, set())
            pure = any(name == module or name.startswith(module + ".") for module in PURE_TEXT) or name == "pipeline"
            assert top == "pipeline" and pure and (files is None or path.name in files), where
        elif top not in sys.stdlib_module_names:
            assert top in THIRD_PARTY[package] or PEERS_ONLY_IN.get(top) == str(relative), where
        if top == "ray":
            assert str(relative) in RAY_ONLY_IN, where
        assert top not in UNSAFE or str(relative) in UNSAFE_EXCEPTIONS, where


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_durable_renames_syncs_and_deletes(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    if relative in DISK_EXCEPTIONS:
        return
    forbidden = {
        ("os", n) for n in ("rename", "replace", "renames", "fsync", "fdatasync", "remove", "unlink", "rmdir", "truncate")
    }
    forbidden |= {("shutil", n) for n in ("rmtree", "move")}
    methods = {"unlink", "rmdir", "rename"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            assert (owner, node.func.attr) not in forbidden, f"{relative}:{node.lineno}"
            assert node.func.attr not in methods, f"{relative}:{node.lineno}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled_evaluated_or_extracted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "paddle.load", "torch.load", "yaml.load", "os.system"}, f"{path}:{node.lineno}"
            assert not called.endswith((".extractall", ".extract")), f"{path}:{node.lineno}"
            assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) == "True" for k in node.keywords), (
                f"{path}:{node.lineno}"
            )
            assert not any(k.arg == "shell" for k in node.keywords), f"{path}:{node.lineno}"


def test_files_are_short() -> None:
    long = {str(p.relative_to(ROOT)): n for p in modules() if (n := len(p.read_text(encoding="utf-8").splitlines())) > 500}
    assert not long


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh process has loaded after running `code`."""
    script = f"{code}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.splitlines()[-1].split())


def test_the_leaf_loads_neither_paddle_nor_ray() -> None:
    code = "import pkgutil, importlib, shards\nfor m in pkgutil.iter_modules(shards.__path__): importlib.import_module('shards.' + m.name)"
    assert not loaded_after(code) & {"paddle", "ray", "datasets", "jieba", "pipeline", "pretrain", "finetune"}


def test_the_text_half_loads_neither_paddle_nor_ray() -> None:
    code = "\n".join(f"import {module}" for module in sorted(PURE_TEXT))
    assert not loaded_after(code) & {"paddle", "ray", "datasets", "pretrain", "finetune"}


COMMANDS = (
    "pipeline.build", "pipeline.inspect", "pretrain.run", "pretrain.runs", "pretrain.fill_mask", "pretrain.extend_vocab", "finetune.glue", "workflows.run",
    "finetune.cail2019_scm", "finetune.clue", "finetune.ner", "finetune.text", "finetune.thucnews", "finetune.training_texts",
    "shards.verify", "shards.remove", "pipeline.report", "pipeline.diff", "pipeline.plan", "pipeline.vocab",
    "pipeline.boundary_agreement",
)  # fmt: skip
COMMANDS += ("finetune.predict", "finetune.table")
COMMANDS += ("pretrain.autopsy", "pretrain.plot", "pretrain.replay", "pretrain.verify_resume", "pretrain.verify_child")
COMMANDS += ("pretrain.convert", "pretrain.export", "pretrain.compare", "pretrain.loss_by")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_no_framework(command: str) -> None:
    code = f"""
import sys, runpy, io, contextlib
sys.argv = ["{command}", "--help"]
out = io.StringIO()
try:
    with contextlib.redirect_stdout(out):
        runpy.run_module("{command}", run_name="__main__")
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
assert "--json" in out.getvalue() and "--debug" in out.getvalue()
"""
    assert not loaded_after(code) & {"paddle", "ray", "datasets", "paddlenlp", "pyarrow", "numpy", "tokenizers", "matplotlib"}


def test_every_command_is_checked() -> None:
    found = set()
    for path in modules():
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8"):
            found.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert found == set(COMMANDS)
