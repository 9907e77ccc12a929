"""The caps on input from strangers: what is refused or left out, so that memory, disk and time stay bounded.

Each is read where it is applied, so that a test can lower it. A file above a cap of bytes, members or ratio is an error that
names it; a row above `MAX_LINE_BYTES` is left out and counted as ``line_too_long``.
"""

from __future__ import annotations

MIB = 1 << 20

# A row longer than this is dropped. Python holds a line that has one character beyond the basic plane at four bytes each, a few
# copies of it at a time while it is cleaned: a build of a line of 8 MiB takes up to 400 MB.
MAX_LINE_BYTES = 8 * MIB
# A longer sentence is parted; no prose has one. What segmenters and encoders hold grows with the longest.
MAX_SENTENCE_CHARACTERS = 1 << 16
# A document may reach this far beyond the size of a unit; where a format cannot be cut inside documents, longer is an error.
MAX_DOCUMENT_BYTES = 16 * MIB
# Decompressed over compressed bytes. Text reaches 3 to 10, a log file 30, gzip at most 1,032.
MAX_RATIO = 200
# Below this many decompressed bytes the ratio does not matter.
RATIO_FLOOR_BYTES = 16 * MIB
# Of one decompressed file or member, and of all members of an archive.
MAX_DECOMPRESSED_BYTES = 1 << 40
MAX_MEMBERS = 100_000
MAX_NAME_CHARACTERS = 1024
# Of a batch of an Arrow table that is compressed, or is not in a local file; others are mapped and cost nothing.
MAX_TABLE_BATCH_BYTES = 512 * MIB
# What is decoded of a Parquet table at once, unless one text is longer.
TABLE_READ_BYTES = 32 * MIB
# What tarfile holds in memory for the name and the attributes of one member.
MAX_TAR_HEADER_BYTES = MIB
# What zipfile holds in memory: the list of all members.
MAX_ZIP_DIRECTORY_BYTES = 32 * MIB
# xz streams say how much memory they need; a level 9 stream needs 65 MiB.
MAX_XZ_MEMORY_BYTES = 192 * MIB
