"""The codec against protobuf's own runtime, against itself, and against hostile bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import IntEnum
from types import ModuleType
from typing import Any, get_args

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import given, settings, strategies as st

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.flightsql import codec, messages as m

# Written from the standard, in its words: name, number and type of every field. The codec's table is not used here.
REFERENCE = """
CommandGetSqlInfo: info 1: repeated uint32
CommandGetXdbcTypeInfo: data_type 1: optional int32
CommandGetCatalogs:
CommandGetDbSchemas: catalog 1: optional string; db_schema_filter_pattern 2: optional string
CommandGetTables: catalog 1: optional string; db_schema_filter_pattern 2: optional string; \
table_name_filter_pattern 3: optional string; table_types 4: repeated string; include_schema 5: bool
CommandGetTableTypes:
CommandGetPrimaryKeys: catalog 1: optional string; db_schema 2: optional string; table 3: string
CommandGetExportedKeys: catalog 1: optional string; db_schema 2: optional string; table 3: string
CommandGetImportedKeys: catalog 1: optional string; db_schema 2: optional string; table 3: string
CommandGetCrossReference: pk_catalog 1: optional string; pk_db_schema 2: optional string; pk_table 3: string; \
fk_catalog 4: optional string; fk_db_schema 5: optional string; fk_table 6: string
SubstraitPlan: plan 1: bytes; version 2: string
ActionCreatePreparedStatementRequest: query 1: string; transaction_id 2: optional bytes
ActionCreatePreparedSubstraitPlanRequest: plan 1: SubstraitPlan; transaction_id 2: optional bytes
ActionCreatePreparedStatementResult: prepared_statement_handle 1: bytes; dataset_schema 2: bytes; \
parameter_schema 3: bytes; is_update 4: optional bool
ActionClosePreparedStatementRequest: prepared_statement_handle 1: bytes
ActionBeginTransactionRequest:
ActionBeginSavepointRequest: transaction_id 1: bytes; name 2: string
ActionBeginTransactionResult: transaction_id 1: bytes
ActionBeginSavepointResult: savepoint_id 1: bytes
ActionEndTransactionRequest: transaction_id 1: bytes; action 2: enum
ActionEndSavepointRequest: savepoint_id 1: bytes; action 2: enum
CommandStatementQuery: query 1: string; transaction_id 2: optional bytes
CommandStatementSubstraitPlan: plan 1: SubstraitPlan; transaction_id 2: optional bytes
TicketStatementQuery: statement_handle 1: bytes
CommandPreparedStatementQuery: prepared_statement_handle 1: bytes
CommandStatementUpdate: query 1: string; transaction_id 2: optional bytes
CommandPreparedStatementUpdate: prepared_statement_handle 1: bytes
TableDefinitionOptions: if_not_exist 1: enum; if_exists 2: enum
CommandStatementIngest: table_definition_options 1: TableDefinitionOptions; table 2: string; \
schema 3: optional string; catalog 4: optional string; temporary 5: bool; transaction_id 6: optional bytes; \
options 1000: map string
DoPutUpdateResult: record_count 1: int64
DoPutPreparedStatementResult: prepared_statement_handle 1: optional bytes
ActionCancelQueryRequest: info 1: bytes
ActionCancelQueryResult: result 1: enum
CancelFlightInfoRequest: info 1: bytes
CancelFlightInfoResult: status 1: enum
RenewFlightEndpointRequest: endpoint 1: bytes
StringListValue: values 1: repeated string
SessionOptionValue: string_value 1: oneof string; bool_value 2: oneof bool; int64_value 3: oneof sfixed64; \
double_value 4: oneof double; string_list_value 5: oneof StringListValue
SetSessionOptionsRequest: session_options 1: map SessionOptionValue
SessionOptionError: value 1: enum
SetSessionOptionsResult: errors 1: map SessionOptionError
GetSessionOptionsRequest:
GetSessionOptionsResult: session_options 1: map SessionOptionValue
CloseSessionRequest:
CloseSessionResult: status 1: enum
"""

# Any: the stubs want members of an enum whose numbers are plain ints at run time.
SCALARS: dict[str, Any] = {"string": 9, "bytes": 12, "bool": 8, "int32": 5, "int64": 3, "uint32": 13}
SCALARS |= {"sfixed64": 16, "double": 1}
SCALARS["enum"] = SCALARS["int32"]  # the same bytes
MESSAGE_TYPE: Any = 11
ALL: list[type] = list(get_args(m.Message))


def _set_type(field: descriptor_pb2.FieldDescriptorProto, word: str) -> None:
    if word in SCALARS:
        field.type = SCALARS[word]
    else:
        field.type, field.type_name = MESSAGE_TYPE, f".t.{word}"


def _add_map_entry(message: descriptor_pb2.DescriptorProto, name: str, word: str) -> str:
    entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
    entry = message.nested_type.add(name=entry_name)
    entry.options.map_entry = True
    _set_type(entry.field.add(name="key", number=1, label=1), "string")
    _set_type(entry.field.add(name="value", number=2, label=1), word)
    return f"{message.name}.{entry_name}"


def _add_field(message: descriptor_pb2.DescriptorProto, text: str) -> None:
    head, _, type_text = text.partition(": ")
    name, number = head.split()
    *label, word = type_text.split()
    is_many = label in (["repeated"], ["map"])
    field = message.field.add(name=name, number=int(number), label=3 if is_many else 1)
    _set_type(field, _add_map_entry(message, name, word) if label == ["map"] else word)
    if label == ["optional"]:
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    if label == ["oneof"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name="option_value")
        field.oneof_index = 0


def _reference_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    for line in REFERENCE.strip().splitlines():
        name, _, row = line.partition(":")
        message = file.message_type.add(name=name)
        # proto3 wants the synthetic oneofs of optional fields last, which holds: no message has both kinds.
        for text in filter(None, row.strip().split("; ")):
            _add_field(message, text)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))
        for name in (message.name for message in file.message_type)
    }


REFERENCE_CLASSES = _reference_classes()


def to_reference(message: Any) -> Any:
    """The same message in protobuf's runtime."""
    found = REFERENCE_CLASSES[type(message).__name__]()
    for field in fields(message):
        value = getattr(message, field.name)
        if isinstance(value, Mapping):
            for key, each in value.items():
                if isinstance(each, str):
                    getattr(found, field.name)[key] = each
                else:
                    getattr(found, field.name)[key].CopyFrom(to_reference(each))
        elif isinstance(value, tuple):
            getattr(found, field.name).extend(value)
        elif hasattr(value, "__slots__") and not isinstance(value, IntEnum):
            getattr(found, field.name).CopyFrom(to_reference(value))
        elif value is not None:
            setattr(found, field.name, value)
    return found


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
HANDLES = st.binary(max_size=12)
SESSION_VALUES = st.one_of(
    st.none(),
    TEXTS,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(TEXTS, max_size=3).map(tuple),
)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXTS,
    "bytes": HANDLES,
    "bool": st.booleans(),
    "str | None": st.none() | TEXTS,
    "bytes | None": st.none() | HANDLES,
    "bool | None": st.none() | st.booleans(),
    "int | None": st.none() | st.integers(-(2**31), 2**31 - 1),
    "int": st.integers(-(2**63), 2**63 - 1),
    "tuple[int, ...]": st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple),
    "tuple[str, ...]": st.lists(TEXTS, max_size=4).map(tuple),
    "Mapping[str, str]": st.dictionaries(TEXTS, TEXTS, max_size=3),
    "SubstraitPlan | None": st.none() | st.builds(m.SubstraitPlan, HANDLES, TEXTS),
    "TableDefinitionOptions | None": st.none()
    | st.builds(m.TableDefinitionOptions, st.sampled_from(m.TableNotExistOption), st.sampled_from(m.TableExistsOption)),
    "Mapping[str, SessionOptionValue]": st.dictionaries(TEXTS, SESSION_VALUES.map(m.SessionOptionValue.of), max_size=3),
    "Mapping[str, SessionOptionError]": st.dictionaries(
        TEXTS, st.sampled_from(m.SessionOptionErrorValue).map(m.SessionOptionError), max_size=3
    ),
}


def _strategy(cls: type) -> st.SearchStrategy[Any]:
    if cls is m.SessionOptionValue:
        return SESSION_VALUES.map(m.SessionOptionValue.of)
    module: ModuleType = m
    parts = {}
    for field in fields(cls):
        word = str(field.type)
        parts[field.name] = BY_TYPE[word] if word in BY_TYPE else st.sampled_from(getattr(module, word))
    return st.builds(cls, **parts)


MESSAGES = st.sampled_from(ALL).flatmap(_strategy)
WRAPPED = st.sampled_from(get_args(m.Wrapped)).flatmap(_strategy)


def test_table_names_the_fields_of_every_message() -> None:
    """A field that the table forgets is lost on the wire without a word."""
    for cls in ALL:
        assert [field.name for field in codec.TABLE[cls]] == [field.name for field in fields(cls)], cls
    assert sorted(cls.__name__ for cls in ALL) == sorted(REFERENCE_CLASSES)


@given(MESSAGES)
@settings(max_examples=400, deadline=None)
def test_message_survives_the_wire(message: Any) -> None:
    """A client's command arrives as it was sent."""
    assert codec.decode(type(message), codec.encode(message)) == message


@given(WRAPPED)
@settings(max_examples=200, deadline=None)
def test_wrapped_message_survives_the_envelope(message: Any) -> None:
    """A descriptor or ticket is read as the message that it holds."""
    assert codec.unpack(codec.pack(message)) == message


def _has_open_order(message: Any) -> bool:
    """Whether the standard leaves the order of the bytes open: it does for the entries of a map."""
    values = [getattr(message, field.name) for field in fields(message)]
    return any(isinstance(value, Mapping) and len(value) > 1 for value in values)


@given(MESSAGES)
@settings(max_examples=400, deadline=None)
def test_bytes_equal_those_of_protobuf(message: Any) -> None:
    """Other languages' drivers, all generated from the standard's file, read and write the same bytes."""
    reference = to_reference(message)
    if not _has_open_order(message):
        assert codec.encode(message) == reference.SerializeToString()
    again = type(reference)()
    again.ParseFromString(codec.encode(message))
    assert again == reference


@given(WRAPPED)
@settings(max_examples=100, deadline=None)
def test_envelope_equals_that_of_protobuf(message: Any) -> None:
    """The envelope is google.protobuf.Any to every driver."""
    envelope = any_pb2.Any(
        type_url=f"type.googleapis.com/arrow.flight.protocol.sql.{type(message).__name__}",
        value=codec.encode(message),
    )
    assert codec.pack(message) == envelope.SerializeToString()


def _mutants(rounds: int) -> list[tuple[type, bytes]]:
    random_ = random.Random(20261122)
    seeds: list[Any] = [
        m.CommandGetTables("c", "s%", "t_", ("TABLE", "VIEW"), True),
        m.CommandGetSqlInfo((0, 8, 500, 2**32 - 1)),
        m.CommandStatementQuery("select 'ü'", b"\x00\xff"),
        m.CommandStatementIngest(
            m.TableDefinitionOptions(
                m.TableNotExistOption.TABLE_NOT_EXIST_OPTION_CREATE, m.TableExistsOption.TABLE_EXISTS_OPTION_FAIL
            ),
            "t",
            options={"a": "b", "": ""},
        ),
        m.SetSessionOptionsRequest({"a": m.SessionOptionValue.of(("x", "")), "b": m.SessionOptionValue.of(-1)}),
        m.SetSessionOptionsResult({"a": m.SessionOptionError(m.SessionOptionErrorValue.ERROR)}),
        m.DoPutUpdateResult(-1),
        m.CommandGetXdbcTypeInfo(-5),
        m.CommandStatementSubstraitPlan(m.SubstraitPlan(b"p", "v")),
        m.SessionOptionValue.of(1.5),
    ]
    found = []
    for index in range(rounds):
        seed = seeds[index % len(seeds)]
        data = bytearray(codec.encode(seed) * random_.choice((1, 1, 2)))
        for _ in range(random_.randint(1, 4)):
            action, at = random_.randrange(5), random_.randrange(len(data) + 1)
            if action == 0 and at < len(data):
                data[at] ^= 1 << random_.randrange(8)
            elif action == 1:
                del data[at:]
            elif action == 2:
                data[at:at] = random_.randbytes(random_.randint(1, 9))
            elif action == 3 and at < len(data):
                data[at] = random_.choice((0, 0x7F, 0x80, 0xFF))
            else:
                data = bytearray(random_.randbytes(random_.randint(0, 40)))
        found.append((type(seed), bytes(data)))
    return found


def _refusal(read: Callable[[], object]) -> FlightmeshError | None:
    try:
        read()
    except FlightmeshError as error:
        return error
    return None


def test_hostile_bytes_raise_only_flightmesh_errors() -> None:
    """A stranger's garbage must not reach the error door as a fault of the server."""
    refused = [
        error
        for cls, data in _mutants(3000)
        for error in (_refusal(lambda: codec.decode(cls, data)), _refusal(lambda: codec.unpack(data)))  # noqa: B023
        if error is not None
    ]
    assert len(refused) > 3000
    assert {error.code for error in refused} <= {ErrorCode.INVALID, ErrorCode.UNSUPPORTED}
    assert max(len(str(error)) for error in refused) < 300


def test_hostile_bytes_are_judged_as_protobuf_judges_them() -> None:
    """A gateway that reads with protobuf and a server that reads with this codec see the same message."""
    accepted = 0
    for cls, data in _mutants(3000):
        reference = REFERENCE_CLASSES[cls.__name__]()
        try:
            reference.ParseFromString(data)
        except DecodeError:
            with pytest.raises(FlightmeshError):
                codec.decode(cls, data)
            continue
        accepted += 1
        reference.DiscardUnknownFields()
        ours: Any = codec.decode(cls, data)
        # Left out: this runtime drops whole map entries that hold an unknown field, the standard ignores the field.
        if not any("Mapping" in str(field.type) for field in fields(cls)):
            again = type(reference)()
            again.ParseFromString(codec.encode(ours))
            # As bytes, because a NaN is not equal to itself.
            assert again.SerializeToString(deterministic=True) == reference.SerializeToString(deterministic=True)
    assert accepted > 300


def test_every_truncation_of_an_envelope_is_handled() -> None:
    """A cut-off descriptor is the caller's mistake, whichever byte it is cut at."""
    whole = codec.pack(m.CommandStatementQuery("select 1"))
    # Cut between the two fields, the envelope holds a command without its query.
    between = whole.index(b"Query") + len(b"Query")
    for size in set(range(len(whole))) - {between}:
        with pytest.raises(FlightmeshError):
            codec.unpack(whole[:size])
    assert codec.unpack(whole[:between]) == m.CommandStatementQuery()


def test_unknown_type_is_named() -> None:
    """The developer of a driver learns which of its messages this server does not know."""
    url = "type.googleapis.com/arrow.flight.protocol.sql.CommandGetStatistics"
    data = any_pb2.Any(type_url=url).SerializeToString()
    with pytest.raises(FlightmeshError, match="CommandGetStatistics") as caught:
        codec.unpack(data)
    assert caught.value.code is ErrorCode.UNSUPPORTED


@pytest.mark.parametrize("prefix", ["type.googleapis.com/", "/", "example.org/a/b/"])
def test_any_prefix_of_the_type_is_accepted(prefix: str) -> None:
    """Some clients write a shorter or another authority before the type's name."""
    url = f"{prefix}arrow.flight.protocol.sql.CommandGetCatalogs"
    assert codec.unpack(any_pb2.Any(type_url=url).SerializeToString()) == m.CommandGetCatalogs()


@pytest.mark.parametrize("data", [b"", b"{}", b"select 1", b"\x0a\x01a", b"\xff" * 20, b"\x0b" * 1000])
def test_what_is_no_envelope_is_invalid(data: bytes) -> None:
    """A command of another protocol is refused in words, not with a stack trace."""
    with pytest.raises(FlightmeshError) as caught:
        codec.unpack(data)
    assert caught.value.code is ErrorCode.INVALID


def test_text_that_is_not_utf8_is_invalid() -> None:
    """SQL in another encoding is refused before it reaches the parser."""
    with pytest.raises(FlightmeshError, match="UTF-8") as caught:
        codec.decode(m.CommandStatementQuery, b"\x0a\x02\xc3\x28")
    assert caught.value.code is ErrorCode.INVALID


def test_unknown_fields_are_ignored() -> None:
    """A driver newer than this server still gets an answer."""
    newer = codec.encode(m.CommandStatementQuery("select 1")) + b"\x98\x06\x01" + b"\xa3\x06\x08\x01\xa4\x06"
    assert codec.decode(m.CommandStatementQuery, newer) == m.CommandStatementQuery("select 1")


def test_unknown_enum_number_reads_as_unspecified() -> None:
    """An option that this server does not know counts as not given, which requests refuse."""
    read = codec.decode(m.ActionEndTransactionRequest, b"\x10\x63")
    assert read.action is m.EndTransaction.END_TRANSACTION_UNSPECIFIED


def test_unpacked_numbers_are_read() -> None:
    """proto2 writers send each id as a field of its own."""
    assert codec.decode(m.CommandGetSqlInfo, b"\x08\x01\x08\xac\x02").info == (1, 300)


def test_swarms_and_giants_are_refused() -> None:
    """Small hostile fields cannot hold the server's interpreter for seconds, nor large ones its memory."""
    for data in (b"\x22\x00" * 70_000, b"\x0a" + b"\x80\x80\x80\x01", b"\x00" * (codec.MESSAGE_BYTES_MAX + 1)):
        with pytest.raises(FlightmeshError):
            codec.decode(m.CommandGetTables, data)
    with pytest.raises(FlightmeshError, match="too many"):
        codec.decode(m.CommandGetSqlInfo, b"\x0a\x80\x80\x08" + b"\x01" * 131_072)


def test_memoryview_and_bytearray_are_read() -> None:
    """pyarrow hands action bodies over as buffers."""
    data = codec.pack(m.CommandStatementQuery("select 1"))
    assert codec.unpack(memoryview(data)) == codec.unpack(bytearray(data)) == m.CommandStatementQuery("select 1")
