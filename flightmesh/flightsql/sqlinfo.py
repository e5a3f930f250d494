"""SqlInfo: what the server says of itself, in the one dense union that GetSqlInfo returns.

Every id has one child of the union, the one that the JDBC driver casts to (``CHILDREN``); a wrong child breaks the
driver's whole metadata. ``default_sql_info`` tells the truth about a server that speaks DuckDB's dialect and whose
only tables to write are a session's own temporary ones: transactions, updates and ingest are of these. Names are kept
as written and compared without case. Asks no engine: the lists are reviewed by hand and checked by a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import TypeAlias

import pyarrow as pa

Value: TypeAlias = str | bool | int | Sequence[str] | Mapping[int, Sequence[int]]


class SqlInfo(IntEnum):
    """The ids that the standard defines."""

    FLIGHT_SQL_SERVER_NAME = 0
    FLIGHT_SQL_SERVER_VERSION = 1
    FLIGHT_SQL_SERVER_ARROW_VERSION = 2
    FLIGHT_SQL_SERVER_READ_ONLY = 3
    FLIGHT_SQL_SERVER_SQL = 4
    FLIGHT_SQL_SERVER_SUBSTRAIT = 5
    FLIGHT_SQL_SERVER_SUBSTRAIT_MIN_VERSION = 6
    FLIGHT_SQL_SERVER_SUBSTRAIT_MAX_VERSION = 7
    FLIGHT_SQL_SERVER_TRANSACTION = 8
    FLIGHT_SQL_SERVER_CANCEL = 9
    FLIGHT_SQL_SERVER_BULK_INGESTION = 10
    FLIGHT_SQL_SERVER_INGEST_TRANSACTIONS_SUPPORTED = 11
    FLIGHT_SQL_SERVER_STATEMENT_TIMEOUT = 100
    FLIGHT_SQL_SERVER_TRANSACTION_TIMEOUT = 101
    SQL_DDL_CATALOG = 500
    SQL_DDL_SCHEMA = 501
    SQL_DDL_TABLE = 502
    SQL_IDENTIFIER_CASE = 503
    SQL_IDENTIFIER_QUOTE_CHAR = 504
    SQL_QUOTED_IDENTIFIER_CASE = 505
    SQL_ALL_TABLES_ARE_SELECTABLE = 506
    SQL_NULL_ORDERING = 507
    SQL_KEYWORDS = 508
    SQL_NUMERIC_FUNCTIONS = 509
    SQL_STRING_FUNCTIONS = 510
    SQL_SYSTEM_FUNCTIONS = 511
    SQL_DATETIME_FUNCTIONS = 512
    SQL_SEARCH_STRING_ESCAPE = 513
    SQL_EXTRA_NAME_CHARACTERS = 514
    SQL_SUPPORTS_COLUMN_ALIASING = 515
    SQL_NULL_PLUS_NULL_IS_NULL = 516
    SQL_SUPPORTS_CONVERT = 517
    SQL_SUPPORTS_TABLE_CORRELATION_NAMES = 518
    SQL_SUPPORTS_DIFFERENT_TABLE_CORRELATION_NAMES = 519
    SQL_SUPPORTS_EXPRESSIONS_IN_ORDER_BY = 520
    SQL_SUPPORTS_ORDER_BY_UNRELATED = 521
    SQL_SUPPORTED_GROUP_BY = 522
    SQL_SUPPORTS_LIKE_ESCAPE_CLAUSE = 523
    SQL_SUPPORTS_NON_NULLABLE_COLUMNS = 524
    SQL_SUPPORTED_GRAMMAR = 525
    SQL_ANSI92_SUPPORTED_LEVEL = 526
    SQL_SUPPORTS_INTEGRITY_ENHANCEMENT_FACILITY = 527
    SQL_OUTER_JOINS_SUPPORT_LEVEL = 528
    SQL_SCHEMA_TERM = 529
    SQL_PROCEDURE_TERM = 530
    SQL_CATALOG_TERM = 531
    SQL_CATALOG_AT_START = 532
    SQL_SCHEMAS_SUPPORTED_ACTIONS = 533
    SQL_CATALOGS_SUPPORTED_ACTIONS = 534
    SQL_SUPPORTED_POSITIONED_COMMANDS = 535
    SQL_SELECT_FOR_UPDATE_SUPPORTED = 536
    SQL_STORED_PROCEDURES_SUPPORTED = 537
    SQL_SUPPORTED_SUBQUERIES = 538
    SQL_CORRELATED_SUBQUERIES_SUPPORTED = 539
    SQL_SUPPORTED_UNIONS = 540
    SQL_MAX_BINARY_LITERAL_LENGTH = 541
    SQL_MAX_CHAR_LITERAL_LENGTH = 542
    SQL_MAX_COLUMN_NAME_LENGTH = 543
    SQL_MAX_COLUMNS_IN_GROUP_BY = 544
    SQL_MAX_COLUMNS_IN_INDEX = 545
    SQL_MAX_COLUMNS_IN_ORDER_BY = 546
    SQL_MAX_COLUMNS_IN_SELECT = 547
    SQL_MAX_COLUMNS_IN_TABLE = 548
    SQL_MAX_CONNECTIONS = 549
    SQL_MAX_CURSOR_NAME_LENGTH = 550
    SQL_MAX_INDEX_LENGTH = 551
    SQL_DB_SCHEMA_NAME_LENGTH = 552
    SQL_MAX_PROCEDURE_NAME_LENGTH = 553
    SQL_MAX_CATALOG_NAME_LENGTH = 554
    SQL_MAX_ROW_SIZE = 555
    SQL_MAX_ROW_SIZE_INCLUDES_BLOBS = 556
    SQL_MAX_STATEMENT_LENGTH = 557
    SQL_MAX_STATEMENTS = 558
    SQL_MAX_TABLE_NAME_LENGTH = 559
    SQL_MAX_TABLES_IN_SELECT = 560
    SQL_MAX_USERNAME_LENGTH = 561
    SQL_DEFAULT_TRANSACTION_ISOLATION = 562
    SQL_TRANSACTIONS_SUPPORTED = 563
    SQL_SUPPORTED_TRANSACTIONS_ISOLATION_LEVELS = 564
    SQL_DATA_DEFINITION_CAUSES_TRANSACTION_COMMIT = 565
    SQL_DATA_DEFINITIONS_IN_TRANSACTIONS_IGNORED = 566
    SQL_SUPPORTED_RESULT_SET_TYPES = 567
    SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_UNSPECIFIED = 568
    SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_FORWARD_ONLY = 569
    SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_SCROLL_SENSITIVE = 570
    SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_SCROLL_INSENSITIVE = 571
    SQL_BATCH_UPDATES_SUPPORTED = 572
    SQL_SAVEPOINTS_SUPPORTED = 573
    SQL_NAMED_PARAMETERS_SUPPORTED = 574
    SQL_LOCATORS_UPDATE_COPY = 575
    SQL_STORED_FUNCTIONS_USING_CALL_SYNTAX_SUPPORTED = 576


class Child(IntEnum):
    """The children of the union, by type code."""

    STRING = 0
    BOOL = 1
    BIGINT = 2
    INT32 = 3
    STRING_LIST = 4
    INT32_LIST_MAP = 5


_CHILD_FIELDS = [
    pa.field("string_value", pa.string(), nullable=False),
    pa.field("bool_value", pa.bool_(), nullable=False),
    pa.field("bigint_value", pa.int64(), nullable=False),
    pa.field("int32_bitmask", pa.int32(), nullable=False),
    pa.field("string_list", pa.list_(pa.string()), nullable=False),
    pa.field("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.int32())), nullable=False),
]

SQL_INFO_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("info_name", pa.uint32(), nullable=False),
        pa.field("value", pa.dense_union(_CHILD_FIELDS), nullable=False),
    ]
)


def _children(*pairs: tuple[Child, Iterable[int]]) -> Mapping[int, Child]:
    return MappingProxyType({id_: child for child, ids in pairs for id_ in ids})


CHILDREN: Mapping[int, Child] = _children(
    (Child.STRING, (0, 1, 2, 6, 7, 504, 513, 514, 529, 530, 531)),
    (Child.BOOL, (3, 4, 5, 9, 10, 11, 500, 501, 502, 506, 515, 516, 518, 519, 520, 521, 523, 524, 527, 532)),
    (Child.BOOL, (536, 537, 539, 556, 563, 565, 566, 572, 573, 574, 575, 576)),
    # The standard's text says int32 for 503, 505, 507 and 562; the reference servers and JDBC use the bigint child.
    (Child.BIGINT, (503, 505, 507, *range(541, 556), *range(557, 563))),
    (Child.INT32, (8, 100, 101, 522, 525, 526, 528, 533, 534, 535, 538, 540, 564, *range(567, 572))),
    (Child.STRING_LIST, range(508, 513)),
    (Child.INT32_LIST_MAP, (517,)),
)
"""The child of the union for every id of the standard."""


def sql_info(values: Mapping[SqlInfo, Value], ids: Sequence[int] = ()) -> pa.Table:
    """The rows of GetSqlInfo for the ids in the order asked, each once; ids without a value are left out.

    No ids: all values, by id. Only the standard's ids can be given a value, so no driver meets one that it does not
    know.
    """
    asked = dict.fromkeys(ids) if ids else sorted(values)
    rows = [(SqlInfo(id_), values[SqlInfo(id_)]) for id_ in asked if id_ in values]
    held: list[list[object]] = [[] for _ in Child]
    codes, offsets = [], []
    for id_, value in rows:
        child = CHILDREN[id_]
        codes.append(int(child))
        offsets.append(len(held[child]))
        held[child].append(list(value.items()) if isinstance(value, Mapping) else value)
    union = pa.Array.from_buffers(
        # UnionArray.from_dense would make the children nullable.
        SQL_INFO_SCHEMA.field("value").type,
        len(rows),
        [None, pa.array(codes, pa.int8()).buffers()[1], pa.array(offsets, pa.int32()).buffers()[1]],
        children=[pa.array(column, field.type) for column, field in zip(held, _CHILD_FIELDS, strict=True)],
    )
    names = pa.array([int(id_) for id_, _ in rows], pa.uint32())
    return pa.Table.from_arrays([names, union], schema=SQL_INFO_SCHEMA)


# What is true of this server ----------------------------------------------------------------------

STATEMENT_LENGTH_MAX = 200_000
"""Bytes of a statement, so characters at least of plain ones; the cap that stands before the parser."""

_CASE_INSENSITIVE = 1
_NULLS_SORTED_AT_END = 3
_INT32_MAX = (1 << 31) - 1

# SqlSupportedTransaction: Begin and End, no savepoints.
_TRANSACTION = 1
# SqlTransactionIsolationLevel.
_READ_COMMITTED = 2


def _bits(*numbers: int) -> int:
    """The bit mask in which these members of the standard's enum are set."""
    return sum(1 << number for number in numbers)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


KEYWORDS = _words(
    """all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create default
    deferrable desc describe distinct do else end except false fetch for foreign from group having in initially
    intersect into lambda lateral leading limit not null offset on only or order pivot pivot_longer pivot_wider
    placing primary qualify references returning select show some summarize symmetric table then to trailing true
    union unique unpivot using variadic when where window with"""
)
"""The words that DuckDB 2.0 reserves."""

NUMERIC_FUNCTIONS = _words(
    """abs acos acosh asin asinh atan atan2 atanh bit_count cbrt ceil ceiling cos cosh cot degrees even exp factorial
    floor fmod gamma gcd greatest isfinite isinf isnan lcm least lgamma ln log log10 log2 mod nextafter pi pow power
    radians random round round_even sign signbit sin sinh sqrt tan tanh trunc"""
)

STRING_FUNCTIONS = _words(
    """ascii bar bit_length char_length character_length chr concat concat_ws contains damerau_levenshtein ends_with
    format from_base64 hamming hex instr jaccard jaro_similarity jaro_winkler_similarity lcase left length levenshtein
    lower lpad ltrim md5 nfc_normalize octet_length ord position prefix printf regexp_extract regexp_extract_all
    regexp_full_match regexp_matches regexp_replace regexp_split_to_array repeat replace reverse right rpad rtrim
    sha256 split_part starts_with string_split strip_accents strlen strpos substr substring suffix to_base64 translate
    trim ucase unhex unicode upper url_decode url_encode"""
)

SYSTEM_FUNCTIONS = ("current_catalog", "current_database", "current_schema", "nullif", "typeof", "version")

DATETIME_FUNCTIONS = _words(
    """age century current_date date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day
    dayname dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era hour isodow isoyear last_day
    make_date make_time make_timestamp microsecond millisecond minute month monthname now quarter second strftime
    strptime time_bucket timezone to_days to_hours to_minutes to_months to_seconds to_timestamp to_years today
    try_strptime week weekday weekofyear year yearweek"""
)


class _Convert(IntEnum):
    """``SqlSupportsConvert``, as far as DuckDB has the types."""

    BIGINT = 0
    BIT = 2
    CHAR = 3
    DATE = 4
    DECIMAL = 5
    FLOAT = 6
    INTEGER = 7
    NUMERIC = 12
    REAL = 13
    SMALLINT = 14
    TIME = 15
    TIMESTAMP = 16
    TINYINT = 17
    VARBINARY = 18
    VARCHAR = 19


def _conversions() -> Mapping[int, Sequence[int]]:
    """What DuckDB 2.0 casts to what: numbers and truth values among each other, text to and from everything."""
    c = _Convert
    texts = (c.CHAR, c.VARCHAR)
    numbers = (c.BIGINT, c.BIT, c.DECIMAL, c.FLOAT, c.INTEGER, c.NUMERIC, c.REAL, c.SMALLINT, c.TINYINT)
    table: dict[_Convert, tuple[_Convert, ...]] = {
        **dict.fromkeys(numbers, (*numbers, *texts)),
        **dict.fromkeys(texts, tuple(c)),
        c.DATE: (c.DATE, c.TIMESTAMP, *texts),
        c.TIME: (c.TIME, *texts),
        c.TIMESTAMP: (c.DATE, c.TIME, c.TIMESTAMP, *texts),
        c.VARBINARY: (c.VARBINARY, *texts),
    }
    return {int(source): sorted(map(int, targets)) for source, targets in sorted(table.items())}


def default_sql_info(
    *,
    server_version: str,
    duckdb_version: str,
    arrow_version: str,
    prepared_ttl_s: float = 86_400,
    transaction_ttl_s: float = 3_600,
    statement_bytes_max: int = STATEMENT_LENGTH_MAX,
) -> Mapping[SqlInfo, Value]:
    """What is true of this server; the versions are given with or without a leading ``v``.

    ``prepared_ttl_s`` and ``transaction_ttl_s`` are how long, in seconds, a handle of either kind is good for.
    Substrait versions are absent, since there is no Substrait. A maximum of 0 means none, or none that is known.
    """
    return MappingProxyType(
        {
            SqlInfo.FLIGHT_SQL_SERVER_NAME: "flightmesh",
            # Tools that know DuckDB choose its dialect by the start of this text.
            SqlInfo.FLIGHT_SQL_SERVER_VERSION: f"duckdb {_v(duckdb_version)} flightmesh {_v(server_version)}",
            SqlInfo.FLIGHT_SQL_SERVER_ARROW_VERSION: arrow_version,
            **_SERVER,
            # The standard's "statement timeout" is that of prepared statement handles, not of queries.
            SqlInfo.FLIGHT_SQL_SERVER_STATEMENT_TIMEOUT: _milliseconds(prepared_ttl_s),
            SqlInfo.FLIGHT_SQL_SERVER_TRANSACTION_TIMEOUT: _milliseconds(transaction_ttl_s),
            **_SYNTAX,
            **_MAXIMA,
            SqlInfo.SQL_MAX_STATEMENT_LENGTH: statement_bytes_max,
            **_TRANSACTIONS_AND_RESULTS,
        }
    )


def _v(version: str) -> str:
    return "v" + version.removeprefix("v")


def _milliseconds(seconds: float) -> int:
    # Their child of the union is an int32; 0 would say that there is no end.
    return max(1, min(int(seconds * 1_000), _INT32_MAX))


_SERVER: Mapping[SqlInfo, Value] = {
    # Products cannot be written, but temporary tables can; a driver that believes "read-only" sends no writes at all
    # (JDBC: DatabaseMetaData.isReadOnly).
    SqlInfo.FLIGHT_SQL_SERVER_READ_ONLY: False,
    SqlInfo.FLIGHT_SQL_SERVER_SQL: True,
    SqlInfo.FLIGHT_SQL_SERVER_SUBSTRAIT: False,
    SqlInfo.FLIGHT_SQL_SERVER_TRANSACTION: _TRANSACTION,
    SqlInfo.FLIGHT_SQL_SERVER_CANCEL: True,
    SqlInfo.FLIGHT_SQL_SERVER_BULK_INGESTION: True,
    SqlInfo.FLIGHT_SQL_SERVER_INGEST_TRANSACTIONS_SUPPORTED: True,
}

_SYNTAX: Mapping[SqlInfo, Value] = {
    SqlInfo.SQL_DDL_CATALOG: False,
    SqlInfo.SQL_DDL_SCHEMA: False,
    # CREATE and DROP of temporary tables.
    SqlInfo.SQL_DDL_TABLE: True,
    SqlInfo.SQL_IDENTIFIER_CASE: _CASE_INSENSITIVE,
    SqlInfo.SQL_IDENTIFIER_QUOTE_CHAR: '"',
    # DuckDB compares quoted names without case, too.
    SqlInfo.SQL_QUOTED_IDENTIFIER_CASE: _CASE_INSENSITIVE,
    SqlInfo.SQL_ALL_TABLES_ARE_SELECTABLE: True,
    SqlInfo.SQL_NULL_ORDERING: _NULLS_SORTED_AT_END,
    SqlInfo.SQL_KEYWORDS: KEYWORDS,
    SqlInfo.SQL_NUMERIC_FUNCTIONS: NUMERIC_FUNCTIONS,
    SqlInfo.SQL_STRING_FUNCTIONS: STRING_FUNCTIONS,
    SqlInfo.SQL_SYSTEM_FUNCTIONS: SYSTEM_FUNCTIONS,
    SqlInfo.SQL_DATETIME_FUNCTIONS: DATETIME_FUNCTIONS,
    SqlInfo.SQL_SEARCH_STRING_ESCAPE: "\\",
    # Within a name, not at its start.
    SqlInfo.SQL_EXTRA_NAME_CHARACTERS: "$",
    SqlInfo.SQL_SUPPORTS_COLUMN_ALIASING: True,
    SqlInfo.SQL_NULL_PLUS_NULL_IS_NULL: True,
    SqlInfo.SQL_SUPPORTS_CONVERT: _conversions(),
    SqlInfo.SQL_SUPPORTS_TABLE_CORRELATION_NAMES: True,
    # The question is whether an alias *must* differ from the names of tables.
    SqlInfo.SQL_SUPPORTS_DIFFERENT_TABLE_CORRELATION_NAMES: False,
    SqlInfo.SQL_SUPPORTS_EXPRESSIONS_IN_ORDER_BY: True,
    SqlInfo.SQL_SUPPORTS_ORDER_BY_UNRELATED: True,
    SqlInfo.SQL_SUPPORTED_GROUP_BY: _bits(0, 1),  # unrelated, beyond select
    SqlInfo.SQL_SUPPORTS_LIKE_ESCAPE_CLAUSE: True,
    SqlInfo.SQL_SUPPORTS_NON_NULLABLE_COLUMNS: True,
    # Of the grammars, what they say of queries, and of writing as far as temporary tables go.
    SqlInfo.SQL_SUPPORTED_GRAMMAR: _bits(0, 1),  # minimum, core
    SqlInfo.SQL_ANSI92_SUPPORTED_LEVEL: _bits(0),  # entry
    SqlInfo.SQL_SUPPORTS_INTEGRITY_ENHANCEMENT_FACILITY: False,
    SqlInfo.SQL_OUTER_JOINS_SUPPORT_LEVEL: _bits(1, 2),  # limited, full
    SqlInfo.SQL_SCHEMA_TERM: "schema",
    SqlInfo.SQL_PROCEDURE_TERM: "",
    SqlInfo.SQL_CATALOG_TERM: "catalog",
    SqlInfo.SQL_CATALOG_AT_START: True,
    SqlInfo.SQL_SCHEMAS_SUPPORTED_ACTIONS: 0,
    SqlInfo.SQL_CATALOGS_SUPPORTED_ACTIONS: 0,
    SqlInfo.SQL_SUPPORTED_POSITIONED_COMMANDS: 0,
    SqlInfo.SQL_SELECT_FOR_UPDATE_SUPPORTED: False,
    SqlInfo.SQL_STORED_PROCEDURES_SUPPORTED: False,
    SqlInfo.SQL_SUPPORTED_SUBQUERIES: _bits(0, 1, 2, 3),  # comparisons, exists, in, quantified
    SqlInfo.SQL_CORRELATED_SUBQUERIES_SUPPORTED: True,
    SqlInfo.SQL_SUPPORTED_UNIONS: _bits(0, 1),  # union, union all
}

_MAXIMA: Mapping[SqlInfo, Value] = {
    **{SqlInfo(id_): 0 for id_ in (*range(541, 556), *range(558, 562))},
    SqlInfo.SQL_MAX_ROW_SIZE_INCLUDES_BLOBS: True,
}

_TRANSACTIONS_AND_RESULTS: Mapping[SqlInfo, Value] = {
    SqlInfo.SQL_DEFAULT_TRANSACTION_ISOLATION: _READ_COMMITTED,
    SqlInfo.SQL_TRANSACTIONS_SUPPORTED: True,
    SqlInfo.SQL_SUPPORTED_TRANSACTIONS_ISOLATION_LEVELS: _bits(_READ_COMMITTED),
    SqlInfo.SQL_DATA_DEFINITION_CAUSES_TRANSACTION_COMMIT: False,
    SqlInfo.SQL_DATA_DEFINITIONS_IN_TRANSACTIONS_IGNORED: False,
    SqlInfo.SQL_SUPPORTED_RESULT_SET_TYPES: _bits(1),  # forward only
    SqlInfo.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_UNSPECIFIED: 0,
    SqlInfo.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_FORWARD_ONLY: _bits(1),  # read only
    SqlInfo.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_SCROLL_SENSITIVE: 0,
    SqlInfo.SQL_SUPPORTED_CONCURRENCIES_FOR_RESULT_SET_SCROLL_INSENSITIVE: 0,
    SqlInfo.SQL_BATCH_UPDATES_SUPPORTED: True,
    SqlInfo.SQL_SAVEPOINTS_SUPPORTED: False,
    # The standard means those of callable statements, of which there are none; queries do take ``$name``.
    SqlInfo.SQL_NAMED_PARAMETERS_SUPPORTED: False,
    SqlInfo.SQL_LOCATORS_UPDATE_COPY: False,
    SqlInfo.SQL_STORED_FUNCTIONS_USING_CALL_SYNTAX_SUPPORTED: False,
}
