"""Every type of DuckDB out and every type of Arrow in: the faithful value of each, and the deviations known by name.

``docs/types.md`` is made of these tables and of what the suite saw each client show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tests.wire.checks import Stage, check
from tests.wire.client import Client, Refused


@dataclass(frozen=True, slots=True)
class Out:
    """A type of DuckDB: an expression of it, its type of Arrow on the wire, and its value in the form of client.py; or
    what the server says in its place.
    """

    sql: str
    arrow: str
    faithful: Any  # Any: see client.py
    refused: str = ""


_DIGITS_38 = "12345678901234567890123456789012345678"

OUT: Mapping[str, Out] = {
    "BOOLEAN": Out("true", "bool", True),
    "TINYINT": Out("(-128)::TINYINT", "int8", -128),
    "SMALLINT": Out("(-32768)::SMALLINT", "int16", -32768),
    "INTEGER": Out("(-2147483648)::INTEGER", "int32", -2147483648),
    "BIGINT": Out("'-9223372036854775808'::BIGINT", "int64", -(2**63)),
    "HUGEINT": Out(f"'-{'9' * 38}'::HUGEINT", "decimal128(38, 0)", f"-{'9' * 38}"),
    "HUGEINT (beyond 38 digits)": Out(
        f"'{2**127 - 1}'::HUGEINT", "decimal128(38, 0)", None, refused="more than 38 digits"
    ),
    "UTINYINT": Out("255::UTINYINT", "uint8", 255),
    "USMALLINT": Out("65535::USMALLINT", "uint16", 65535),
    "UINTEGER": Out("4294967295::UINTEGER", "uint32", 4294967295),
    "UBIGINT": Out("18446744073709551615::UBIGINT", "uint64", 2**64 - 1),
    "UHUGEINT": Out(f"{2**128 - 1}::UHUGEINT", "string", str(2**128 - 1)),
    "BIGNUM": Out(f"'-{2**200}'::BIGNUM", "string", f"-{2**200}"),
    "FLOAT": Out("1.5::FLOAT", "float", 1.5),
    "DOUBLE": Out("0.1::DOUBLE", "double", 0.1),
    "DOUBLE (not a number)": Out("'nan'::DOUBLE", "double", "nan"),
    "DOUBLE (infinite)": Out("'-inf'::DOUBLE", "double", "-inf"),
    "DECIMAL(4,2)": Out("(-1.50)::DECIMAL(4,2)", "decimal128(4, 2)", "-1.50"),
    "DECIMAL(18,3)": Out("123456789012345.678::DECIMAL(18,3)", "decimal128(18, 3)", "123456789012345.678"),
    "DECIMAL(38,0)": Out(f"'{_DIGITS_38}'::DECIMAL(38,0)", "decimal128(38, 0)", _DIGITS_38),
    "DECIMAL(38,37)": Out(
        f"'{_DIGITS_38[0]}.{_DIGITS_38[1:]}'::DECIMAL(38,37)",
        "decimal128(38, 37)",
        f"{_DIGITS_38[0]}.{_DIGITS_38[1:]}",
    ),
    "DATE": Out("DATE '2024-02-29'", "date32[day]", "2024-02-29"),
    "DATE (before 1970)": Out("DATE '1582-10-15'", "date32[day]", "1582-10-15"),
    "TIME": Out("TIME '12:34:56.789012'", "time64[us]", "12:34:56.789012"),
    "TIME_NS": Out("TIME_NS '12:34:56.123456789'", "time64[ns]", "12:34:56.123456789"),
    "TIME WITH TIME ZONE": Out("TIMETZ '12:34:56.789+02'", "string", "12:34:56.789+02"),
    "TIMESTAMP_S": Out("TIMESTAMP_S '2024-02-29 12:34:56'", "timestamp[s]", "2024-02-29T12:34:56"),
    "TIMESTAMP_MS": Out("TIMESTAMP_MS '2024-02-29 12:34:56.789'", "timestamp[ms]", "2024-02-29T12:34:56.789"),
    "TIMESTAMP": Out("TIMESTAMP '2024-02-29 12:34:56.789012'", "timestamp[us]", "2024-02-29T12:34:56.789012"),
    "TIMESTAMP (before 1970)": Out("TIMESTAMP '1901-01-01 00:00:00.5'", "timestamp[us]", "1901-01-01T00:00:00.5"),
    "TIMESTAMP_NS": Out(
        "TIMESTAMP_NS '2024-02-29 12:34:56.123456789'", "timestamp[ns]", "2024-02-29T12:34:56.123456789"
    ),
    "TIMESTAMP WITH TIME ZONE": Out(
        "TIMESTAMPTZ '2024-02-29 12:34:56.789012+02'", "timestamp[us, tz=UTC]", "2024-02-29T10:34:56.789012Z"
    ),
    "TIMESTAMPTZ_NS": Out(
        "'2024-02-29 12:34:56.123456789+02'::TIMESTAMPTZ_NS", "timestamp[ns, tz=UTC]", "2024-02-29T10:34:56.123456789Z"
    ),
    "INTERVAL": Out(
        "INTERVAL '14 months 3 days 4 hours'",
        "month_day_nano_interval",
        {"months": 14, "days": 3, "nanoseconds": 14_400_000_000_000},
    ),
    "UUID": Out("'00000000-1111-2222-3333-444444444444'::UUID", "string", "00000000-1111-2222-3333-444444444444"),
    "BLOB": Out("'\\x00\\xFF'::BLOB", "binary", "hex:00ff"),
    "BIT": Out("'10101'::BIT", "string", "10101"),
    "GEOMETRY": Out(
        "'POINT(1 2)'::GEOMETRY", "extension<geoarrow.wkb>", "hex:0101000000000000000000f03f0000000000000040"
    ),
    "VARIANT": Out("{'a': [1, 2]}::VARIANT", "string", "{'a': [1, 2]}"),
    "VARCHAR": Out("'héllo 𝄞'", "string", "héllo 𝄞"),
    "VARCHAR (empty)": Out("''", "string", ""),
    "ENUM": Out("'b'::ENUM('a', 'b')", "string", "b"),
    "JSON": Out("""'{"a": [1, 2]}'::JSON""", "string", '{"a": [1, 2]}'),
    "INTEGER[]": Out("[1, NULL, 3]", "list<l: int32>", [1, None, 3]),
    "INTEGER[] (empty)": Out("[]::INTEGER[]", "list<l: int32>", []),
    "INTEGER[3]": Out("array_value(1, 2, 3)", "fixed_size_list<: int32>[3]", [1, 2, 3]),
    "VARCHAR[][]": Out("[['a', NULL], []]", "list<l: list<l: string>>", [["a", None], []]),
    "DECIMAL(4,2)[]": Out("[1.50::DECIMAL(4,2)]", "list<l: decimal128(4, 2)>", ["1.50"]),
    "TIMESTAMP[]": Out("[TIMESTAMP '2024-02-29 12:34:56.789']", "list<l: timestamp[us]>", ["2024-02-29T12:34:56.789"]),
    "STRUCT in a struct": Out("{'a': {'b': 1}}", "struct<a: struct<b: int32>>", {"a": {"b": 1}}),
    "STRUCT": Out("{'a': 1, 'b': 'x'}", "struct<a: int32, b: string>", {"a": 1, "b": "x"}),
    "MAP": Out("MAP {'a': 1, 'b': NULL}", "map<string, int32>", {"a": 1, "b": None}),
    "UNION": Out("union_value(n := 1)", "sparse_union<n: int32=0>", 1),
    "STRUCT in a list": Out(
        "[{'a': [1, 2], 'm': MAP {'k': DATE '2024-01-01'}}]",
        "list<l: struct<a: list<l: int32>, m: map<string, date32[day]>>>",
        [{"a": [1, 2], "m": {"k": "2024-01-01"}}],
    ),
    "VARCHAR (NULL)": Out("NULL::VARCHAR", "string", None),
    "DECIMAL (NULL)": Out("NULL::DECIMAL(9,2)", "decimal128(9, 2)", None),
    "NULL": Out("NULL", "null", None),
}


# Nested values that hold a type which travels as text are text as a whole: name, expression, type of Arrow, value in
# the form of client.py.
WITHIN: tuple[tuple[str, str, str, Any], ...] = (
    ("BIT[]", "['10101'::BIT]", "string", "[10101]"),
    ("TIME WITH TIME ZONE[]", "[TIMETZ '12:34:56+02']", "string", "['12:34:56+02']"),
    ("UHUGEINT[]", "[42::UHUGEINT]", "string", "[42]"),
    ("STRUCT of a BIGNUM", "{'n': '7'::BIGNUM}", "string", "{'n': 7}"),
    ("STRUCT of a VARIANT", "{'v': 42::VARIANT}", "string", "{'v': 42}"),
)


@dataclass(frozen=True, slots=True)
class Deviation:
    """What a client shows in place of the faithful value, and why. ``shows`` None with ``refuses``: it cannot read."""

    shows: Any  # Any: see client.py
    why: str
    refuses: bool = False


def _in_pairs(*clients: str) -> Mapping[tuple[str, str], Deviation]:
    """For clients that give maps as lists of pairs, as pyarrow does."""
    why = "a map is a list of pairs, as pyarrow gives it to Python"
    return {
        (client, kind): Deviation(shows, why)
        for client in clients
        for kind, shows in {
            "MAP": [["a", 1], ["b", None]],
            "STRUCT in a list": [{"a": [1, 2], "m": [["k", "2024-01-01"]]}],
        }.items()
    }


def _to_microseconds(kind: str, shows: str, *clients: str) -> Mapping[tuple[str, str], Deviation]:
    """For clients whose moments end at microseconds."""
    return {(client, kind): Deviation(shows, "Python's `datetime` has microseconds") for client in clients}


def _as_doubles(client: str) -> Mapping[tuple[str, str], Deviation]:
    """For R's arrow, whose users see every decimal as R's only number with a fraction."""
    shows = {
        "HUGEINT": -1e38,
        "UBIGINT": 1.8446744073709552e19,
        "DECIMAL(4,2)": -1.5,
        "DECIMAL(18,3)": 123456789012345.67,
        "DECIMAL(38,0)": 1.2345678901234568e37,
        "DECIMAL(38,37)": 1.2345678901234567,
        "DECIMAL(4,2)[]": [1.5],
    }
    return {(client, kind): Deviation(found, "rounded to a double, R's number") for kind, found in shows.items()}


# By client and type. Everything that is not here is shown faithfully by every client.
DEVIATIONS: Mapping[tuple[str, str], Deviation] = {
    **_in_pairs("adbc", "pandas", "r", "sqlalchemy"),
    **_to_microseconds("TIMESTAMP_NS", "2024-02-29T12:34:56.123456", "polars", "duckdb"),
    **_to_microseconds("TIMESTAMPTZ_NS", "2024-02-29T10:34:56.123456Z", "polars"),
    **_to_microseconds("TIME_NS", "12:34:56.123456", "adbc", "polars", "pandas", "duckdb", "r"),
    **_as_doubles("r-arrow"),
    ("sqlalchemy", "TIMESTAMP_NS"): Deviation(None, "the driver wants pandas for nanoseconds", refuses=True),
    ("sqlalchemy", "TIMESTAMPTZ_NS"): Deviation(None, "the driver wants pandas for nanoseconds", refuses=True),
    ("sqlalchemy", "TIME_NS"): Deviation(None, "the driver wants pandas for nanoseconds", refuses=True),
    ("jdbc", "TIME"): Deviation("12:34:56.789", "the driver's times end at milliseconds"),
    ("jdbc", "TIME_NS"): Deviation("12:34:56.123", "the driver's times end at milliseconds"),
    ("jdbc", "STRUCT in a list"): Deviation(
        [{"a": [1, 2], "m": [{"key": "k", "value": 19723}]}],
        "within lists the driver shows maps as pairs, and dates as days since 1970",
    ),
    ("r", "INTEGER"): Deviation(None, "the least number of 32 bits is R's NA"),
    ("r", "BIGINT"): Deviation(0, "reticulate of Debian 12 keeps the low 32 bits"),
    ("r", "UINTEGER"): Deviation(-1, "R reads it as a signed number"),
    ("r", "TIMESTAMP_NS"): Deviation("2024-02-29T12:34:56.123457", "R's times are rounded to microseconds"),
    ("r", "TIMESTAMPTZ_NS"): Deviation("2024-02-29T10:34:56.123457Z", "R's times are rounded to microseconds"),
    ("r-arrow", "TIMESTAMPTZ_NS"): Deviation("2024-02-29T10:34:56.123457Z", "R's times are rounded to microseconds"),
    ("r-arrow", "INTEGER"): Deviation(None, "the least number of 32 bits is R's NA"),
    ("r-arrow", "BIGINT"): Deviation(None, "the least number of 64 bits is the NA of `bit64`"),
    ("r-arrow", "TIME_NS"): Deviation("12:34:56.123457", "R's times are rounded to microseconds"),
    ("r-arrow", "TIMESTAMP_NS"): Deviation("2024-02-29T12:34:56.123457", "R's times are rounded to microseconds"),
    ("r-arrow", "INTERVAL"): Deviation(
        "cannot handle Array of type <month_day_nano_interval>", "R's arrow has no intervals: an error"
    ),
    ("r-arrow", "UNION"): Deviation("cannot handle Array of type <sparse_union>", "R's arrow has no unions: an error"),
    ("polars", "INTERVAL"): Deviation(None, "Polars has no type for months, days and nanoseconds", refuses=True),
    ("polars", "UNION"): Deviation(None, "Polars has no unions", refuses=True),
    ("duckdb", "TIMESTAMP WITH TIME ZONE"): Deviation(
        None, "DuckDB's Python package wants `pytz` for it, which is not installed here", refuses=True
    ),
    ("duckdb", "TIMESTAMPTZ_NS"): Deviation(
        None, "DuckDB's Python package wants `pytz` for it, which is not installed here", refuses=True
    ),
    ("duckdb", "INTERVAL"): Deviation(
        {"months": 0, "days": 423, "nanoseconds": 14_400_000_000_000},
        "Python's `timedelta` has no months: DuckDB counts 30 days for each",
    ),
}

Seen = dict[str, dict[str, Any]]
# What each client showed: by client, by type. Filled by the check and kept with the suite's results.
SEEN: Seen = {}


def shown(client: Client, kind: str) -> Any:  # Any: see client.py
    """What the client shows for the type; ``refused: ...`` when it cannot show it."""
    try:
        result = client.query(f"SELECT {OUT[kind].sql} AS v")
    except (Refused, AssertionError) as error:  # A bridge that fails to tell a value fails an assertion.
        return f"refused: {(str(error).splitlines() or [''])[0][:200]}"
    assert len(result.rows) == 1, result
    return result.rows[0][0]


def _fits(name: str, kind: str, found: Any) -> bool:
    deviation, wanted = DEVIATIONS.get((name, kind)), OUT[kind]
    if wanted.refused:
        return isinstance(found, str) and found.startswith("refused: ") and wanted.refused in found
    if deviation is None:
        return same(found, OUT[kind].faithful)
    if deviation.refuses:
        return isinstance(found, str) and found.startswith("refused: ")
    return same(found, deviation.shows)


def same(found: Any, wanted: Any) -> bool:
    """Whether two values in the form of client.py are equal; true is not 1, and a huge integer may be a text."""
    if isinstance(wanted, int) and wanted >= 2**63:
        return str(found) == str(wanted)
    return type(found) is type(wanted) and bool(found == wanted)


@check("query")
def check_types_out(client: Client, stage: Stage) -> None:
    """Every type of DuckDB is shown faithfully, or as the table of deviations says."""
    seen = SEEN.setdefault(stage.name, {})
    seen |= {kind: shown(client, kind) for kind in OUT}
    wrong = {kind: (value, OUT[kind].faithful) for kind, value in seen.items() if not _fits(stage.name, kind, value)}
    assert wrong == {}, wrong


# In -------------------------------------------------------------------------------------------------------------------

# A type of Arrow, its DuckDB type in a temporary table, and how the server writes the value as text.
IN: tuple[tuple[pa.DataType, Any, str, str], ...] = (
    (pa.bool_(), True, "BOOLEAN", "true"),
    (pa.int8(), -128, "TINYINT", "-128"),
    (pa.int16(), -32768, "SMALLINT", "-32768"),
    (pa.int32(), -(2**31), "INTEGER", "-2147483648"),
    (pa.int64(), -(2**63), "BIGINT", "-9223372036854775808"),
    (pa.uint8(), 255, "UTINYINT", "255"),
    (pa.uint16(), 65535, "USMALLINT", "65535"),
    (pa.uint32(), 2**32 - 1, "UINTEGER", "4294967295"),
    (pa.uint64(), 2**64 - 1, "UBIGINT", "18446744073709551615"),
    (pa.float16(), 1.5, "FLOAT", "1.5"),
    (pa.float32(), 1.5, "FLOAT", "1.5"),
    (pa.float64(), 0.1, "DOUBLE", "0.1"),
    (pa.decimal128(4, 2), Decimal("-1.50"), "DECIMAL(4,2)", "-1.50"),
    (pa.decimal128(38, 0), Decimal(_DIGITS_38), "DECIMAL(38,0)", _DIGITS_38),
    (pa.string(), "𝄞", "VARCHAR", "𝄞"),
    (pa.large_string(), "𝄞", "VARCHAR", "𝄞"),
    (pa.string_view(), "a text longer than twelve", "VARCHAR", "a text longer than twelve"),
    (pa.binary(), b"\x00\xff", "BLOB", "\\x00\\xFF"),
    (pa.large_binary(), b"\x00\xff", "BLOB", "\\x00\\xFF"),
    (pa.binary(2), b"\x00\xff", "BLOB", "\\x00\\xFF"),
    (pa.date32(), date(2024, 2, 29), "DATE", "2024-02-29"),
    (pa.date64(), date(2024, 2, 29), "DATE", "2024-02-29"),
    (pa.time32("s"), time(12, 34, 56), "TIME", "12:34:56"),
    (pa.time32("ms"), time(12, 34, 56, 789000), "TIME", "12:34:56.789"),
    (pa.time64("us"), time(12, 34, 56, 789012), "TIME", "12:34:56.789012"),
    (pa.timestamp("s"), datetime(2024, 2, 29, 12, 34, 56), "TIMESTAMP_S", "2024-02-29 12:34:56"),
    (pa.timestamp("ms"), datetime(2024, 2, 29, 12, 34, 56, 789000), "TIMESTAMP_MS", "2024-02-29 12:34:56.789"),
    (pa.timestamp("us"), datetime(2024, 2, 29, 12, 34, 56, 789012), "TIMESTAMP", "2024-02-29 12:34:56.789012"),
    (pa.timestamp("ns"), datetime(2024, 2, 29, 12, 34, 56, 789012), "TIMESTAMP_NS", "2024-02-29 12:34:56.789012"),
    (
        pa.timestamp("us", "UTC"),
        datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC),
        "TIMESTAMP WITH TIME ZONE",
        "2024-02-29 12:34:56+00",
    ),
    (pa.duration("us"), timedelta(days=1, seconds=2), "INTERVAL", "24:00:02"),
    (pa.month_day_nano_interval(), pa.MonthDayNano([14, 3, 0]), "INTERVAL", "1 year 2 months 3 days"),
    (pa.list_(pa.int32()), [1, None], "INTEGER[]", "[1, NULL]"),
    (pa.large_list(pa.int32()), [1, None], "INTEGER[]", "[1, NULL]"),
    (pa.list_(pa.int32(), 2), [1, 2], "INTEGER[2]", "[1, 2]"),
    (
        pa.struct([("a", pa.int32()), ("b", pa.string())]),
        {"a": 1, "b": "x"},
        "STRUCT(a INTEGER, b VARCHAR)",
        "{'a': 1, 'b': x}",
    ),
    (pa.map_(pa.string(), pa.int32()), [("k", 1)], "MAP(VARCHAR, INTEGER)", "{k=1}"),
    (pa.dictionary(pa.int8(), pa.string()), "a", "VARCHAR", "a"),
)
_HALVES = pa.array([0, 0], pa.int8())
# What few libraries make, brought by pyarrow.flight alone: values, type of DuckDB, and their texts.
RARE: tuple[tuple[pa.Array, str, tuple[str | None, str | None]], ...] = (
    (pa.array([Decimal("1.5"), None], pa.decimal32(4, 2)), "DECIMAL(4,2)", ("1.50", None)),
    (pa.array([Decimal("1.5"), None], pa.decimal64(18, 3)), "DECIMAL(18,3)", ("1.500", None)),
    (pa.array([Decimal("1.5"), None], pa.decimal256(38, 2)), "DECIMAL(38,2)", ("1.50", None)),
    (pa.array([b"\x00\xff", None], pa.binary_view()), "BLOB", ("\\x00\\xFF", None)),
    (pa.array([45296123456789, None], pa.time64("ns")), "TIME_NS", ("12:34:56.123456789", None)),
    (pa.array([5, None], pa.duration("s")), "INTERVAL", ("00:00:05", None)),
    (pa.array([5000, None], pa.duration("ns")), "INTERVAL", ("00:00:00.000005", None)),
    (pa.array([0, None], pa.timestamp("s", "UTC")), "TIMESTAMP WITH TIME ZONE", ("1970-01-01 00:00:00+00", None)),
    (pa.array([1, None], pa.timestamp("ns", "UTC")), "TIMESTAMPTZ_NS", ("1970-01-01 00:00:00.000000001+00", None)),
    (
        pa.array([0, None], pa.timestamp("us", "Europe/Paris")),
        "TIMESTAMP WITH TIME ZONE",
        ("1970-01-01 00:00:00+00", None),
    ),
    (pa.array([None, None], pa.null()), "INTEGER", (None, None)),
    (pa.array([[1, None], None], pa.list_view(pa.int32())), "INTEGER[]", ("[1, NULL]", None)),
    (pa.array([[1, None], None], pa.large_list_view(pa.int32())), "INTEGER[]", ("[1, NULL]", None)),
    (pa.array([5, None], pa.dictionary(pa.int32(), pa.int64())), "BIGINT", ("5", None)),
    (pa.array(["{}", None], pa.json_()), "JSON", ("{}", None)),
    (pa.array([bytes(15) + b"\x07", None], pa.uuid()), "UUID", ("00000000-0000-0000-0000-000000000007", None)),
    (pa.array([1, None], pa.bool8()), "BOOLEAN", ("true", None)),
    (
        pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array([7, None], pa.int32())),
        "INTEGER",
        ("7", None),
    ),
    (
        pa.UnionArray.from_sparse(_HALVES, [pa.array([1, None], pa.int32())], ["n"]),
        "STRUCT(n INTEGER)",
        ("{'n': 1}", "{'n': NULL}"),
    ),
    (
        pa.UnionArray.from_dense(_HALVES, pa.array([0, 1], pa.int32()), [pa.array([1, None], pa.int32())], ["n"]),
        "STRUCT(n INTEGER)",
        ("{'n': 1}", "{'n': NULL}"),
    ),
)
# What each client's rows became: by client, by type of Arrow.
BROUGHT: Seen = {}


@check("arrow", "ingest", "query", own=True)
def check_types_in(client: Client, stage: Stage) -> None:
    """Every type of Arrow becomes the type of DuckDB that the table says, with its value; NULL stays NULL."""
    wrong = {}
    for number, (kind, value, sql_type, text) in enumerate(IN):
        found = brought(client, f"t{number}", pa.table({"v": pa.array([value, None], kind)}))
        BROUGHT.setdefault(stage.name, {})[str(kind)] = found
        if found != [sql_type, text, None]:
            wrong[str(kind)] = (found, sql_type, text)
    assert wrong == {}, wrong


def brought(client: Client, table: str, rows: pa.Table) -> Any:  # Any: what the table of types shows
    """Type and texts of two rows of a column ``v``; ``refused: ...`` when they are not taken."""
    try:
        client.ingest(table, rows, "create")
        sql = f"SELECT typeof(v) AS k, CAST(v AS VARCHAR) AS v FROM {table} ORDER BY v IS NULL"
        (first, second) = client.query(sql).rows
    except Refused as error:
        return f"refused: {str(error).splitlines()[0][:200]}"
    return [first[0], first[1], second[1]]
