"""``python -m pretrain.fill_mask`` on a checkpoint made here; and how a process with paddle in it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.tokenizer_wordpiece import WordPieceTokenizer as Tokenizer
from pretrain.checkpoint import Contents, step_folder, write_checkpoint
from pretrain.config import ModelConfig
from pretrain.environment import start
from pretrain.weights import named_weights

TEXT = "今天[MASK]很好，我想去公园玩！"
CHARACTERS = "今天气很好我想去公园玩都风人，！"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model answers 气, 都, 风, 人, 天 at every mask, in this order, and before all of them special tokens."""
    start("cpu")
    import paddle

    from pretrain.heads import PretrainingModel

    folder = tmp_path_factory.mktemp("runs") / "little"
    vocabulary = folder.parent / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(CHARACTERS)]) + "\n", "utf-8")
    tokenizer = Tokenizer.from_vocab_file(vocabulary)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=8, embedding_size=8, num_layers=1, num_heads=2, intermediate_size=8,
        max_positions=16,
    )  # fmt: skip
    paddle.seed(0)
    weights = named_weights(PretrainingModel(config))
    bias = np.zeros(config.vocab_size, dtype=np.float32)
    for place, character in enumerate("气都风人天"):
        bias[tokenizer.encode(character)[0]] = 9 - place
    bias[:5] = 20
    weights["cls.predictions.decoder_bias"] = bias
    contents = Contents(
        step=3, model=weights, optimizer=None, state={"tokenizer_hash": tokenizer.hash}, config=config,
        tokenizer_files=tokenizer.files(),
    )  # fmt: skip
    write_checkpoint(step_folder(folder, 3), contents)
    return folder


def fill_mask(*options: object, cwd: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pretrain.fill_mask", *map(str, options)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, env={**os.environ, **(environment or {})}
    )


def test_masks_are_filled_and_the_rest_is_kept(run_folder: Path) -> None:
    done = fill_mask("--model", run_folder, "--text", TEXT, cwd=run_folder.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "今天[气||都||风||人||天]很好，我想去公园玩！"
    assert done.stderr == ""


def test_json_reports_every_mask_with_probabilities(run_folder: Path) -> None:
    text = "[MASK] 今天,\tABC[MASK]！"
    done = fill_mask("--model", run_folder, "--text", text, "--top-k", 2, "--json", cwd=run_folder.parent)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] and len(report["fingerprint"]) == 64
    figures = report["figures"]
    assert (figures["text"], figures["filled"]) == (text, "[气||都] 今天,\tABC[气||都]！")
    assert [mask["index"] for mask in figures["masks"]] == [0, 1]
    for mask in figures["masks"]:
        assert [candidate["token"] for candidate in mask["candidates"]] == ["气", "都"]
        first, second = (candidate["probability"] for candidate in mask["candidates"])
        # Special tokens hold nearly all of the probability here, and it is not shared out to the others.
        assert 0 < second < first < 1e-3


@pytest.mark.parametrize(
    "options,code,message",
    [
        (["--text", "今天很好"], 2, "the text has no [MASK] (got '今天很好')"),
        (["--text", "[MASK]" + "好" * 14], 2, "(expected at most 16 tokens, special ones included, got 17)"),
        (["--text", TEXT, "--top-k", "0"], 2, "--top-k is wrong (expected at least 1, got 0)"),
        (["--text", TEXT, "--model", "absent"], 5, "absent: no model here"),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_is_one_line(run_folder: Path, options: list[str], code: int, message: str) -> None:
    done = fill_mask("--model", run_folder, *options, cwd=run_folder.parent)
    assert done.returncode == code
    assert message in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_text_of_exactly_the_models_length_is_taken(run_folder: Path) -> None:
    assert fill_mask("--model", run_folder, "--text", "[MASK]" + "好" * 13, cwd=run_folder.parent).returncode == 0


def test_weights_that_do_not_fit_the_config_are_refused(run_folder: Path, tmp_path: Path) -> None:
    from pretrain.checkpoint import verify_checkpoint
    from pretrain.weights import load_weights

    source = step_folder(run_folder, 3)
    weights = load_weights(source / "model.safetensors")
    del weights["roformer.pooler.dense.bias"]
    contents = Contents(
        step=3, model=weights, optimizer=None, state=verify_checkpoint(source).state(),
        config=verify_checkpoint(source).config(),
        tokenizer_files={p.name: p.read_bytes() for p in (source / "tokenizer").iterdir()},
    )  # fmt: skip
    write_checkpoint(step_folder(tmp_path / "broken", 3), contents)
    done = fill_mask("--model", tmp_path / "broken", "--text", TEXT, cwd=tmp_path)
    assert done.returncode == 21 and "1 missing: roformer.pooler.dense.bias" in done.stderr


def test_a_gpu_that_this_build_does_not_have_is_an_error_not_a_fallback(run_folder: Path) -> None:
    import paddle

    if paddle.is_compiled_with_cuda():
        pytest.skip("this build of paddle has GPU support")
    done = fill_mask("--model", run_folder, "--text", TEXT, "--device", "gpu", cwd=run_folder.parent)
    assert done.returncode == 26 and "this build of paddle has no GPU support" in done.stderr


def test_the_users_environment_wins_and_reasons_are_printed(run_folder: Path) -> None:
    options = ("--model", run_folder, "--text", TEXT)
    theirs = {"OMP_NUM_THREADS": "1", "MKL_DEBUG_CPU_TYPE": "4", "MALLOC_TOP_PAD_": "1000000"}
    done = fill_mask(*options, cwd=run_folder.parent, environment=theirs)
    assert "OMP_NUM_THREADS=1 (set by the user)" in done.stdout
    assert "memory: as MALLOC_TOP_PAD_ says (set by the user)" in done.stdout
    assert "device: cpu" in done.stdout


def test_help_is_given_without_loading_paddle_or_numpy() -> None:
    program = (
        "import sys\nfrom pretrain.fill_mask import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('loaded:', [name for name in ('paddle', 'numpy', 'ray', 'datasets', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout and "--top-k" in done.stdout


@pytest.mark.parametrize("ranks,threads", [(1, 6), (2, 3), (4, 1), (16, 1)])
def test_cores_are_shared_out_among_processes(ranks: int, threads: int) -> None:
    program = (
        "import os\nfrom pretrain import environment\nenvironment.available_cores = lambda: 6\n"
        f"print(environment.prepare(local_ranks={ranks})[0], os.environ['OMP_NUM_THREADS'])"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.startswith(f"OMP_NUM_THREADS={threads} (6 cores for") and done.stdout.endswith(f" {threads}\n")
