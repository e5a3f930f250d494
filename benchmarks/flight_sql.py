"""The one shape of Flight SQL message that the benchmarks speak, packed and unpacked without generated code.

CommandStatementQuery, CommandPreparedStatementQuery and ActionCreatePreparedStatementRequest and -Result all carry the
text or handle as field 1, as ``google.protobuf.StringValue`` does; that is all that is needed here.
"""

from __future__ import annotations

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import StringValue

_PACKAGE = "type.googleapis.com/arrow.flight.protocol.sql."


def pack(message: str, text: str) -> bytes:
    """The message of this name with ``text`` as its first field, in its envelope."""
    value = StringValue(value=text).SerializeToString()
    return AnyMessage(type_url=_PACKAGE + message, value=value).SerializeToString()


def unpack(envelope: bytes) -> str:
    """The first field of the message in the envelope."""
    return StringValue.FromString(AnyMessage.FromString(envelope).value).value
