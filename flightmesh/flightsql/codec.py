"""Bytes to message and back, through one table: ``TABLE`` holds a row of field numbers for every message.

Written by hand: the wire format of proto3 that these messages need is small, importing protobuf's runtime takes
longer than this whole room, and its descriptors would clash with any other Flight SQL stubs of the process. Bytes
come from strangers: whatever they hold, reading ends with a message or a FlightmeshError, in time linear in their
length. Follows the Protocol Buffers encoding specification: unknown fields are skipped, the last of a repeated
singular field wins, parts merge.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Any, TypeAlias, TypeVar, cast, get_args

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import messages as m

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Longer input is refused unread. ADBC's own bound for a whole message is the same."""

FIELDS_MAX = 65_536
"""Fields and list elements of one message together: bounds the time that small hostile fields can take."""

PACKAGE = "arrow.flight.protocol.sql."
TYPE_URL_PREFIX = "type.googleapis.com/"

Data: TypeAlias = bytes | bytearray | memoryview

_GROUP_DEPTH_MAX = 100
_FIELD_NUMBER_MAX = (1 << 29) - 1
_UINT64_MAX = (1 << 64) - 1
_M = TypeVar("_M", bound=m.Message)


def pack(message: m.Wrapped) -> bytes:
    """The message in the ``Any`` envelope."""
    return _encode(_Any(TYPE_URL_PREFIX + PACKAGE + type(message).__name__, _encode(message)))


def unpack(data: Data) -> m.Wrapped:
    """The message in an ``Any`` envelope.

    Errors: INVALID for bytes that are not an envelope or whose content is broken; UNSUPPORTED for an envelope that
    holds another type than those of ``messages.Wrapped``.
    """
    envelope = cast(_Any, _decode(_Any, data))
    _, slash, name = envelope.type_url.rpartition("/")
    if not slash or not name:
        raise _invalid("The bytes are not a Flight SQL message.")
    cls = _WRAPPED.get(name)
    if cls is None:
        raise FlightmeshError(ErrorCode.UNSUPPORTED, f"The message type {name[:100]!r} is not known.")
    return cast(m.Wrapped, _decode(cls, envelope.value))


def encode(message: m.Message) -> bytes:
    """The message without an envelope."""
    return _encode(message)


def decode(cls: type[_M], data: Data) -> _M:
    """The message of the given class in bytes without an envelope; INVALID when they are broken."""
    return cast(_M, _decode(cls, data))


# The wire -----------------------------------------------------------------------------------------


class _Wire(IntEnum):
    VARINT = 0
    FIXED64 = 1
    DELIMITED = 2
    GROUP = 3
    GROUP_END = 4
    FIXED32 = 5


def _invalid(fact: str) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, fact)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit number at the position, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _invalid("The message is cut off.")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # Bits beyond the 64th are dropped, as protobuf's own readers do.
            return value & _UINT64_MAX, at
    raise _invalid("The message holds a number that does not end.")


def _read_bytes(data: bytes, at: int, wire: int) -> tuple[bytes, int]:
    """The content of a field that is not a varint, and the position behind it."""
    if wire == _Wire.DELIMITED:
        size, at = _read_varint(data, at)
    else:
        size = 8 if wire == _Wire.FIXED64 else 4
    end = at + size
    if end > len(data):
        raise _invalid("The message is cut off.")
    return data[at:end], end


def _wire_fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and raw value of every field, in order; groups, which proto3 has not, are skipped."""
    at = count = 0
    groups: list[int] = []
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        count += 1
        if not 0 < number <= _FIELD_NUMBER_MAX or wire > _Wire.FIXED32 or count > FIELDS_MAX:
            raise _invalid("The message is garbled or holds too many fields.")
        if wire == _Wire.GROUP:
            groups.append(number)
            if len(groups) > _GROUP_DEPTH_MAX:
                raise _invalid("The message is nested too deeply.")
        elif wire == _Wire.GROUP_END:
            if not groups or groups.pop() != number:
                raise _invalid("The message is garbled.")
        else:
            value: int | bytes
            value, at = _read_varint(data, at) if wire == _Wire.VARINT else _read_bytes(data, at, wire)
            if not groups:
                yield number, wire, value
    if groups:
        raise _invalid("The message is cut off.")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(content: bytes) -> bytes:
    return _varint(len(content)) + content


# Kinds of values ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of value is read from and written to its wire type."""

    wire: _Wire
    read: Callable[[Any], object]  # Any: int for varints, bytes for the other wire types
    write: Callable[[Any], bytes]  # Any: the kind's own Python type
    default: object = None
    message: type | None = None


def _integer(bits: int, *, signed: bool) -> _Kind:
    modulus, low = 1 << bits, -(1 << bits - 1) if signed else 0

    def read(raw: int) -> int:
        # The standard cuts a number that is too wide to the field's width.
        value = raw % modulus
        return value - modulus if signed and value >= modulus // 2 else value

    def write(value: int) -> bytes:
        assert low <= value < low + modulus, "a number out of its field's range is a fault of the caller"
        return _varint(value % (1 << 64))

    return _Kind(_Wire.VARINT, read, write, 0)


def _read_text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _invalid("The message holds text that is not UTF-8.") from error


def _write_text(text: str) -> bytes:
    try:
        return _delimited(text.encode())
    except UnicodeEncodeError as error:
        raise _invalid("The text cannot be written as UTF-8.") from error


def _packed(form: str, default: float) -> _Kind:
    return _Kind(
        _Wire.FIXED64, lambda raw: struct.unpack(form, raw)[0], lambda value: struct.pack(form, value), default
    )


def _enum(cls: type[IntEnum]) -> _Kind:
    known = {member.value: member for member in cls}
    return _Kind(_Wire.VARINT, lambda raw: known.get(raw, cls(0)), _varint, cls(0))


def _message(cls: type) -> _Kind:
    return _Kind(_Wire.DELIMITED, lambda raw: raw, lambda value: _delimited(_encode(value)), message=cls)


_INT32 = _integer(32, signed=True)
_INT64 = _integer(64, signed=True)
_UINT32 = _integer(32, signed=False)
_BOOL = _Kind(_Wire.VARINT, bool, lambda value: b"\x01" if value else b"\x00", False)
_STRING = _Kind(_Wire.DELIMITED, _read_text, _write_text, "")
_BYTES = _Kind(_Wire.DELIMITED, bytes, _delimited, b"")
_SFIXED64 = _packed("<q", 0)
_DOUBLE = _packed("<d", 0.0)


# The table ----------------------------------------------------------------------------------------


class _Label(Enum):
    ONE = auto()  # the default stays off the wire
    OPTIONAL = auto()  # None stays off the wire, the default does not
    MANY = auto()
    MAP = auto()
    ONEOF = auto()  # optional; setting one clears the others of the message


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    number: int
    kind: _Kind
    label: _Label


@dataclass(frozen=True, slots=True)
class _Any:
    """``google.protobuf.Any``."""

    type_url: str = ""
    value: bytes = b""


def _one(name: str, number: int, kind: _Kind) -> _Field:
    return _Field(name, number, kind, _Label.ONE)


def _optional(name: str, number: int, kind: _Kind) -> _Field:
    return _Field(name, number, kind, _Label.OPTIONAL)


def _many(name: str, number: int, kind: _Kind) -> _Field:
    return _Field(name, number, kind, _Label.MANY)


def _map(name: str, number: int, kind: _Kind) -> _Field:
    """A map from strings; the kind is that of the values."""
    return _Field(name, number, kind, _Label.MAP)


def _oneof(name: str, number: int, kind: _Kind) -> _Field:
    return _Field(name, number, kind, _Label.ONEOF)


_HANDLE = (_one("prepared_statement_handle", 1, _BYTES),)
_QUERY = (_one("query", 1, _STRING), _optional("transaction_id", 2, _BYTES))
_PLAN = (_optional("plan", 1, _message(m.SubstraitPlan)), _optional("transaction_id", 2, _BYTES))
_TABLE_KEYS = (_optional("catalog", 1, _STRING), _optional("db_schema", 2, _STRING), _one("table", 3, _STRING))
_SESSION_OPTIONS = (_map("session_options", 1, _message(m.SessionOptionValue)),)

TABLE: Mapping[type, tuple[_Field, ...]] = {
    _Any: (_one("type_url", 1, _STRING), _one("value", 2, _BYTES)),
    m.CommandGetSqlInfo: (_many("info", 1, _UINT32),),
    m.CommandGetXdbcTypeInfo: (_optional("data_type", 1, _INT32),),
    m.CommandGetCatalogs: (),
    m.CommandGetDbSchemas: (_optional("catalog", 1, _STRING), _optional("db_schema_filter_pattern", 2, _STRING)),
    m.CommandGetTables: (
        _optional("catalog", 1, _STRING),
        _optional("db_schema_filter_pattern", 2, _STRING),
        _optional("table_name_filter_pattern", 3, _STRING),
        _many("table_types", 4, _STRING),
        _one("include_schema", 5, _BOOL),
    ),
    m.CommandGetTableTypes: (),
    m.CommandGetPrimaryKeys: _TABLE_KEYS,
    m.CommandGetExportedKeys: _TABLE_KEYS,
    m.CommandGetImportedKeys: _TABLE_KEYS,
    m.CommandGetCrossReference: (
        _optional("pk_catalog", 1, _STRING),
        _optional("pk_db_schema", 2, _STRING),
        _one("pk_table", 3, _STRING),
        _optional("fk_catalog", 4, _STRING),
        _optional("fk_db_schema", 5, _STRING),
        _one("fk_table", 6, _STRING),
    ),
    m.SubstraitPlan: (_one("plan", 1, _BYTES), _one("version", 2, _STRING)),
    m.CommandStatementQuery: _QUERY,
    m.CommandStatementSubstraitPlan: _PLAN,
    m.TicketStatementQuery: (_one("statement_handle", 1, _BYTES),),
    m.CommandPreparedStatementQuery: _HANDLE,
    m.CommandStatementUpdate: _QUERY,
    m.CommandPreparedStatementUpdate: _HANDLE,
    m.TableDefinitionOptions: (
        _one("if_not_exist", 1, _enum(m.TableNotExistOption)),
        _one("if_exists", 2, _enum(m.TableExistsOption)),
    ),
    m.CommandStatementIngest: (
        _optional("table_definition_options", 1, _message(m.TableDefinitionOptions)),
        _one("table", 2, _STRING),
        _optional("schema", 3, _STRING),
        _optional("catalog", 4, _STRING),
        _one("temporary", 5, _BOOL),
        _optional("transaction_id", 6, _BYTES),
        _map("options", 1000, _STRING),
    ),
    m.DoPutUpdateResult: (_one("record_count", 1, _INT64),),
    m.DoPutPreparedStatementResult: (_optional("prepared_statement_handle", 1, _BYTES),),
    m.ActionCreatePreparedStatementRequest: _QUERY,
    m.ActionCreatePreparedSubstraitPlanRequest: _PLAN,
    m.ActionCreatePreparedStatementResult: (
        *_HANDLE,
        _one("dataset_schema", 2, _BYTES),
        _one("parameter_schema", 3, _BYTES),
        _optional("is_update", 4, _BOOL),
    ),
    m.ActionClosePreparedStatementRequest: _HANDLE,
    m.ActionBeginTransactionRequest: (),
    m.ActionBeginSavepointRequest: (_one("transaction_id", 1, _BYTES), _one("name", 2, _STRING)),
    m.ActionBeginTransactionResult: (_one("transaction_id", 1, _BYTES),),
    m.ActionBeginSavepointResult: (_one("savepoint_id", 1, _BYTES),),
    m.ActionEndTransactionRequest: (_one("transaction_id", 1, _BYTES), _one("action", 2, _enum(m.EndTransaction))),
    m.ActionEndSavepointRequest: (_one("savepoint_id", 1, _BYTES), _one("action", 2, _enum(m.EndSavepoint))),
    m.ActionCancelQueryRequest: (_one("info", 1, _BYTES),),
    m.ActionCancelQueryResult: (_one("result", 1, _enum(m.CancelResult)),),
    # FlightInfo and FlightEndpoint stay bytes: pyarrow's own classes read them.
    m.CancelFlightInfoRequest: (_one("info", 1, _BYTES),),
    m.CancelFlightInfoResult: (_one("status", 1, _enum(m.CancelStatus)),),
    m.RenewFlightEndpointRequest: (_one("endpoint", 1, _BYTES),),
    m.StringListValue: (_many("values", 1, _STRING),),
    m.SessionOptionValue: (
        _oneof("string_value", 1, _STRING),
        _oneof("bool_value", 2, _BOOL),
        _oneof("int64_value", 3, _SFIXED64),
        _oneof("double_value", 4, _DOUBLE),
        _oneof("string_list_value", 5, _message(m.StringListValue)),
    ),
    m.SetSessionOptionsRequest: _SESSION_OPTIONS,
    m.SessionOptionError: (_one("value", 1, _enum(m.SessionOptionErrorValue)),),
    m.SetSessionOptionsResult: (_map("errors", 1, _message(m.SessionOptionError)),),
    m.GetSessionOptionsRequest: (),
    m.GetSessionOptionsResult: _SESSION_OPTIONS,
    m.CloseSessionRequest: (),
    m.CloseSessionResult: (_one("status", 1, _enum(m.CloseSessionStatus)),),
}

_BY_NUMBER = {cls: {field.number: field for field in row} for cls, row in TABLE.items()}
_WRAPPED: Mapping[str, type] = {PACKAGE + cls.__name__: cls for cls in get_args(m.Wrapped)}


# Reading ------------------------------------------------------------------------------------------

_Values = dict[str, Any]  # Any: a kind's Python type, or the same again for a message inside


def _decode(cls: type, data: Data) -> object:
    if len(data) > MESSAGE_BYTES_MAX:
        raise _invalid(f"The message is longer than {MESSAGE_BYTES_MAX} bytes.")
    values: _Values = {}
    _merge(cls, values, bytes(data))
    return _build(cls, values)


def _merge(cls: type, values: _Values, data: bytes) -> None:
    """Add what the bytes hold to the values: parts of a message may come in several pieces."""
    known = _BY_NUMBER[cls]
    for number, wire, raw in _wire_fields(data):
        field = known.get(number)
        if field is not None:
            _merge_field(known, values, field, wire=wire, raw=raw)


def _merge_field(known: Mapping[int, _Field], values: _Values, field: _Field, *, wire: int, raw: int | bytes) -> None:
    kind = field.kind
    if field.label is _Label.MANY and wire == _Wire.DELIMITED and kind.wire is _Wire.VARINT:
        values.setdefault(field.name, []).extend(_unpacked(kind, cast(bytes, raw)))
    elif field.label is _Label.MAP:
        if wire == _Wire.DELIMITED:
            key, value = _map_entry(kind, cast(bytes, raw))
            values.setdefault(field.name, {})[key] = value
    elif wire != kind.wire:
        return  # another wire type than the field's makes it an unknown field
    elif field.label is _Label.MANY:
        values.setdefault(field.name, []).append(kind.read(raw))
    else:
        if field.label is _Label.ONEOF:
            for other in known.values():
                if other is not field:
                    values.pop(other.name, None)
        if kind.message is None:
            values[field.name] = kind.read(raw)
        else:
            _merge(kind.message, values.setdefault(field.name, {}), cast(bytes, raw))


def _unpacked(kind: _Kind, data: bytes) -> Iterator[object]:
    """The numbers of a packed list."""
    at = count = 0
    while at < len(data):
        raw, at = _read_varint(data, at)
        count += 1
        if count > FIELDS_MAX:
            raise _invalid("The message holds too many numbers.")
        yield kind.read(raw)


def _map_entry(kind: _Kind, data: bytes) -> tuple[str, object]:
    """Key and value of one entry of a map, either of which may be absent."""
    key = ""
    value: Any = {} if kind.message is not None else kind.default  # Any: values of a message, or the kind's type
    for number, wire, raw in _wire_fields(data):
        if number == 1 and wire == _Wire.DELIMITED:
            key = _read_text(cast(bytes, raw))
        elif number == 2 and wire == kind.wire:
            if kind.message is None:
                value = kind.read(raw)
            else:
                _merge(kind.message, value, cast(bytes, raw))
    return key, value


def _build(cls: type, values: _Values) -> object:
    """The message of the values; absent fields keep the defaults of the dataclass."""
    for field in TABLE[cls]:
        if field.name not in values:
            continue
        value, inner = values[field.name], field.kind.message
        if field.label is _Label.MANY:
            values[field.name] = tuple(value)
        elif inner is not None:
            values[field.name] = (
                {key: _build(inner, each) for key, each in value.items()}
                if field.label is _Label.MAP
                else _build(inner, value)
            )
    return cls(**values)


# Writing ------------------------------------------------------------------------------------------


def _encode(message: object) -> bytes:
    return b"".join(_field_bytes(field, getattr(message, field.name)) for field in TABLE[type(message)])


def _field_bytes(field: _Field, value: Any) -> bytes:  # Any: the field's Python type
    kind = field.kind
    if field.label is _Label.MANY:
        if kind.wire is not _Wire.VARINT:
            return b"".join(_tagged(field.number, kind, each) for each in value)
        packed = b"".join(map(kind.write, value))
        return _tagged(field.number, _BYTES, packed) if packed else b""
    if field.label is _Label.MAP:
        # Sorted, so that equal messages have equal bytes.
        entries = (_tagged(1, _STRING, key) + _tagged(2, kind, value[key]) for key in sorted(value))
        return b"".join(_tagged(field.number, _BYTES, entry) for entry in entries)
    absent = value is None or (field.label is _Label.ONE and value == kind.default)
    return b"" if absent else _tagged(field.number, kind, value)


def _tagged(number: int, kind: _Kind, value: object) -> bytes:
    return _varint(number << 3 | kind.wire) + kind.write(value)
