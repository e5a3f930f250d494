"""``flightmesh.planner.parameters``: a value takes its parameter's place, with its own type, and nothing else moves."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from flightmesh.config import Limits
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.planner.parameters import bound_types, declared_types, order, typed_text
from flightmesh.planner.statement import parse


def _typed(sql: str, names: list[str], types: list[str]) -> str:
    return typed_text(parse(sql, limits=Limits()), names, types)


@pytest.mark.parametrize(
    ("sql", "names", "typed"),
    [
        ("SELECT 1", [], "SELECT 1"),
        ("SELECT ? + 1", ["1"], "SELECT (CAST($1 AS T1)) + 1"),
        ("SELECT ?", ["1"], 'SELECT (CAST($1 AS T1)) AS "$1"'),
        ("SELECT ? AS a", ["1"], "SELECT (CAST($1 AS T1)) AS a"),
        ("SELECT $b, $a", ["a", "b"], 'SELECT (CAST($2 AS T2)) AS "$b", (CAST($1 AS T1)) AS "$a"'),
        ("SELECT 'é?$1', ? /* ? */ + $$ ? $$", ["1"], "SELECT 'é?$1', (CAST($1 AS T1)) /* ? */ + $$ ? $$"),
        (
            "SELECT x FROM t WHERE a=$n AND b=$n",
            ["n"],
            "SELECT x FROM t WHERE a=(CAST($1 AS T1)) AND b=(CAST($1 AS T1))",
        ),
        ("SELECT $2-$1", ["1", "2"], "SELECT (CAST($2 AS T2))-(CAST($1 AS T1))"),
        ("SELECT ?::INT", ["1"], "SELECT (CAST($1 AS T1))::INT"),
        (
            "SELECT x FROM t LIMIT ? OFFSET ?",
            ["1", "2"],
            "SELECT x FROM t LIMIT (CAST($1 AS T1)) OFFSET (CAST($2 AS T2))",
        ),
    ],
)
def test_each_parameter_is_cast_where_it_stands(sql: str, names: list[str], typed: str) -> None:
    """A parameter in a text or a comment would be rewritten, or one value would stand for another."""
    assert _typed(sql, names, [f"T{n}" for n in range(1, len(names) + 1)]) == typed


# A place for a value, in every kind of clause; the column a? is there so that a name holds a question mark.
FORMS = (
    "SELECT {0} AS x, '?é' AS y FROM (SELECT 1 AS \"a?\") WHERE {1} IS NOT NULL",
    "SELECT [{0}, {1}] AS x /* ? */ ORDER BY {2}",
    "SELECT CASE WHEN {0} > {1} THEN '$1' ELSE CAST({2} AS VARCHAR) || '?' END AS x",
    "WITH é AS (SELECT {0} AS v) SELECT v + {1} AS x FROM é WHERE v = {0} OR {2} <> v -- ?",
    "SELECT x FROM (VALUES ({0}), ({1})) t(x) WHERE x IN ({2}, {0}, {1}) ORDER BY x LIMIT 9",
    "SELECT list_transform([1, 2], lambda i: i + {0}) AS x, $$ ? $$ AS y, {1}-{2} AS z",
    "SELECT x FROM range(5) t(x) WHERE x BETWEEN -{0} AND {1} GROUP BY x, {2} HAVING count(*) >= 1 ORDER BY 1",
    "SELECT {0}\n\u2003+\u00a0{1} AS x UNION ALL SELECT {2} ORDER BY 1",
)


@given(st.sampled_from(FORMS), st.lists(st.integers(0, 9), min_size=3, max_size=3), st.sampled_from("?n$"))
def test_the_typed_statement_means_what_the_written_one_means(form: str, values: list[int], style: str) -> None:
    """A rewritten statement would read other rows than the one that was approved."""
    written: list[int] = []

    def place(index: int) -> str:
        written.append(index)
        return {"?": "?", "n": f"$name_{index}", "$": f"${index + 1}"}[style]

    parts = [part.split("}", 1) for part in form.split("{")]
    sql = parts[0][0] + "".join(place(int(index)) + rest for index, rest in parts[1:])
    if style == "?":
        names, bound = [str(n) for n in range(1, len(written) + 1)], [values[index] for index in written]
    else:
        used = sorted(set(written))
        names = [f"name_{index}" if style == "n" else str(index + 1) for index in used]
        bound = [values[index] for index in used]
    with duckdb.connect() as connection:
        found = connection.execute(_typed(sql, names, ["BIGINT"] * len(names)), bound).fetchall()
        literal = parts[0][0] + "".join(f"(CAST({values[int(i)]} AS BIGINT))" + rest for i, rest in parts[1:])
        assert found == connection.execute(literal).fetchall()


def _schema(*types: pa.DataType) -> pa.Schema:
    return pa.schema([(f"p{n}", entry) for n, entry in enumerate(types)])


@pytest.mark.parametrize(
    ("have", "want", "is_open", "bound"),
    [
        (pa.int8(), pa.int64(), False, "TINYINT"),
        (pa.string(), pa.date32(), False, "DATE"),
        (pa.string(), pa.date32(), True, "VARCHAR"),
        (pa.string(), pa.list_(pa.int8()), False, "VARCHAR"),
        (pa.null(), pa.date32(), False, "DATE"),
        (pa.null(), pa.list_(pa.int8()), False, "VARCHAR"),
        (pa.float64(), pa.string(), False, "DOUBLE"),
    ],
)
def test_the_bound_type_decides(have: pa.DataType, want: pa.DataType, is_open: bool, bound: str) -> None:
    """A driver's value would be read as another type than it has, or its text not as the date that was meant."""
    assert bound_types(_schema(have), _schema(want), [is_open]) == (bound,)


def test_a_wrong_number_of_values_is_refused() -> None:
    """A value would be left over, or a parameter have none."""
    with pytest.raises(FlightmeshError) as caught:
        bound_types(_schema(pa.int8()), _schema(pa.int8(), pa.int8()), [False, False])
    assert caught.value.code is ErrorCode.INVALID
    assert str(caught.value) == "Parameters of the statement: 2; bound: 1. Bind one column per parameter."


def test_a_type_that_cannot_be_bound_is_refused_by_name() -> None:
    """A list would be bound as its text."""
    with pytest.raises(FlightmeshError) as caught:
        bound_types(_schema(pa.list_(pa.int8())), _schema(pa.int8()), [False])
    assert caught.value.code is ErrorCode.UNSUPPORTED
    assert "list<" in str(caught.value)
    assert declared_types(_schema(pa.int8(), pa.string())) == ("TINYINT", "VARCHAR")


@pytest.mark.parametrize(
    ("bound", "declared", "expected"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["0", "1"], ["a", "b"], [0, 1]),
        (["a", "a"], ["a", "b"], [0, 1]),
        (["2", "1"], ["1", "2"], [1, 0]),
        ([], [], []),
    ],
)
def test_values_go_by_name_where_the_names_agree(bound: list[str], declared: list[str], expected: list[int]) -> None:
    """A driver that sends columns in its own order would swap two values."""
    schemas = [pa.schema([pa.field(name, pa.int8()) for name in names]) for names in (bound, declared)]
    assert order(*schemas) == expected
