"""Archives from strangers: bombs stop at the stated caps, tricks with names lead nowhere, and what is read is read whole."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import random
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import EncodingError, InputError
from pipeline.units import flatten, make_plan
from shards import durable
from shards.errors import WordloomError
from tests.helpers.commands import tree
from tests.helpers.reading import Read, input_file, read, read_measured

TEXT = ("\n\n".join("\n".join(f"第{i}段第{j}行，今天天气很好。" for j in range(i % 5 + 1)) for i in range(900)) + "\n").encode()
HALF = len(TEXT) // 2
MEBIBYTE_OF_ROWS = (b"a" * 63 + b"\n") * (1 << 14)


def tar_bytes(members: list[tuple[str, bytes]], mode: str = "w", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return out.getvalue()


def zip_bytes(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd", compression_level=9).compress(data, asbytes=True)
    return packed


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd,
}  # fmt: skip


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def plain(tmp_path: Path, work: Path) -> Read:
    path = tmp_path / "plain.txt"
    path.write_bytes(TEXT)
    return read(path, work, unit_bytes=8000)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_compressed_file_reads_as_the_plain_one_whatever_its_name(tmp_path: Path, work: Path, plain: Read, kind: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(COMPRESSIONS[kind](TEXT))
    found = read(path, work, unit_bytes=8000)
    assert found.raw == plain.raw and len(found.scan.cuts) > 5
    assert [(u.first_row, u.sha256) for u in found.plan.units] == [(u.first_row, u.sha256) for u in plain.plan.units]
    assert found.plan.corpus[0].size == path.stat().st_size  # of the file as it lies there


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_several_streams_in_one_file_are_read_to_the_last(tmp_path: Path, work: Path, plain: Read, kind: str) -> None:
    path = tmp_path / "two"
    path.write_bytes(COMPRESSIONS[kind](TEXT[:HALF]) + COMPRESSIONS[kind](TEXT[HALF:]))
    assert read(path, work).texts == plain.texts


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_stream_that_is_cut_off_is_an_error_and_leaves_nothing(tmp_path: Path, work: Path, kind: str) -> None:
    whole = COMPRESSIONS[kind](TEXT)
    for missing in (1, 4, 9, len(whole) // 2, len(whole) - 12):
        path = tmp_path / "cut.txt"
        path.write_bytes(whole[:-missing])
        with pytest.raises(
            InputError, match=rf"cut.txt: is cut off: its {kind} stream does not end \(got {len(whole) - missing:,} bytes"
        ):
            read(path, work)
    assert not tree(work)


# zstd has no checksum unless asked for, so that damage may show in the text alone.
@pytest.mark.parametrize("kind", [kind for kind in COMPRESSIONS if kind != "zstd"])
def test_a_damaged_stream_is_an_error(tmp_path: Path, work: Path, kind: str) -> None:
    whole = bytearray(COMPRESSIONS[kind](random.Random(5).randbytes(20_000).hex().encode()))
    whole[len(whole) // 2 : len(whole) // 2 + 40] = b"\x55" * 40
    (tmp_path / "bad").write_bytes(whole)
    with pytest.raises(InputError, match=f"bad: is damaged: not readable as {kind}"):
        read(tmp_path / "bad", work)


ARCHIVES: dict[str, Callable[[list[tuple[str, bytes]]], bytes]] = {
    "zip": zip_bytes,
    "zip-stored": lambda members: zip_bytes(members, zipfile.ZIP_STORED),
    "zip-bz2": lambda members: zip_bytes(members, zipfile.ZIP_BZIP2),
    "tar": tar_bytes,
    "tar.gz": lambda members: tar_bytes(members, "w:gz"),
    "tar.bz2": lambda members: tar_bytes(members, "w:bz2"),
    "tar.xz": lambda members: tar_bytes(members, "w:xz"),
    "tar.zst": lambda members: zstd(tar_bytes(members)),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_every_regular_member_is_an_input_file_of_its_own(tmp_path: Path, work: Path, plain: Read, kind: str) -> None:
    jsonl = '{"text": "一。\\n二。"}\n坏\n{"text": "三。"}\n'.encode()
    path = tmp_path / "corpus.bin"
    path.write_bytes(
        ARCHIVES[kind]([("b/一.txt", TEXT), (".hidden", b"x"), ("rows.jsonl", jsonl), ("empty", b""), ("z.txt", TEXT[:HALF])])
    )
    found = read(path, work, unit_bytes=8000)
    names = [f"corpus.bin!/{name}" for name in ("b/一.txt", "rows.jsonl", "empty", "z.txt")]
    assert [entry.path for entry in found.plan.corpus] == names
    assert [entry.size for entry in found.plan.corpus] == [len(TEXT), len(jsonl), 0, HALF]
    assert found.plan.corpus[0].sha256 != found.plan.corpus[3].sha256
    assert found.texts[: len(plain.raw)] == plain.texts
    assert found.rejects["invalid_json"] == ["corpus.bin!/rows.jsonl:2"]
    assert found.scan.skipped == (("hidden", 1),)
    assert {u.file_index for u in found.plan.units} == {0, 1, 3}
    files, scans = flatten([input_file(path)], [found.scan])
    assert [f.path for f in files] == names and make_plan(files, scans) == found.plan
    assert len(tree(work)) < len(found.plan.units) + 2  # small members share a block


def test_what_was_spooled_is_used_again_only_while_source_and_blocks_are_as_they_were(tmp_path: Path, work: Path) -> None:
    path = tmp_path / "c.gz"
    path.write_bytes(gzip.compress(TEXT, mtime=0))
    first = read(path, work, unit_bytes=8000)
    stamps = {p: p.stat().st_mtime_ns for p in work.rglob("block-*")}
    assert read(path, work, unit_bytes=8000).scan == first.scan
    assert {p: p.stat().st_mtime_ns for p in work.rglob("block-*")} == stamps  # not written again
    block = min(work.rglob("block-*"))
    block.write_bytes(b"x" + block.read_bytes()[1:])
    assert read(path, work, unit_bytes=8000).scan == first.scan and block.read_bytes()[:1] != b"x"
    path.write_bytes(gzip.compress(TEXT[:HALF], mtime=0))
    assert read(path, work, unit_bytes=8000).scan.sha256 != first.scan.sha256
    min(work.rglob("index.json")).write_text("{")
    assert read(path, work, unit_bytes=8000).ledger.documents_read > 0


def empty_block(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def forged_zip(change: Callable[[bytearray, int, int], None], data: bytes = TEXT) -> bytes:
    """A zip of one member after `change(bytes, offset of its local header, of its central header)`."""
    made = bytearray(zip_bytes([("a.txt", data)]))
    change(made, 0, made.index(b"PK\x01\x02"))
    return bytes(made)


def declare(size: int) -> bytes:
    def change(made: bytearray, local: int, central: int) -> None:
        struct.pack_into("<L", made, local + 22, size)
        struct.pack_into("<L", made, central + 24, size)

    return forged_zip(change)


def encrypted() -> bytes:
    def change(made: bytearray, local: int, central: int) -> None:
        struct.pack_into("<H", made, local + 6, 1)
        struct.pack_into("<H", made, central + 8, 1)

    return forged_zip(change)


def zip64_lie() -> bytes:
    """A member that says, in a zip64 field, to be four exabytes long."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packed.compress(TEXT) + packed.flush()
    extra = struct.pack("<HHQ", 1, 8, 1 << 62)
    head = (45, 0, 8, 0, 0x21, zlib.crc32(TEXT), len(data), 0xFFFFFFFF, 5)
    local = b"PK\x03\x04" + struct.pack("<5H3L2H", *head, 0) + b"a.txt" + data
    central = b"PK\x01\x02" + struct.pack("<6H3L5H2L", 45, *head, len(extra), 0, 0, 0, 0, 0) + b"a.txt" + extra
    return local + central + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)


def overlapping() -> bytes:
    """Many entries of one list that share the bytes of one member."""
    made = zip_bytes([("a.txt", 4 * MEBIBYTE_OF_ROWS)])
    at, end = made.index(b"PK\x01\x02"), made.index(b"PK\x05\x06")
    entry = made[at:end]
    entries = b"".join(entry.replace(b"a.txt", b"%05d" % i) for i in range(50))
    return made[:at] + entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, len(entries), at, 0)


def gzip_bomb() -> bytes:
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packed.compress(MEBIBYTE_OF_ROWS) for _ in range(200)) + packed.flush()


def long_name_bomb() -> bytes:
    """A member whose name is said to be 3 GB long."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 3_000_000_000
    return info.tobuf(tarfile.GNU_FORMAT) + b"a" * 20_000


def list_bomb() -> bytes:
    """A zip with a list of a million members and one line in its end record."""
    entry = b"PK\x01\x02" + struct.pack("<6H3L5H2L", 20, 20, 0, 0, 0, 0x21, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    entries = entry * 600_000
    begin = zip_bytes([("a", b"")])[:31]
    return begin + entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entries), len(begin), 0)


def xz_memory() -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "preset": 0}]
    # The dictionary a stream asks for is in its header; a small one is made and the header altered.
    made = bytearray(lzma.compress(TEXT, format=lzma.FORMAT_XZ, filters=[filters[0] | {"dict_size": 4096}]))
    at = made.index(b"\x21\x01", 12)
    made[at + 2] = 40  # 4 GiB less one byte
    header_bytes = (made[12] + 1) * 4
    struct.pack_into("<L", made, 12 + header_bytes - 4, zlib.crc32(bytes(made[12 : 12 + header_bytes - 4])))
    return bytes(made)


BOMBS: dict[str, tuple[Callable[[], bytes], str, dict[str, int]]] = {
    "gzip of 1,000 to 1": (gzip_bomb, "f: decompresses to more than 200 times its size", {}),
    "bzip2 of 1,000 to 1": (lambda: bz2.compress(100 * MEBIBYTE_OF_ROWS), "f: decompresses to more than 200 times its size", {}),
    "xz of 1,000 to 1": (lambda: lzma.compress(100 * MEBIBYTE_OF_ROWS, preset=0), "f: decompresses to more than 200 times its size", {}),
    "zstd of 1,000 to 1": (lambda: zstd(100 * MEBIBYTE_OF_ROWS), "f: decompresses to more than 200 times its size", {}),
    "gzip in gzip": (lambda: gzip.compress(gzip_bomb()), "f: is a gzip file inside another", {}),
    "zip in zip": (lambda: zip_bytes([("a.txt", b"x\n"), ("b", zip_bytes([("c", TEXT)]))]), "f!/b: is a zip file inside another", {}),
    "tar in zip": (lambda: zip_bytes([("b", tar_bytes([("c", TEXT)]))]), "f!/b: is a tar file inside another", {}),
    "gzip in tar": (lambda: tar_bytes([("b.gz", gzip.compress(TEXT))]), "f!/b.gz: is a gzip file inside another", {}),
    "zip of 1,000 to 1": (lambda: zip_bytes([("a", 40 * MEBIBYTE_OF_ROWS)]), "f: decompresses to more than 200 times its size", {}),
    "overlapping entries": (overlapping, "f: member '.*' overlaps what follows it", {}),
    "too many members of a zip": (lambda: zip_bytes([(f"{i}", b"") for i in range(300)]), "f: has more members .*at most 200", {"MAX_MEMBERS": 200}),
    "too many members of a tar": (lambda: tar_bytes([(f"{i}", b"") for i in range(300)], "w:gz"), "f: has more members .*at most 200", {"MAX_MEMBERS": 200}),
    "a list of a million members": (list_bomb, "f: has more members|f: has a longer list", {}),
    "more bytes than declared": (lambda: declare(1000), r"f!/a.txt: (is damaged|has another size)", {}),
    "fewer bytes than declared": (lambda: declare(len(TEXT) + 1), "f!/a.txt: has another size than declared .*expected", {}),
    "encrypted": (encrypted, "f!/a.txt: is encrypted", {}),
    "zip64 lie": (zip64_lie, "f.*: decompresses to more than", {}),
    "a name of 3 GB": (long_name_bomb, "f: describes a member with more bytes than are read .*3,000,000,000", {}),
    "more memory than xz may have": (xz_memory, "f: is damaged: not readable as xz .Memory usage limit", {}),
    "more bytes than a file may have": (lambda: gzip.compress(TEXT), "f: decompresses to more than is read of one file", {"MAX_DECOMPRESSED_BYTES": 10_000}),
    "more bytes than all members may have": (
        lambda: tar_bytes([("a", TEXT[:9000]), ("b", TEXT[:9000])]), "f: holds more bytes than are read", {"MAX_DECOMPRESSED_BYTES": 10_000},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_stop_at_a_stated_cap(tmp_path: Path, work: Path, name: str) -> None:
    make, message, caps = BOMBS[name]
    path = tmp_path / "f"
    path.write_bytes(make())
    found = read_measured(path, work, **caps)
    assert found["code"] == InputError.exit_code, found
    assert re.search(message, found["error"]), found
    assert found["seconds"] <= 10 and found["peak_mib"] <= 512, found
    assert not tree(work)


TRICKS = [
    "../outside.txt", "a/../../outside.txt", "/etc/outside.txt", "C:\\outside.txt", "..\\outside.txt", "\\\\server\\outside.txt",
    "a\nb.txt", "a\x1b[2Jb.txt", "x" * 5000, "a/..", "./..", "out/../../out_evil/a.txt",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", TRICKS, ids=lambda name: ascii(name[:30]))
def test_names_that_lead_out_are_refused_by_name(tmp_path: Path, work: Path, kind: str, name: str) -> None:
    inside = tmp_path / "in" / "deep"
    inside.mkdir(parents=True)
    path = inside / "f"
    path.write_bytes(ARCHIVES[kind]([("good.txt", TEXT), (name, b"evil\n")]))
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"f: the name of member '.*' (leads out|is longer|holds characters)"):
        read(path, work)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name", ["a.txt", "out_evil/a.txt", "A.TXT", "深/文.txt", "a b.txt", "con", "./a.txt", "~/a.txt", "$HOME/a.txt"]
)
def test_odd_names_are_only_words_in_the_manifest(tmp_path: Path, work: Path, kind: str, name: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(ARCHIVES[kind]([("a.TXT", TEXT), (name, TEXT)]))
    assert [entry.path for entry in read(path, work).plan.corpus] == ["f!/a.TXT", f"f!/{name}"]
    assert {p.name for p in tmp_path.iterdir()} == {"f", "work"}
    assert all(p.name == "index.json" or p.name.startswith("block-") for p in work.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_two_members_of_one_name_are_refused(tmp_path: Path, work: Path, kind: str) -> None:
    if kind == "zip":
        data = zip_bytes([("a", TEXT), ("b", TEXT)])
        at = [i for i in range(len(data)) if data[i : i + 4] in (b"PK\x01\x02", b"PK\x03\x04")]
        forged = bytearray(data)
        for start in at:
            name = start + (30 if data[start + 2] == 3 else 46)
            forged[name] = ord("a")
        data = bytes(forged)
    else:
        data = tar_bytes([("a", TEXT), ("a", TEXT)])
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(InputError, match="f: holds two members of the name 'a'"):
        read(tmp_path / "f", work)


def test_links_and_devices_are_passed_over_and_counted(tmp_path: Path, work: Path) -> None:
    extra = (
        empty_block("passwd", tarfile.SYMTYPE, "/etc/passwd"), empty_block("hard", tarfile.LNKTYPE, "../../x"), empty_block("fifo", tarfile.FIFOTYPE),
        empty_block("sda", tarfile.BLKTYPE), empty_block("null", tarfile.CHRTYPE), empty_block("folder", tarfile.DIRTYPE),
    )  # fmt: skip
    path = tmp_path / "f.tar"
    path.write_bytes(tar_bytes([("a.txt", TEXT)], extra=extra))
    found = read(path, work)
    assert found.scan.skipped == (("device", 3), ("folder", 1), ("link", 2)) and len(found.plan.corpus) == 1
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", TEXT)
        archive.writestr(info, "/etc/passwd")
        archive.writestr("folder/", b"")
    path.write_bytes(out.getvalue())
    found = read(path, work)
    assert found.scan.skipped == (("folder", 1), ("link", 1)) and len(found.plan.corpus) == 1


@pytest.mark.parametrize("missing", [1, 512, 1024, 1025, 5000])
@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_without_its_end_is_an_error(tmp_path: Path, work: Path, missing: int, packed: bool) -> None:
    whole = tar_bytes([("a.txt", TEXT), ("b.txt", b"x\n")])
    whole = whole.rstrip(b"\0")
    whole += bytes(-len(whole) % 512)  # the last member, whole; the end mark is cut away
    data = whole[: len(whole) - missing + 1]
    (tmp_path / "f").write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError, match=r"f(!/.*)?: is (damaged or )?cut off"):
        read(tmp_path / "f", work)
    assert not tree(work)


def test_a_broken_header_between_members_is_an_error(tmp_path: Path, work: Path) -> None:
    data = bytearray(tar_bytes([("a.txt", b"x\n"), ("b.txt", b"y\n")]))
    data[1024 + 150] ^= 1  # the checksum of the second header
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(InputError, match="f: is damaged or cut off"):
        read(tmp_path / "f", work)


@pytest.mark.parametrize("cut", [1, 10, 22, 30, 60, 500])
def test_a_zip_that_is_cut_off_is_an_error(tmp_path: Path, work: Path, cut: int) -> None:
    (tmp_path / "f").write_bytes(zip_bytes([("a.txt", TEXT)])[:-cut])
    with pytest.raises(InputError, match="f: is damaged or cut off: not readable as zip"):
        read(tmp_path / "f", work)


def test_a_flipped_bit_in_a_zip_member_is_an_error(tmp_path: Path, work: Path) -> None:
    data = bytearray(zip_bytes([("a.txt", TEXT)], zipfile.ZIP_STORED))
    data[5000] ^= 1
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(InputError, match=r"f!/a.txt: is damaged: Bad CRC-32"):
        read(tmp_path / "f", work)


@pytest.mark.parametrize("magic", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x00", b"\x04\x22\x4d\x18"])
def test_archives_that_are_not_read_are_named(tmp_path: Path, work: Path, magic: bytes) -> None:
    (tmp_path / "f").write_bytes(magic + bytes(100))
    with pytest.raises(InputError, match=r"f: is a (7z|rar|lz4) file, which is not read"):
        read(tmp_path / "f", work)


def test_remote_archives_are_read_where_they_lie(work: Path, plain: Read) -> None:
    import fsspec

    from pipeline.inputs import InputFile
    from pipeline.scan import scan_file
    from pipeline.units import make_plan

    store = fsspec.filesystem("memory")
    for name, data in (
        ("c.zip", zip_bytes([("a.txt", TEXT)])),
        ("c.tar.gz", tar_bytes([("a.txt", TEXT)], "w:gz")),
        ("c.gz", gzip.compress(TEXT)),
    ):
        store.pipe(f"/archives/{name}", data)
        file = InputFile(url=f"memory://archives/{name}", path=name, size=len(data), lang="zh", format="auto")
        plan = make_plan([file], [scan_file(file, 8000, work=work)])
        assert [u.sha256 for u in plan.units] == [u.sha256 for u in plain.plan.units]
    store.rm("/archives", recursive=True)


@pytest.mark.parametrize("kind", [*COMPRESSIONS, *ARCHIVES])
def test_damage_anywhere_is_a_typed_error_or_does_no_harm(tmp_path: Path, work: Path, kind: str) -> None:
    rng = random.Random(kind)
    text = TEXT[:3000] + b"\n"
    whole = COMPRESSIONS[kind](text) if kind in COMPRESSIONS else ARCHIVES[kind]([("a.txt", text), ("b/c.txt", text[:700])])
    path = tmp_path / "f"
    for _ in range(120):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data))
            data[at] = rng.choice((data[at] ^ (1 << rng.randrange(8)), rng.randrange(256)))
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            read(path, work)  # checks that all it read is accounted for
        except WordloomError as error:
            assert error.exit_code in (InputError.exit_code, EncodingError.exit_code) and str(error).startswith("f"), error
    assert {p.name for p in tmp_path.iterdir()} <= {"f", "work"}


def test_a_spool_killed_anywhere_is_made_again_as_it_should_be(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.tar.gz"
    path.write_bytes(tar_bytes([("a.txt", TEXT), ("b.txt", TEXT[:HALF])], "w:gz"))
    wanted = read(path, tmp_path / "other", unit_bytes=20_000)
    operations = 0

    class Killed(BaseException):
        pass

    def kill(kind: str, at: Path) -> None:
        nonlocal operations
        operations += 1
        if operations >= stop:  # and nothing tidies up afterwards
            raise Killed

    for stop in range(1, 200):  # noqa: B007 - `kill` reads it
        operations = 0
        monkeypatch.setattr(durable, "fault_hook", kill)
        with contextlib.suppress(Killed):
            read(path, work, unit_bytes=20_000)
            break
        monkeypatch.setattr(durable, "fault_hook", None)
        found = read(path, work, unit_bytes=20_000)
        assert found.raw == wanted.raw and [c.cuts for c in found.scan.members] == [c.cuts for c in wanted.scan.members]
        durable.remove_tree(work)
    assert 30 < stop < 199
