"""The temporary tables of sessions: who sees which, transactions over them, their bounds, and when they go.

Tables are values: whatever changes makes a new one, and what is being read stays as it is. Changes of one session are
made one after the other, each by one replacement of its manifest; looking takes no lock. A transaction keeps its
changes in memory until it commits: it sees the session's tables as they are now with its own laid over them.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from shutil import rmtree
from types import MappingProxyType
from typing import Literal

import pyarrow as pa

from flightmesh.catalog.temporary import SessionFiles, disk_errors, session_key
from flightmesh.config import Limits
from flightmesh.engine.base import Temporary
from flightmesh.engine.intake import Intake
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold
from flightmesh.service.holdings import (
    NAME_BYTES_MAX,
    Change,
    Holding,
    Table,
    Transaction,
    Upload,
    check_name,
    check_target,
    invalid,
    no_table,
    no_transaction,
    overlaid,
    visible_of,
)
from flightmesh.service.sessions import Session
from flightmesh.service.shelf import Shelf, Space
from flightmesh.telemetry import count

__all__ = ["NAME_BYTES_MAX", "Temporaries", "Upload"]

log = logging.getLogger(__name__)

# How much a session may have been used after what its manifest says.
_USE_SLACK_S = 60.0
_NONE: Mapping[str, Temporary] = MappingProxyType({})


# How many transactions back a prepared statement is followed.
_FOLLOWED_MAX = 16


class Temporaries:
    """The temporary tables and transactions of all sessions of one node. Safe to call from many threads."""

    def __init__(self, files: SessionFiles, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        """Takes up what a server before has kept: its sessions' tokens still open their tables."""
        self._files = files
        self._limits = limits
        self._clock = clock
        self._space = Space(limits)
        self._guard = self._space.guard
        self._shelf = Shelf(files, self._space, clock)
        self._nameless = 0
        self._holdings = {key: self._shelf.take_up(key, manifest) for key, manifest in files.kept.items()}

    # ------------------------------------------------------------------------------------------------------- looking

    def visible(self, session: Session, transaction: str | None = None) -> Mapping[str, Temporary]:
        """The tables that a statement of the session sees, by folded name.

        INVALID for a transaction that is not open in this session.
        """
        holding = self._find(session) if self._holdings else None
        if holding is None:
            if transaction is not None:
                raise no_transaction()
            return _NONE
        holding.used_at = self._clock()
        opened = self._transaction(holding, transaction)
        if opened is None or not opened.changes:
            return holding.visible
        return visible_of(overlaid(holding, opened))

    def sizes(self) -> Mapping[str, int]:
        """How many sessions, tables, transactions and uploads there are, and how many bytes their files have."""
        with self._guard:
            holdings = list(self._holdings.values())
            return {
                "sessions": len(holdings),
                "tables": sum(len(holding.tables) for holding in holdings),
                "transactions": sum(len(holding.transactions) for holding in holdings),
                "uploads": sum(holding.uploads for holding in holdings),
                "bytes": self._space.bytes,
            }

    # -------------------------------------------------------------------------------------------------- transactions

    def begin(self, session: Session, *, is_default: bool = False) -> str:
        """The id of a new transaction. Statements without an id join the one that ``is_default``.

        INVALID when there is a default one already, EXHAUSTED when too many are open.
        """
        with self._opened(session) as holding:
            self._end_expired(holding)
            if is_default and holding.default in holding.transactions:
                raise invalid("A transaction is open already.", "COMMIT or ROLLBACK it first.")
            if len(holding.transactions) >= self._limits.transactions_max:
                raise FlightmeshError(
                    ErrorCode.EXHAUSTED,
                    f"A session has at most {self._limits.transactions_max} open transactions.",
                    hint="Commit or roll back some.",
                )
            transaction = secrets.token_urlsafe(16)
            # Drivers end one transaction and begin the next; what they prepared in the one runs in the other.
            holding.transactions[transaction] = Transaction(self._clock(), follows=holding.ended)
            holding.ended = ()
            if is_default:
                holding.default = transaction
            return transaction

    def standing(self, session: Session, transaction: str | None) -> str | None:
        """The transaction in which a statement runs that was prepared in this one: the same while it is open, then the
        one that its client has begun since (drivers keep a statement over a rollback), then none.
        """
        holding = None if transaction is None else self._find(session)
        if holding is None:
            return None
        with self._held(holding):
            if transaction in holding.transactions:
                return transaction
            opened = holding.transactions.items()
            return next((name for name, found in opened if transaction in found.follows), None)

    def end(self, session: Session, transaction: str | None, *, commits: bool) -> None:
        """Applies the changes of the transaction, all of them at once, or drops them. None is the default one; when
        there is none, nothing happens; nor does it when what was forgotten is rolled back.

        INVALID to commit an id that is not open in this session, and when a table was changed from outside meanwhile:
        then nothing is applied. The transaction is over in any case.
        """
        holding = self._find(session)
        if holding is None or (transaction is None and holding.default is None):
            if transaction is not None and commits:
                raise no_transaction()
            return
        with self._held(holding):
            holding.used_at = self._clock()
            name = transaction or holding.default
            try:
                opened = self._transaction(holding, transaction) if commits or name in holding.transactions else None
                if opened is not None and commits:
                    self._commit(holding, opened.changes)
            finally:
                over = holding.transactions.pop(name or "", None)
                if over is not None and name is not None and not holding.transactions:
                    holding.ended = (name, *over.follows)[:_FOLLOWED_MAX]
                holding.default = None if holding.default == name else holding.default
                self._shelf.collect(holding)

    @contextmanager
    def atomic(self, session: Session, transaction: str | None) -> Iterator[str | None]:
        """What the block changes under the id that it is given stays whole or not at all: in the transaction, in the
        session's default one, or, where there is none, in one of the block's own.
        """
        holding = self._find(session)
        name = transaction or (None if holding is None else holding.default)
        if holding is None or name is None:
            own = self.begin(session)
            try:
                yield own
            except BaseException:
                self.end(session, own, commits=False)
                raise
            self.end(session, own, commits=True)
            return
        with self._held(holding):
            opened = self._transaction(holding, transaction)
            before = {} if opened is None else dict(opened.changes)
            holding.saved.append(before)
        try:
            yield transaction
        except BaseException:
            with self._held(holding):
                if opened is not None:
                    opened.changes = before
            raise
        finally:
            with self._held(holding):
                holding.saved.remove(before)
                self._shelf.collect(holding)

    def settle(self, session: Session, transaction: str, *, commits: bool) -> None:
        """Applies or drops what the transaction has changed so far, and leaves it open: for clients that begin one by
        its id and end it by words. INVALID as ``end``; then what it had changed is dropped.
        """
        holding = self._find(session)
        if holding is None:
            return
        with self._held(holding):
            opened = holding.transactions.get(transaction)
            if opened is None:
                return
            opened.used_at = self._clock()
            changes, opened.changes = opened.changes, {}
            try:
                if commits:
                    self._commit(holding, changes)
            finally:
                self._shelf.collect(holding)

    def _commit(self, holding: Holding, changes: Mapping[str, Change]) -> None:
        tables = dict(holding.tables)
        for name, change in changes.items():
            current = tables.get(name)
            if change.table is None and change.base is None:
                continue  # Created and dropped again: nobody else has seen it.
            if (None if current is None else current.record.version) != change.base:
                shown = change.table or current
                raise invalid(
                    f"The temporary table {(shown.record.name if shown else name)!r} was changed outside the "
                    "transaction meanwhile; nothing was committed.",
                    "Run the transaction again.",
                )
            if change.table is None:
                del tables[name]
            else:
                tables[name] = change.table
        if tables != holding.tables:
            self._check_count(tables)
            self._shelf.publish(holding, tables)

    def _end_expired(self, holding: Holding) -> None:
        """Drops transactions that are over. The default one stays named: its next statement must not go on alone."""
        for name, opened in list(holding.transactions.items()):
            if self._is_expired(opened):
                del holding.transactions[name]
        self._shelf.collect(holding)

    def _transaction(self, holding: Holding, transaction: str | None) -> Transaction | None:
        """The open transaction of this id, or the default one, marked as used; None when none is meant."""
        name = transaction or holding.default
        if name is None:
            return None
        opened = holding.transactions.get(name)
        if opened is None or self._is_expired(opened):
            if transaction is not None:
                raise no_transaction()
            holding.default = None
            raise invalid("The transaction was unused for too long and has been rolled back.", "Begin a new one.")
        opened.used_at = self._clock()
        return opened

    def _is_expired(self, opened: Transaction) -> bool:
        """Whether its changes have waited too long; one without changes costs nobody anything."""
        return bool(opened.changes) and self._clock() - opened.used_at >= self._limits.transaction_ttl_s

    # ------------------------------------------------------------------------------------------------------- writing

    @contextmanager
    def writing(self, session: Session, schema: pa.Schema, never_null: Collection[str] = ()) -> Iterator[Upload]:
        """An upload of such rows, for ``put``. What was not put at the end of the block is removed. ``never_null`` are
        the folded names of columns that may not be NULL.

        INVALID or UNSUPPORTED for a schema that no table can have.
        """
        intake = Intake(schema, columns_max=self._limits.temporary_columns_max, never_null=never_null)
        holding = self._holding(session, uploads=1)
        upload = Upload(
            intake,
            holding,
            lambda kept: self._shelf.writer(holding, kept),
            lambda size: self._space.grow(holding, size),
        )
        try:
            yield upload
        finally:
            self._shelf.abandon(upload)
            with self._guard:
                holding.uploads -= 1

    def put(
        self,
        session: Session,
        name: str,
        upload: Upload,
        *,
        exists: Literal["fail", "append", "replace"],
        missing: Literal["create", "fail"],
        transaction: str | None = None,
        base: str | None = None,
    ) -> int:
        """Makes the upload the table's rows, or appends it; on disk when this returns how many rows it has.

        The upload is used up by the call. Appended columns are found by name; those missing become NULL. With ``base``
        the table must still have that version: for rows that were computed from it. Errors: INVALID for a bad name, a
        table that exists (``fail``), columns or values that do not fit, or another version; NOT_FOUND for a missing
        table (``fail``); EXHAUSTED over a bound or when the disk is full. Then nothing has changed.
        """
        check_name(name)
        with self._opened(session) as holding:
            if upload.holding is not holding or not upload.is_usable:
                raise invalid("The upload has failed or is over, or its session was closed.", "Start again.")
            opened = self._transaction(holding, transaction)
            old = overlaid(holding, opened).get(fold(name))
            check_target(name, old, exists, missing, base)
            try:
                with disk_errors():
                    if old is not None and exists == "append":
                        table = self._shelf.appended(old, upload)
                    else:
                        table = self._shelf.created(name, upload)
                self._change(holding, opened, fold(name), table)
            finally:
                self._shelf.collect(holding)
        count("temporary.puts")
        return upload.rows

    def drop(self, session: Session, name: str, *, if_exists: bool, transaction: str | None = None) -> bool:
        """Drops the table; whether there was one. NOT_FOUND when there is none, unless ``if_exists``."""
        holding = self._find(session)
        if holding is None and transaction is not None:
            raise no_transaction()
        if holding is not None:
            with self._held(holding):
                holding.used_at = self._clock()
                opened = self._transaction(holding, transaction)
                if fold(name) in overlaid(holding, opened):
                    self._change(holding, opened, fold(name), None)
                    self._shelf.collect(holding)
                    return True
        if if_exists:
            return False
        raise no_table(name)

    def _change(self, holding: Holding, opened: Transaction | None, name: str, table: Table | None) -> None:
        """Makes the table the one of this name, for everybody or for the transaction."""
        tables = dict(overlaid(holding, opened))
        if table is None:
            tables.pop(name, None)
        else:
            tables[name] = table
            self._check_count(tables)
        if opened is None:
            self._shelf.publish(holding, tables)
            return
        current = holding.tables.get(name)
        base = None if current is None else current.record.version
        earlier = opened.changes.get(name)
        opened.changes = {**opened.changes, name: Change(base if earlier is None else earlier.base, table)}

    def _check_count(self, tables: Mapping[str, Table]) -> None:
        columns = sum(len(table.temporary.columns) for table in tables.values())
        if columns > self._limits.temporary_columns_max:
            raise FlightmeshError(
                ErrorCode.EXHAUSTED,
                f"The temporary tables of a session have at most {self._limits.temporary_columns_max} columns.",
                hint="Drop some.",
            )
        if len(tables) > self._limits.temporary_tables_max:
            raise FlightmeshError(
                ErrorCode.EXHAUSTED,
                f"A session has at most {self._limits.temporary_tables_max} temporary tables.",
                hint="Drop some.",
            )

    # -------------------------------------------------------------------------------------------------------- ending

    def close(self, session: Session) -> None:
        """Forgets the session's tables and transactions. Reads that have begun go on; uploads fail."""
        holding = self._find(session)
        if holding is not None:
            with holding.lock:
                for part, schema in holding.parts.values():
                    part.keep(schema)
                self._remove(holding, is_closing=True)

    def sweep(self) -> None:
        """Ends what was unused for too long, and notes the use of the rest. OSError is logged: the next one tries
        again.
        """
        with self._guard:
            holdings = list(self._holdings.values())
        for holding in holdings:
            # One that is being changed is in use.
            if not holding.lock.acquire(blocking=False):
                continue
            try:
                self._sweep(holding)
            except OSError:
                log.exception("temporary.sweep.failed")
            finally:
                holding.lock.release()

    def _sweep(self, holding: Holding) -> None:
        if holding.is_closed:
            return
        if holding.is_read() or holding.uploads:
            holding.used_at = self._clock()
        self._end_expired(holding)
        is_empty = not (holding.tables or holding.transactions or holding.uploads)
        if is_empty or self._is_over(holding):
            self._remove(holding)
        elif holding.tables and holding.used_at - holding.saved_at >= _USE_SLACK_S:
            self._shelf.save(holding, holding.tables)

    def _remove(self, holding: Holding, *, is_closing: bool = False) -> None:
        """Forgets the session, under its lock. Without ``is_closing`` not while rows arrive for it."""
        with self._guard:
            if holding.is_closed or (holding.uploads and not is_closing):
                return
            self._space.add(holding, -holding.bytes)
            holding.is_closed = True
            self._nameless -= holding.is_anonymous
            # Whoever still holds it must not keep the rows, nor must the tables keep each other.
            holding.tables, holding.visible, holding.parts = {}, _NONE, {}
            holding.transactions.clear()
            del self._holdings[holding.key]
            # Under the guard, so that nobody writes into a new folder of that name before the old one is gone.
            away = self._files.move_away(holding.key)
        if away is not None:
            rmtree(away, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------------- sessions

    def _find(self, session: Session) -> Holding | None:
        holding = self._holdings.get(session_key(session.principal.name, session.id))
        if holding is None or not self._is_over(holding) or holding.uploads or holding.is_read():
            return holding
        with holding.lock:
            if self._is_over(holding):  # It may have been used while we waited.
                self._remove(holding)
        return None if holding.is_closed else holding

    def _is_over(self, holding: Holding) -> bool:
        now = self._clock()
        is_idle = now - holding.used_at >= self._limits.session_idle_s
        return is_idle or now - holding.created_at >= self._limits.session_ttl_s

    def _holding(self, session: Session, uploads: int = 0) -> Holding:
        """What is known of the session, from now on at least; EXHAUSTED when there are too many."""
        self._find(session)
        key, now = session_key(session.principal.name, session.id), self._clock()
        with self._guard:
            holding = self._holdings.get(key)
            if holding is None:
                nameless = session.principal.is_anonymous
                self._check_sessions(is_anonymous=nameless)
                holding = self._holdings[key] = Holding(key, now, now, is_anonymous=nameless)
                self._nameless += nameless
            holding.used_at = now
            holding.uploads += uploads
            return holding

    def _check_sessions(self, *, is_anonymous: bool) -> None:
        """EXHAUSTED when there are too many. Callers without a name get half of the places: nobody can be asked to
        stop whom nobody knows.
        """
        places = self._limits.sessions_max
        if len(self._holdings) >= places or (is_anonymous and self._nameless >= places // 2):
            raise FlightmeshError(
                ErrorCode.EXHAUSTED,
                "Too many sessions have temporary tables or transactions.",
                hint="Try again later, or sign in." if is_anonymous else "Try again later.",
            )

    @contextmanager
    def _opened(self, session: Session) -> Iterator[Holding]:
        """The session's holding under its lock, from now on at least."""
        while True:
            holding = self._holding(session)
            with holding.lock:
                if not holding.is_closed:
                    yield holding
                    return

    @contextmanager
    def _held(self, holding: Holding) -> Iterator[None]:
        with holding.lock:
            if holding.is_closed:
                raise invalid("The session was closed.", "Start again.")
            yield
