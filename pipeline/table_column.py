"""One column of text of an Arrow schema: which it is, whether it may be touched, and its values as strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.errors import InputError


def refuse_extensions(schema: Any, where: str) -> None:
    """Raise InputError for an extension type anywhere, registered or not: some run code when a value is looked at."""
    for field in schema:
        _refuse(field, where)


def _refuse(field: Any, where: str) -> None:
    import pyarrow as pa

    kind = field.type
    if isinstance(kind, pa.BaseExtensionType) or b"ARROW:extension:name" in (field.metadata or {}):
        raise InputError(f"column {field.name!r} holds an extension type", where=where, got=str(kind)[:100], hint="Leave it out")
    if pa.types.is_dictionary(kind):
        _refuse(pa.field(field.name, kind.value_type), where)
    for index in range(kind.num_fields):
        _refuse(kind.field(index), where)


def choose_column(schema: Any, field: str | None, where: str) -> str:
    """Return the name of the column of text. Raises InputError, naming the columns there are."""
    import pyarrow as pa

    name = choose_name(list(schema.names), field, where)
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise InputError(f"column {name!r} is not text", where=f"{where}:1", expected="strings", got=str(kind)[:100])
    return name


def choose_name(names: list[str], field: str | None, where: str) -> str:
    """Return `field`, else ``text``, else the only name. Raises InputError when there is none, or more than one of that name."""
    wanted = field or ("text" if "text" in names or len(names) != 1 else names[0])
    if names.count(wanted) != 1:
        what = f"has no column {wanted!r}" if wanted not in names else f"has several columns {wanted!r}"
        raise InputError(what, where=f"{where}:1", got="the columns " + ", ".join(names)[:300], hint="Name one: --field COLUMN")
    return wanted


def column_values(array: Any, *, check: bool) -> Iterator[bytes | None]:
    """Yield the values of a string array, one at a time, as bytes: so one that is not UTF-8 does not take the others with it.

    check: whether its buffers come from a file as they are. Then offsets and indices out of range raise pyarrow.ArrowInvalid
    before a value is touched.
    """
    import pyarrow as pa

    indices = None
    if pa.types.is_dictionary(array.type):
        indices, array = array.indices, array.dictionary
    views = {"string": pa.binary(), "large_string": pa.large_binary(), "string_view": pa.binary_view()}
    array = array.view(views[str(array.type)])
    if check:
        array.validate(full=True)
        if indices is not None:
            pa.DictionaryArray.from_arrays(indices, array, safe=False).validate(full=True)
    if indices is None:
        yield from (value.as_py() for value in array)
    else:
        for index in indices:
            yield array[index.as_py()].as_py() if index.is_valid else None
