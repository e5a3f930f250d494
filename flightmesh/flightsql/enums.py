"""The enumerations of FlightSql.proto and of Flight.proto's session and cancel messages, with the proto's own names."""

from __future__ import annotations

from enum import IntEnum


class EndTransaction(IntEnum):
    """``ActionEndTransactionRequest.EndTransaction``."""

    END_TRANSACTION_UNSPECIFIED = 0
    END_TRANSACTION_COMMIT = 1
    END_TRANSACTION_ROLLBACK = 2


class EndSavepoint(IntEnum):
    """``ActionEndSavepointRequest.EndSavepoint``."""

    END_SAVEPOINT_UNSPECIFIED = 0
    END_SAVEPOINT_RELEASE = 1
    END_SAVEPOINT_ROLLBACK = 2


class TableNotExistOption(IntEnum):
    """What an ingest does when its table does not exist; 0 is an error."""

    TABLE_NOT_EXIST_OPTION_UNSPECIFIED = 0
    TABLE_NOT_EXIST_OPTION_CREATE = 1
    TABLE_NOT_EXIST_OPTION_FAIL = 2


class TableExistsOption(IntEnum):
    """What an ingest does when its table exists; 0 is an error."""

    TABLE_EXISTS_OPTION_UNSPECIFIED = 0
    TABLE_EXISTS_OPTION_FAIL = 1
    TABLE_EXISTS_OPTION_APPEND = 2
    TABLE_EXISTS_OPTION_REPLACE = 3


class CancelResult(IntEnum):
    """``ActionCancelQueryResult.CancelResult``."""

    CANCEL_RESULT_UNSPECIFIED = 0
    CANCEL_RESULT_CANCELLED = 1
    CANCEL_RESULT_CANCELLING = 2
    CANCEL_RESULT_NOT_CANCELLABLE = 3


class CancelStatus(IntEnum):
    """``CancelStatus`` of ``Flight.proto``."""

    CANCEL_STATUS_UNSPECIFIED = 0
    CANCEL_STATUS_CANCELLED = 1
    CANCEL_STATUS_CANCELLING = 2
    CANCEL_STATUS_NOT_CANCELLABLE = 3


class SessionOptionErrorValue(IntEnum):
    """``SetSessionOptionsResult.ErrorValue``."""

    UNSPECIFIED = 0
    INVALID_NAME = 1
    INVALID_VALUE = 2
    ERROR = 3


class CloseSessionStatus(IntEnum):
    """``CloseSessionResult.Status``."""

    UNSPECIFIED = 0
    CLOSED = 1
    CLOSING = 2
    NOT_CLOSEABLE = 3
