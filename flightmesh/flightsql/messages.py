"""The messages of ``FlightSql.proto``, and the session and cancel messages of ``Flight.proto``, as frozen values.

Names and fields are the standard's. A field declared ``optional`` there is ``None`` here when absent; every other
field holds its proto3 default when absent. Enum members keep their full names; a number that the standard does not
know reads as the member 0 (``..._UNSPECIFIED``), which no request may use. Knows no bytes: that is ``codec``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

# Part of the vocabulary of this module: messages and the enumerations in them are read together.
from flightmesh.flightsql.enums import (
    CancelResult as CancelResult,
    CancelStatus as CancelStatus,
    CloseSessionStatus as CloseSessionStatus,
    EndSavepoint as EndSavepoint,
    EndTransaction as EndTransaction,
    SessionOptionErrorValue as SessionOptionErrorValue,
    TableExistsOption as TableExistsOption,
    TableNotExistOption as TableNotExistOption,
)

SessionValue: TypeAlias = str | bool | int | float | tuple[str, ...] | None
"""The value of one session option; ``None`` unsets the option."""

# Metadata commands --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandGetSqlInfo:
    """Ask for facts about the server; no ids means all that the standard defines."""

    info: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandGetXdbcTypeInfo:
    """Ask for the data types, or for those of one XDBC type."""

    data_type: int | None = None


@dataclass(frozen=True, slots=True)
class CommandGetCatalogs:
    """Ask for the catalogues."""


@dataclass(frozen=True, slots=True)
class CommandGetDbSchemas:
    """Ask for the schemas; the catalogue ``""`` means those without a catalogue."""

    catalog: str | None = None
    db_schema_filter_pattern: str | None = None


@dataclass(frozen=True, slots=True)
class CommandGetTables:
    """Ask for the tables; no table types means all."""

    catalog: str | None = None
    db_schema_filter_pattern: str | None = None
    table_name_filter_pattern: str | None = None
    table_types: tuple[str, ...] = ()
    include_schema: bool = False


@dataclass(frozen=True, slots=True)
class CommandGetTableTypes:
    """Ask for the table types."""


@dataclass(frozen=True, slots=True)
class CommandGetPrimaryKeys:
    """Ask for the primary key of a table."""

    catalog: str | None = None
    db_schema: str | None = None
    table: str = ""


@dataclass(frozen=True, slots=True)
class CommandGetExportedKeys:
    """Ask for the foreign keys that refer to a table."""

    catalog: str | None = None
    db_schema: str | None = None
    table: str = ""


@dataclass(frozen=True, slots=True)
class CommandGetImportedKeys:
    """Ask for the foreign keys of a table."""

    catalog: str | None = None
    db_schema: str | None = None
    table: str = ""


@dataclass(frozen=True, slots=True)
class CommandGetCrossReference:
    """Ask for the foreign keys of one table that refer to another."""

    pk_catalog: str | None = None
    pk_db_schema: str | None = None
    pk_table: str = ""
    fk_catalog: str | None = None
    fk_db_schema: str | None = None
    fk_table: str = ""


# Statements ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SubstraitPlan:
    """A serialised Substrait plan and the version of Substrait it was written for."""

    plan: bytes = b""
    version: str = ""


@dataclass(frozen=True, slots=True)
class CommandStatementQuery:
    """Run a query."""

    query: str = ""
    transaction_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class CommandStatementSubstraitPlan:
    """Run a Substrait plan."""

    plan: SubstraitPlan | None = None
    transaction_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class TicketStatementQuery:
    """The ticket of a query's result."""

    statement_handle: bytes = b""


@dataclass(frozen=True, slots=True)
class CommandPreparedStatementQuery:
    """Bind parameters to a prepared query, or run it."""

    prepared_statement_handle: bytes = b""


@dataclass(frozen=True, slots=True)
class CommandStatementUpdate:
    """Run a statement that changes something."""

    query: str = ""
    transaction_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class CommandPreparedStatementUpdate:
    """Run a prepared statement that changes something."""

    prepared_statement_handle: bytes = b""


@dataclass(frozen=True, slots=True)
class TableDefinitionOptions:
    """``CommandStatementIngest.TableDefinitionOptions``."""

    if_not_exist: TableNotExistOption = TableNotExistOption.TABLE_NOT_EXIST_OPTION_UNSPECIFIED
    if_exists: TableExistsOption = TableExistsOption.TABLE_EXISTS_OPTION_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class CommandStatementIngest:
    """Load rows into a table."""

    table_definition_options: TableDefinitionOptions | None = None
    table: str = ""
    schema: str | None = None
    catalog: str | None = None
    temporary: bool = False
    transaction_id: bytes | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DoPutUpdateResult:
    """Rows changed; -1 means unknown. Travels without the ``Any`` envelope."""

    record_count: int = 0


@dataclass(frozen=True, slots=True)
class DoPutPreparedStatementResult:
    """The new handle of a prepared statement after binding. Travels without the ``Any`` envelope."""

    prepared_statement_handle: bytes | None = None


# Actions of Flight SQL ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActionCreatePreparedStatementRequest:
    """Prepare a statement."""

    query: str = ""
    transaction_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class ActionCreatePreparedSubstraitPlanRequest:
    """Prepare a Substrait plan."""

    plan: SubstraitPlan | None = None
    transaction_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class ActionCreatePreparedStatementResult:
    """A prepared statement: its handle and the IPC bytes of its result and parameter schemas."""

    prepared_statement_handle: bytes = b""
    dataset_schema: bytes = b""
    parameter_schema: bytes = b""
    is_update: bool | None = None


@dataclass(frozen=True, slots=True)
class ActionClosePreparedStatementRequest:
    """Close a prepared statement."""

    prepared_statement_handle: bytes = b""


@dataclass(frozen=True, slots=True)
class ActionBeginTransactionRequest:
    """Begin a transaction."""


@dataclass(frozen=True, slots=True)
class ActionBeginSavepointRequest:
    """Begin a savepoint in a transaction."""

    transaction_id: bytes = b""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ActionBeginTransactionResult:
    """The transaction begun."""

    transaction_id: bytes = b""


@dataclass(frozen=True, slots=True)
class ActionBeginSavepointResult:
    """The savepoint begun."""

    savepoint_id: bytes = b""


@dataclass(frozen=True, slots=True)
class ActionEndTransactionRequest:
    """Commit or roll back."""

    transaction_id: bytes = b""
    action: EndTransaction = EndTransaction.END_TRANSACTION_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class ActionEndSavepointRequest:
    """Release a savepoint or roll back to it."""

    savepoint_id: bytes = b""
    action: EndSavepoint = EndSavepoint.END_SAVEPOINT_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class ActionCancelQueryRequest:
    """Cancel a query (deprecated by ``CancelFlightInfoRequest``); ``info`` is a serialised FlightInfo."""

    info: bytes = b""


@dataclass(frozen=True, slots=True)
class ActionCancelQueryResult:
    """How cancelling went."""

    result: CancelResult = CancelResult.CANCEL_RESULT_UNSPECIFIED


# Plain messages of Flight.proto: actions without the Any envelope ---------------------------------


@dataclass(frozen=True, slots=True)
class CancelFlightInfoRequest:
    """Cancel what a FlightInfo names; ``info`` is the serialised FlightInfo, which this room does not open."""

    info: bytes = b""


@dataclass(frozen=True, slots=True)
class CancelFlightInfoResult:
    """How cancelling went."""

    status: CancelStatus = CancelStatus.CANCEL_STATUS_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class RenewFlightEndpointRequest:
    """Extend the life of an endpoint; ``endpoint`` is the serialised FlightEndpoint, which this room does not open."""

    endpoint: bytes = b""


@dataclass(frozen=True, slots=True)
class StringListValue:
    """``SessionOptionValue.StringListValue``."""

    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionOptionValue:
    """The value of one session option: at most one field is set, none means unset."""

    string_value: str | None = None
    bool_value: bool | None = None
    int64_value: int | None = None
    double_value: float | None = None
    string_list_value: StringListValue | None = None

    @classmethod
    def of(cls, value: SessionValue) -> SessionOptionValue:
        """The message that holds the value."""
        match value:
            case None:
                return cls()
            case bool():  # before int: True is an int, too
                return cls(bool_value=value)
            case str():
                return cls(string_value=value)
            case int():
                return cls(int64_value=value)
            case float():
                return cls(double_value=value)
            case tuple():
                return cls(string_list_value=StringListValue(value))

    @property
    def value(self) -> SessionValue:
        """The one value held, or ``None``."""
        if self.string_list_value is not None:
            return self.string_list_value.values
        scalars = (self.string_value, self.bool_value, self.int64_value, self.double_value)
        return next((value for value in scalars if value is not None), None)


@dataclass(frozen=True, slots=True)
class SetSessionOptionsRequest:
    """Set or unset options of the session."""

    session_options: Mapping[str, SessionOptionValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionOptionError:
    """``SetSessionOptionsResult.Error``: why one option was not set."""

    value: SessionOptionErrorValue = SessionOptionErrorValue.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class SetSessionOptionsResult:
    """The options that were not set, by name; empty when all were."""

    errors: Mapping[str, SessionOptionError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GetSessionOptionsRequest:
    """Ask for the options of the session."""


@dataclass(frozen=True, slots=True)
class GetSessionOptionsResult:
    """The options of the session."""

    session_options: Mapping[str, SessionOptionValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CloseSessionRequest:
    """Close the session."""


@dataclass(frozen=True, slots=True)
class CloseSessionResult:
    """How closing went."""

    status: CloseSessionStatus = CloseSessionStatus.UNSPECIFIED


Wrapped: TypeAlias = (
    CommandGetSqlInfo
    | CommandGetXdbcTypeInfo
    | CommandGetCatalogs
    | CommandGetDbSchemas
    | CommandGetTables
    | CommandGetTableTypes
    | CommandGetPrimaryKeys
    | CommandGetExportedKeys
    | CommandGetImportedKeys
    | CommandGetCrossReference
    | CommandStatementQuery
    | CommandStatementSubstraitPlan
    | TicketStatementQuery
    | CommandPreparedStatementQuery
    | CommandStatementUpdate
    | CommandPreparedStatementUpdate
    | CommandStatementIngest
    | ActionCreatePreparedStatementRequest
    | ActionCreatePreparedSubstraitPlanRequest
    | ActionCreatePreparedStatementResult
    | ActionClosePreparedStatementRequest
    | ActionBeginTransactionRequest
    | ActionBeginSavepointRequest
    | ActionBeginTransactionResult
    | ActionBeginSavepointResult
    | ActionEndTransactionRequest
    | ActionEndSavepointRequest
    | ActionCancelQueryRequest
    | ActionCancelQueryResult
)
"""The messages that travel in the ``Any`` envelope: descriptors, tickets, bodies and results of Flight SQL actions."""

Plain: TypeAlias = (
    DoPutUpdateResult
    | DoPutPreparedStatementResult
    | CancelFlightInfoRequest
    | CancelFlightInfoResult
    | RenewFlightEndpointRequest
    | SetSessionOptionsRequest
    | SetSessionOptionsResult
    | GetSessionOptionsRequest
    | GetSessionOptionsResult
    | CloseSessionRequest
    | CloseSessionResult
)
"""The messages that travel as they are."""

Part: TypeAlias = SubstraitPlan | TableDefinitionOptions | StringListValue | SessionOptionValue | SessionOptionError
"""The messages that only occur inside others."""

Message: TypeAlias = Wrapped | Plain | Part
