"""Bound parameters between bind and execution: small ones travel in the handle, large ones are kept at this node."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable

import pyarrow as pa

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError


class Bindings:
    """Parameter sets by reference, within a bound of bytes and of time. Losing one costs the client a new bind."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def put(self, batch: pa.RecordBatch) -> tuple[bytes | None, str | None]:
        """The bytes that travel in the handle, or the reference under which they are kept here."""
        data = _packed(batch)
        if len(data) <= self._limits.parameters_inline_bytes_max:
            return data, None
        reference = secrets.token_urlsafe(16)
        with self._lock:
            self._forget(len(data))
            self._kept[reference] = (self._clock() + self._limits.prepared_ttl_s, data)
            self._bytes += len(data)
        return None, reference

    def get(self, inline: bytes | None, reference: str | None) -> pa.RecordBatch | None:
        """The bound parameters, or None when nothing was bound.

        UNAVAILABLE when this node does not keep them (any more).
        """
        if reference is None:
            return None if inline is None else _unpacked(inline)
        with self._lock:
            _, data = self._kept.get(reference, (0.0, None))
        if data is None:
            raise FlightmeshError(
                ErrorCode.UNAVAILABLE,
                f"Parameters over {self._limits.parameters_inline_bytes_max} bytes are kept at the node "
                "where they were bound, and this node does not have them.",
                hint="Bind them again.",
            )
        return _unpacked(data)

    def _forget(self, coming: int) -> None:
        """Makes room: what has expired goes first, then the oldest. Called under the lock."""
        now = self._clock()
        for reference in [name for name, (until, _) in self._kept.items() if until <= now]:
            self._bytes -= len(self._kept.pop(reference)[1])
        while self._kept and self._bytes + coming > self._limits.parameters_kept_bytes_max:
            _, (_, data) = self._kept.popitem(last=False)
            self._bytes -= len(data)


def _packed(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _unpacked(data: bytes) -> pa.RecordBatch:
    """The batch. The bytes were signed or kept by us and validated when they were bound."""
    return pa.ipc.open_stream(data).read_next_batch()
