"""A file read as a build reads it, in this process or in one whose memory is measured; and the check that nothing got lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.documents import Document, Ledger
from pipeline.inputs import InputFile
from pipeline.reader_settings import ReaderSettings
from pipeline.scan import FileScan, scan_file
from pipeline.stages import default_stages, run_stages
from pipeline.units import Plan, make_plan, read_unit, unit_format

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Read:
    """What became of one input: documents as the format gives them and as the stages leave them, and where rows were dropped."""

    raw: list[Document]
    kept: list[Document]
    ledger: Ledger
    plan: Plan
    scan: FileScan
    rejects: dict[str, list[str]]

    @property
    def texts(self) -> list[str]:
        return [document.text for document in self.raw]


def input_file(path: Path, format: str = "auto") -> InputFile:
    return InputFile(url=str(path), path=path.name, size=path.stat().st_size, lang="zh", format=format)


def read(
    path: Path,
    work: Path,
    *,
    unit_bytes: int = 1 << 20,
    format: str = "auto",
    encoding: str = "utf-8",
) -> Read:
    """Scan, plan, read and clean a file, and check that ``read = kept + Σ dropped`` for documents and rows."""
    file = input_file(path, format)
    scan = scan_file(file, unit_bytes, ReaderSettings(format=format, encoding=encoding), work)
    plan = make_plan([file], [scan])
    raw: list[Document] = []
    kept: list[Document] = []
    total = Ledger()
    rejects: dict[str, list[str]] = {}
    for unit in plan.units:
        ledger = Ledger()
        documents = list(unit_format(unit).documents(read_unit(unit), unit.first_row, ledger))
        raw += documents
        kept += run_stages(documents, default_stages(), ledger)
        for reason, rows in ledger.rejects.items():
            rejects.setdefault(reason, []).extend(f"{plan.corpus[unit.file_index].path}:{row}" for row in rows)
        _add(total, ledger)
    conserved(total)
    return Read(raw=raw, kept=kept, ledger=total, plan=plan, scan=scan, rejects=rejects)


def _add(total: Ledger, part: Ledger) -> None:
    for name in ("documents_read", "documents_kept", "rows_read", "rows_kept"):
        setattr(total, name, getattr(total, name) + getattr(part, name))
    total.documents_dropped.update(part.documents_dropped)
    total.rows_dropped.update(part.rows_dropped)
    total.rows_changed.update(part.rows_changed)


def conserved(ledger: Ledger) -> None:
    """Check that everything read is kept or has a reason."""
    assert ledger.documents_read == ledger.documents_kept + sum(ledger.documents_dropped.values()), ledger
    assert ledger.rows_read == ledger.rows_kept + sum(ledger.rows_dropped.values()), ledger
    assert all(reason.replace("_", "").isalnum() for reason in Counter(ledger.rows_dropped))


_MEASURED = """
import json, sys, time
from pathlib import Path
import pipeline.limits, pipeline.spool
sys.path.insert(0, sys.argv[1])
from tests.helpers.reading import read
from shards.errors import WordloomError
for name, value in json.loads(sys.argv[4]).items():
    setattr(pipeline.limits, name, value)
begun, out = time.perf_counter(), {"error": None, "code": 0}
try:
    done = read(Path(sys.argv[2]), Path(sys.argv[3]))
    out |= {"rejects": done.rejects, "documents": len(done.kept)}
except WordloomError as error:
    out |= {"error": str(error), "code": error.exit_code}
out["seconds"] = time.perf_counter() - begun
status = Path("/proc/self/status").read_text()
out["peak_mib"] = int(status.split("VmHWM:")[1].split()[0]) >> 10
print(json.dumps(out))
"""


def read_measured(path: Path, work: Path, timeout_s: float = 200, **caps: int) -> dict[str, Any]:
    """Read a file in a process of its own under lowered caps; return error, exit code, seconds and ``peak_mib`` of memory."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _MEASURED, str(ROOT), str(path), str(work), json.dumps(caps)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value
