"""What one session holds: its temporary tables as values, its open transactions, and rows on their way in.

Nothing here decides or touches the disk but for an upload's own rows; ``service/temporary.py`` does.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa

from flightmesh.catalog.temporary import Part, PartWriter, TableRecord, disk_errors
from flightmesh.engine.base import Temporary
from flightmesh.engine.intake import Intake
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sql.catalogue import system_name

NAME_BYTES_MAX = 255


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its parts, which it keeps readable, and as the planner gets it."""

    record: TableRecord
    parts: tuple[Part, ...]
    temporary: Temporary


@dataclass(frozen=True, slots=True)
class Change:
    """What a transaction has made of a table: None is dropped. ``base`` is the version outside when the
    transaction first changed it."""

    base: str | None
    table: Table | None


@dataclass(slots=True)
class Transaction:
    """An open transaction. Its changes are replaced, never changed, so that they can be looked at without a lock.
    ``follows`` are the last transactions of the same client before it.
    """

    used_at: float
    changes: Mapping[str, Change] = field(default_factory=dict)
    follows: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Holding:
    """What is known of one session. It changes under ``lock``; ``bytes``, ``uploads`` and ``is_closed`` change under
    the guard of all sessions. ``saved`` are changes of transactions to which a statement may go back, ``default`` is
    the transaction that statements without an id join, ``ended`` are the last ones that ended while no other was open.
    """

    key: str
    created_at: float
    used_at: float
    is_anonymous: bool = False
    ended: tuple[str, ...] = ()
    saved_at: float = 0.0
    tables: Mapping[str, Table] = field(default_factory=dict)
    visible: Mapping[str, Temporary] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    saved: list[Mapping[str, Change]] = field(default_factory=list)
    default: str | None = None
    parts: dict[str, tuple[Part, pa.Schema]] = field(default_factory=dict)
    reads: deque[weakref.ref[pa.Table]] = field(default_factory=deque)
    bytes: int = 0
    uploads: int = 0
    is_closed: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def is_read(self) -> bool:
        """Whether rows that were opened are still held by a read."""
        for reference in tuple(self.reads):
            if reference() is None:
                with suppress(ValueError):  # Another thread looks too.
                    self.reads.remove(reference)
        return bool(self.reads)


class Upload:
    """Rows on their way into a table, already on disk and seen by nobody. For one thread."""

    def __init__(
        self,
        intake: Intake,
        holding: Holding,
        open_part: Callable[[pa.Schema], PartWriter],
        grow: Callable[[int], None],
    ) -> None:
        self.rows = 0
        self.intake = intake
        self.holding = holding
        self._open_part = open_part
        self._grow = grow
        self._writer: PartWriter | None = None
        self._bytes = 0
        self._is_over = False
        self._is_broken = False

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are kept."""
        return self.intake.schema

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds a validated batch. INVALID for one of other columns or with a value that cannot be kept, EXHAUSTED over
        a bound or when the disk is full: then the upload is of no use any more.
        """
        if self._is_over:
            raise invalid("The upload is over.")
        # What failed half-way must never become a table.
        self._is_broken = True
        for piece in self.intake.batches(batch):
            self._write(piece)
        self._is_broken = False

    def _write(self, piece: pa.RecordBatch) -> None:
        expected = int(piece.nbytes)
        self._grow(expected)
        self._bytes += expected
        with disk_errors():
            self._writer = self._writer or self._open_part(self.intake.schema)
            self._settle(self._writer.write(piece))
        self.rows += piece.num_rows

    def _settle(self, size: int) -> None:
        """Corrects what was reserved to the size of the file."""
        difference, self._bytes = size - self._bytes, size
        self._grow(difference)

    @property
    def is_usable(self) -> bool:
        """Whether it can become a table: nothing failed, and it did not yet."""
        return not (self._is_over or self._is_broken)

    def take(self) -> tuple[PartWriter | None, int]:
        """What was written (None without rows) and the bytes reserved for it, which are the caller's from now on."""
        taken = (self._writer, 0 if self._is_over else self._bytes)
        self._writer, self._is_over = None, True
        return taken


def overlaid(holding: Holding, opened: Transaction | None) -> Mapping[str, Table]:
    """The session's tables as the transaction sees them."""
    if opened is None:
        return holding.tables
    tables = dict(holding.tables)
    for name, change in opened.changes.items():
        if change.table is None:
            tables.pop(name, None)
        else:
            tables[name] = change.table
    return tables


def visible_of(tables: Mapping[str, Table]) -> Mapping[str, Temporary]:
    """The tables as the planner gets them."""
    return {name: table.temporary for name, table in tables.items()}


def no_table(name: str) -> FlightmeshError:
    """NOT_FOUND for a table that the session does not have."""
    return FlightmeshError(ErrorCode.NOT_FOUND, f"There is no temporary table {name!r} in this session.")


def no_transaction() -> FlightmeshError:
    """INVALID for a transaction that is unknown, over, or another session's."""
    return invalid("This transaction is not open in this session.", "Begin a new one.")


def invalid(fact: str, hint: str | None = None) -> FlightmeshError:
    """INVALID with these sentences."""
    return FlightmeshError(ErrorCode.INVALID, fact, hint=hint)


def check_name(name: str) -> None:
    """Nothing; INVALID for what cannot name a temporary table."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= NAME_BYTES_MAX or "\0" in name:
        raise invalid("This cannot name a table.", f"A name has 1 to {NAME_BYTES_MAX} bytes of UTF-8 and no NUL.")
    if system_name((name,)) is not None:
        raise invalid(f"{name!r} is a name of the system catalogue's.", "Take another name.")


def check_target(name: str, old: Table | None, exists: str, missing: str, base: str | None) -> None:
    """Nothing; INVALID or NOT_FOUND when rows may not be put under this name, as it is there or is not."""
    if old is None and (missing == "fail" or base is not None):
        raise no_table(name)
    if old is not None and exists == "fail":
        raise invalid(f"The temporary table {name!r} already exists.", "Replace it, append to it, or drop it first.")
    if base is not None and old is not None and old.record.version != base:
        raise invalid(f"The temporary table {name!r} was changed meanwhile.", "Run the statement again.")
