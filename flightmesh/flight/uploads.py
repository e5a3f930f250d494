"""What clients send by DoPut: validated before anything reads a value, bounded, and whole or refused.

The end of a stream proves nothing: a killed client's upload ends like a whole one, and only the call's own state tells
them apart. A client that wants more says so beforehand, and ends its upload with a count of its rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.flight as fl

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flight.watcher import Watched
from flightmesh.flightsql import messages as m
from flightmesh.service.options import Options
from flightmesh.service.updates import Ingest

# In the metadata of an upload's schema: its last message is metadata alone, {"rows": n}.
COMMIT_KEY, COMMIT_EXPLICIT = b"flightmesh:commit", b"explicit"
_BATCH_COST_BYTES = 1_024
_MISSING: Mapping[m.TableNotExistOption, Literal["create", "fail"]] = {
    m.TableNotExistOption.TABLE_NOT_EXIST_OPTION_CREATE: "create",
    m.TableNotExistOption.TABLE_NOT_EXIST_OPTION_FAIL: "fail",
}
_EXISTS: Mapping[m.TableExistsOption, Literal["fail", "append", "replace"]] = {
    m.TableExistsOption.TABLE_EXISTS_OPTION_FAIL: "fail",
    m.TableExistsOption.TABLE_EXISTS_OPTION_APPEND: "append",
    m.TableExistsOption.TABLE_EXISTS_OPTION_REPLACE: "replace",
}
# What to do when the table is there, and when it is not.
PUT_MODES: Mapping[str, tuple[Literal["fail", "append", "replace"], Literal["create", "fail"]]] = {
    "create": ("fail", "create"),
    "append": ("append", "fail"),
    "replace": ("replace", "create"),
    "create_append": ("append", "create"),
}
# What pyarrow says of an upload without a schema.
_NOTHING_SENT = "Client never sent a data message"
# The transport tells of a broken connection a moment after the stream has ended.
_SETTLING_S = 0.02


def schema_of(reader: fl.MetadataRecordBatchReader, watched: Watched, *, may_miss: bool = False) -> pa.Schema:
    """The upload's schema; INVALID when it cannot be read, or when the client sent none. With ``may_miss`` one that was
    not sent has no columns.
    """
    try:
        try:
            with watched.sending():
                schema = reader.schema
        except OSError as error:
            if may_miss and _NOTHING_SENT in str(error):
                return pa.schema([])
            raise
        for field in schema:
            _read_names(field.name, field.type)
        return schema
    except (pa.ArrowException, OSError, NotImplementedError, ValueError):
        failure = FlightmeshError(
            ErrorCode.INVALID, "The upload has no readable schema.", hint="Send a schema, then record batches."
        )
    raise failure


def _read_names(name: str, kind: pa.DataType) -> None:
    """Nothing; UnicodeDecodeError when a name in the type is no text: Arrow does not check them."""
    if pa.types.is_timestamp(kind):
        _ = kind.tz
    if pa.types.is_dictionary(kind):
        _read_names(name, kind.value_type)
    for place in range(kind.num_fields):
        _read_names(kind.field(place).name, kind.field(place).type)


def parameters(
    reader: fl.MetadataRecordBatchReader, watched: Watched, limits: Limits, *, may_miss: bool = False
) -> pa.RecordBatch:
    """All rows of an upload of parameters as one batch. ``may_miss``: without a schema there are none, as drivers send
    it for a statement without parameters.
    """
    schema = schema_of(reader, watched, may_miss=may_miss)
    size = rows = 0
    kept = []
    for batch in _batches(reader, watched):
        # A batch without rows or columns costs memory too.
        size += batch.nbytes + _BATCH_COST_BYTES
        rows += batch.num_rows
        if size > limits.put_bytes_max or rows > limits.parameters_rows_max:
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"More than {limits.parameters_rows_max} rows or {limits.put_bytes_max} bytes of parameters were sent.",
                hint="Bind fewer rows at a time.",
            )
        kept.append(batch)
    parts = pa.Table.from_batches(kept, schema).combine_chunks().to_batches()
    return parts[0] if parts else pa.RecordBatch.from_pylist([], schema)


def rows(
    reader: fl.MetadataRecordBatchReader, context: fl.ServerCallContext, watched: Watched, limits: Limits
) -> Iterator[pa.RecordBatch]:
    """The batches of an upload. Raises at its end unless it is whole, so nothing may be kept before that.

    Errors: INVALID for what is no Arrow, over a bound, or ends without the count that was announced; CANCELLED when
    the client has gone.
    """
    announced = (schema_of(reader, watched).metadata or {}).get(COMMIT_KEY) == COMMIT_EXPLICIT
    trailers: list[bytes] = []
    sent = 0
    for number, batch in enumerate(_batches(reader, watched, trailers), start=1):
        sent += batch.num_rows
        if number > limits.put_batches_max:
            raise FlightmeshError(
                ErrorCode.INVALID,
                f"The upload has more than {limits.put_batches_max} batches.",
                hint="Send larger batches.",
            )
        yield batch
    check_whole(context, watched)
    if announced and _count(trailers) != sent:
        raise FlightmeshError(
            ErrorCode.INVALID,
            "The upload ended before its announced end; nothing of it is kept.",
            hint="Send it again.",
        )


def check_whole(context: fl.ServerCallContext, watched: Watched) -> None:
    """Nothing; CANCELLED when the upload ended because its client went away."""
    if not context.is_cancelled():
        time.sleep(_SETTLING_S)
    if watched.failure is not None:
        raise watched.failure
    if context.is_cancelled():
        raise FlightmeshError(ErrorCode.CANCELLED, "The client went away in the middle of its upload.")


def target_of(command: m.CommandStatementIngest, options: Options) -> Ingest:
    """Where the rows of an ingest go. INVALID for what is not temporary, and for options that say nothing."""
    takes_all = options.new_tables == "temporary" and not (command.catalog or command.schema)
    if not command.temporary and not takes_all:
        raise FlightmeshError(
            ErrorCode.INVALID,
            "Only temporary tables take rows.",
            hint="Set temporary (adbc_ingest(..., temporary=True)), or the session option new_tables to temporary; the "
            "table is seen by this session alone.",
        )
    _check_place(command.catalog, command.schema)
    wanted = command.table_definition_options
    missing = _MISSING.get(wanted.if_not_exist) if wanted else None
    exists = _EXISTS.get(wanted.if_exists) if wanted else None
    if missing is None or exists is None:
        raise FlightmeshError(
            ErrorCode.INVALID,
            "The ingest does not say what to do when the table is there, or is not.",
            hint="Set if_not_exist and if_exists.",
        )
    transaction = command.transaction_id.decode(errors="replace") if command.transaction_id else None
    return Ingest(command.table, exists, missing, transaction)


def target_of_path(path: tuple[str, ...], options: Options) -> Ingest:
    """Where the rows of a plain upload go: ``name``, or ``temp``, ``main``, ``name`` (or these joined by dots), by the
    session's put_mode.
    """
    # Some clients can send but one part; reading takes dots for the same.
    *before, name = path if len(path) > 1 else (path or ("",))[0].split(".")
    if before not in ([], ["temp"], ["temp", "main"]) or not name:
        raise FlightmeshError(
            ErrorCode.INVALID,
            "Only temporary tables take rows.",
            hint='Upload to the path "temp", "main", and a name of your own.',
        )
    return Ingest(name, *PUT_MODES[options.put_mode])


def _check_place(catalog: str | None, schema: str | None) -> None:
    if (catalog or "temp", schema or "main") != ("temp", "main"):
        raise FlightmeshError(
            ErrorCode.INVALID,
            "A temporary table has no catalogue or schema of its own.",
            hint="Leave them out.",
        )


def _batches(
    reader: fl.MetadataRecordBatchReader, watched: Watched, trailers: list[bytes] | None = None
) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            with watched.sending():
                chunk: Any = reader.read_chunk()  # Any: pyarrow has no types
            if chunk.data is not None:
                # Malformed IPC crashes whoever touches the values, so this comes first (security.md, fact 4).
                chunk.data.validate(full=True)
        except StopIteration:
            return
        except (pa.ArrowException, OSError, NotImplementedError, ValueError):
            # Nobody's data is concerned, but the texts quote values and buffers; the client knows what it has sent.
            failure = FlightmeshError(ErrorCode.INVALID, "The upload is no valid stream of Arrow record batches.")
        else:
            if chunk.data is not None:
                yield chunk.data
            elif trailers is not None and chunk.app_metadata is not None:
                trailers[:] = [chunk.app_metadata.to_pybytes()]
            continue
        raise watched.failure or failure


class _Trailer(msgspec.Struct, frozen=True):
    """The last message of an upload that announces its end."""

    rows: int


def _count(trailers: list[bytes]) -> int | None:
    try:
        return msgspec.json.decode(trailers[-1], type=_Trailer).rows if trailers else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
