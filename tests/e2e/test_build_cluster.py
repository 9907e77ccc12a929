"""`--ray-address`: a build on a ray cluster, here of two nodes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import EngineError
from shards.errors import UsageError
from tests.helpers.builds import OPTIONS, build_text, data_files, write_corpus
from tests.helpers.commands import error_of, run

GIB = 1 << 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    # Loopback, but not the address that ray would put the machine's own in place of.
    node = {"num_cpus": 1, "memory": 2 * GIB, "object_store_memory": 100 << 20, "node_ip_address": "127.0.0.2"}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    cluster.add_node(**node)
    yield str(cluster.address)
    cluster.shutdown()


def test_a_cluster_makes_the_bytes_that_one_process_makes(tmp_path: Path, cluster: str) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    (tmp_path / "local").mkdir()
    expected = build_text(tmp_path / "local", corpus)["fingerprint"]
    given = ("--corpus", "text", "--name", "set", "--input", str(corpus / "text"), "--tokenizer", str(corpus / "vocab.txt"))
    command = ("pipeline.build", *given, *OPTIONS, "--engine", "ray", "--ray-address", cluster)
    for memory in (3 * GIB, 10**15):
        ran = run(*command, "--worker-memory", str(memory), cwd=tmp_path)
        error_of(ran, EngineError.exit_code, cluster, f"{memory:,} bytes", f"{2 * GIB:,}", "--worker-memory")
    ran = run(*command, "--workers", "3", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert f"the cluster at {cluster} has room for 2 of 3 workers" in ran.err
    assert ran.json["fingerprint"] == expected and data_files(tmp_path) == data_files(tmp_path / "local")


def test_a_cluster_that_is_not_there_or_not_named(tmp_path: Path) -> None:
    ran = run("pipeline.build", "--corpus", "sample", "--ray-address", "ray://127.0.0.1:1", cwd=tmp_path)
    error_of(ran, EngineError.exit_code, "ray://127.0.0.1:1", "ray did not start")
    ran = run("pipeline.build", "--corpus", "sample", "--ray-address", "auto", cwd=tmp_path)
    error_of(ran, UsageError.exit_code, "--ray-address", "auto", "HOST:PORT")
