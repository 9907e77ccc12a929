"""A build from and to an S3-compatible server of this machine (moto's), by ray's workers, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shards.errors import LockedError, StorageError
from tests.helpers.builds import OPTIONS, build_text, data_files, write_corpus
from tests.helpers.commands import ROOT, error_of, run

s3fs = pytest.importorskip("s3fs", reason="the extra s3 is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto is not installed")

RAY = tuple(option for option in OPTIONS if option not in ("--engine", "local"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), files=3)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(server: str, corpus: Path, tmp_path: Path) -> tuple[Any, dict[str, str]]:
    """The server with an empty bucket ``out`` and the corpus in bucket ``texts``, and the environment that finds it."""
    env = {
        "AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-west-1",
        "WORDLOOM_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    fs = s3fs.S3FileSystem(
        key="test", secret="test", endpoint_url=server, client_kwargs={"region_name": "eu-west-1"}, use_listings_cache=False,
        skip_instance_cache=True,
    )  # fmt: skip
    for bucket in ("texts", "out"):
        if fs.exists(bucket):
            fs.rm(bucket, recursive=True)
        fs.mkdir(bucket)
    for path in (corpus / "text").iterdir():
        fs.put_file(str(path), f"texts/text/{path.name}")
    return fs, env


def command(corpus: Path, *more: str) -> list[str]:
    given = ("--corpus", "text", "--name", "set", "--input", "s3://texts/text", "--tokenizer", str(corpus / "vocab.txt"))
    return [*given, "--out", "s3://out/data", *RAY, *more]


def stored(fs: Any) -> dict[str, bytes]:
    files = {path.removeprefix("out/data/set/"): fs.cat_file(path) for path in fs.find("out/data/set")}
    return {n: d for n, d in files.items() if n != "manifest.json" and not n.startswith("units-")}


def test_killed_and_started_again_it_is_what_a_folder_gets(tmp_path: Path, corpus: Path, s3: tuple[Any, dict[str, str]]) -> None:
    fs, env = s3
    expected = build_text(tmp_path, corpus)["fingerprint"]
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.build", *command(corpus, "--engine", "ray", "--workers", "1")], cwd=tmp_path,
        env=os.environ | env | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not any("/unit-" in path for path in fs.find("out/data/set")):
            assert process.poll() is None and time.monotonic() < deadline, "it ended before it could be disturbed"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert not fs.exists("out/data/set/manifest.json") and fs.exists("out/data/.set.lock")
    ran = run("pipeline.build", *command(corpus, "--engine", "ray", "--workers", "2", "--json"), cwd=tmp_path, env=env)
    assert ran.code == 0, ran.err
    assert "took over the lock of a process that died" in ran.err
    assert ran.json["fingerprint"] == expected and ran.json["figures"]["reused_units"] >= 1
    assert stored(fs) == data_files(tmp_path)
    assert not fs.exists("out/data/.set.lock")
    checked = run("shards.verify", "s3://out/data/set", "--json", cwd=tmp_path, env=env)
    assert checked.code == 0 and checked.json["fingerprint"] == expected, checked.err
    shown = run("pipeline.inspect", "s3://out/data/set", "--json", cwd=tmp_path, env=env)
    assert shown.code == 0 and shown.json["figures"]["samples"][0]["source"].startswith("0.txt:")


def test_what_goes_wrong_with_a_store_is_said(tmp_path: Path, corpus: Path, s3: tuple[Any, dict[str, str]]) -> None:
    fs, env = s3
    fs.pipe_file("out/data/.set.lock", b'{"pid": 1, "host": "elsewhere", "since": "2026-01-01"}')
    ran = run("pipeline.build", *command(corpus, "--engine", "local"), cwd=tmp_path, env=env)
    error_of(ran, LockedError.exit_code, "s3://out/data/set", "locked by pid 1 on host elsewhere")
    ran = run("pipeline.build", *command(corpus, "--engine", "local", "--out", "s3://missing/data"), cwd=tmp_path, env=env)
    error_of(ran, StorageError.exit_code, "s3://missing/data/set", "bucket")
