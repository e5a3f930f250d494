"""``flightmesh.sql.postgres_functions``: functions, operators and casts over hostile values answer as DuckDB does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from flightmesh.sql.dialects import NotPushed
from flightmesh.sql.postgres_functions import call
from tests.sql.both_engines import HOSTILE, BothEngines

_COLUMNS = [f'"{name}"' for name in HOSTILE]
_LITERALS = ["0", "1", "-2", "7", "100000", "2.5", "-0.05", "1e0", "'a'", "''", "DATE '2020-01-31'", "NULL", "true"]
_LITERALS += [
    "TIMESTAMP '2020-01-01 00:00:00'",
    "3000000000",
    "'2020-01-31'",
    "'a\\_b'",
    "TIMESTAMPTZ '2003-01-01 03:00:00Z'",
]
_OF_ONE = """
-x; abs(x); @x; round(x); round(x, 1); round(x, 5); floor(x); ceil(x); length(x); strlen(x); x IS NULL; x IS NOT NULL
year(x); month(x); day(x); quarter(x); hour(x); minute(x); dayofweek(x); isodow(x); dayofyear(x); week(x); second(x)
extract(year FROM x); extract(doy FROM x); extract(epoch FROM x); extract(century FROM x)
date_trunc('month', x); date_trunc('week', x); date_trunc('year', x); date_trunc('quarter', x); date_trunc('hour', x)
date_trunc('day', x); date_trunc('minute', x); date_trunc('second', x); date_trunc('decade', x)
x::SMALLINT; x::INT; x::BIGINT; x::HUGEINT; x::DOUBLE; x::FLOAT; x::VARCHAR; x::DATE; x::TIMESTAMP; x::BOOLEAN
x::DECIMAL(5,2); x::DECIMAL(15,1); x::DECIMAL(38,10); x::TIMESTAMPTZ; x::TIME; TRY_CAST(x AS INT)
left(x, 1); right(x, 2); left(x, -1); substring(x, 1, 2); substring(x, 2); substring(x, 0, 2); substring(x, -2, 1)
x + INTERVAL 1 MONTH; x - INTERVAL 1 MONTH; x + INTERVAL 1 DAY; x - INTERVAL '1' YEAR; x - INTERVAL 3 HOUR
x + INTERVAL 2 WEEK; x + INTERVAL 90 MINUTE; x + INTERVAL 1 SECOND; INTERVAL 1 DAY + x
x LIKE '%b'; x LIKE 'a\\%'; x LIKE '_'; x LIKE 'a!%b' ESCAPE '!'; x LIKE 'a\\_b' ESCAPE '\\'
x NOT LIKE '%b%'; x ILIKE 'A%'
x LIKE ''; x LIKE '%'; x LIKE 'a\\b'; x SIMILAR TO 'a'; x NOT LIKE 'a!_b' ESCAPE '!'
starts_with(x, 'a'); prefix(x, ''); contains(x, ''); contains(x, 'b'); suffix(x, 'b'); strpos(x, 'b'); instr(x, '')
replace(x, 'a', 'xy'); replace(x, '', 'xy'); x || 'x'; lower(x); upper(x); trim(x); reverse(x); md5(x)
coalesce(x, x); nullif(x, x); NOT x; x IS TRUE; x AND true; x OR NULL; sign(x); sqrt(x); x ^ 2
x BETWEEN 1 AND 2; x BETWEEN 'a' AND 'b'; x BETWEEN DATE '2000-01-01' AND '2020-12-31'; x BETWEEN -0.05 AND 1e0
x IN (1, 2, 7); x IN ('a', 'B', ''); x IN (0.05, 1, 2.5); x IN (1e0, 2); x NOT IN (1, NULL); x NOT IN (x, NULL)
x = '2020-01-31'; x IN ('2020-01-31'); x < '2020-01-31 10:00:00'; x < '2001-01-31 10:00:00+00'; x > '2020-1-31'
x / 0; 0 / x; 1 / x; x / x; x::DOUBLE / x::DOUBLE; mod(x, 3); x // 0; CASE WHEN x IS NULL THEN NULL ELSE x END
lag(x) OVER (ORDER BY id); lead(x, 2) OVER (ORDER BY id DESC); lag(x, 1, x) OVER (ORDER BY id)
rank() OVER (ORDER BY x DESC); row_number() OVER (ORDER BY x, id); dense_rank() OVER (ORDER BY x NULLS FIRST)
count(x) OVER (PARTITION BY b ORDER BY id); max(x) OVER (ORDER BY id); min(x) OVER (); count(*) OVER (PARTITION BY x)
sum(x) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING); avg(x) OVER (PARTITION BY b)
sum(x) OVER (ORDER BY id RANGE BETWEEN 1 PRECEDING AND CURRENT ROW); first_value(x) OVER (ORDER BY id)
"""
_OF_TWO = """
x + y; x - y; x * y; x / y; x // y; x % y; x = y; x <> y; x < y; x > y; x <= y; x >= y; x IS DISTINCT FROM y
x IS NOT DISTINCT FROM y; x || y; x LIKE y; x NOT LIKE y; coalesce(x, y); nullif(x, y); greatest(x, y); least(x, y)
CASE WHEN b THEN x ELSE y END; ifnull(x, y); x IN (y, NULL); CASE x WHEN y THEN 1 ELSE 2 END; x BETWEEN y AND x
contains(x, y); strpos(x, y); starts_with(x, y); replace(x, y, 'q'); x BETWEEN x AND y; x AND y; y - x; y / x; y < x
"""
_OF_ALL_ROWS = """
count(x); count(DISTINCT x); sum(x); avg(x); min(x); max(x); count_if(x); bool_and(x); bool_or(x); sum(DISTINCT x)
sum(x) FILTER (WHERE id < 3); count(*) FILTER (WHERE x IS NULL); max(x) FILTER (WHERE id > 100); avg(x) FILTER (WHERE b)
any_value(x); first(x); median(x); stddev(x); string_agg(x, ','); list(x); sum(x ORDER BY id); approx_count_distinct(x)
"""


def _templates(text: str) -> list[str]:
    return [part.strip() for line in text.strip().splitlines() for part in line.split(";") if part.strip()]


def _replace(template: str, one: str, other: str) -> str:
    """The template with x and y, where they stand alone, replaced."""
    out, inside = "", False
    for index, character in enumerate(template):
        before, after = template[index - 1 : index], template[index + 1 : index + 2]
        inside ^= character == "'"
        is_word = (before.isalnum() or before == "_") or (after.isalnum() or after == "_")
        out += {"x": one, "y": other}.get(character, character) if not inside and not is_word else character
    return out


def _verdict(both: BothEngines, expression: str, *, is_exact: bool) -> str:
    """What became of the expression over all rows; over each row where one engine raises for some of them."""
    outcome = both.compare(f"SELECT id, {expression} AS x FROM h ORDER BY ALL", is_exact=is_exact)
    if outcome.kind != "error":
        return outcome.kind
    for row in range(14):
        both.compare(f"SELECT {expression} AS x FROM h WHERE id = {row}", is_exact=is_exact)
    return "error"


def _expressions() -> Iterator[tuple[str, bool]]:
    for template in _templates(_OF_ONE):
        is_exact = "OVER" not in template
        yield from ((_replace(template, column, ""), is_exact) for column in _COLUMNS)


def _pairs() -> list[str]:
    return [
        _replace(template, column, other)
        for template in _templates(_OF_TWO)
        for column in _COLUMNS
        for other in [*_COLUMNS, *_LITERALS]
    ]


def test_functions_of_one_value_answer_alike(both: BothEngines) -> None:
    """A pushed expression would give a reader another value than the same expression gives unpushed."""
    verdicts = Counter(_verdict(both, text, is_exact=is_exact) for text, is_exact in _expressions())
    # So many are told apart, not merely refused.
    assert verdicts["equal"] > 500, verdicts


def test_operators_of_two_values_answer_alike(both: BothEngines) -> None:
    """As above, for a sample of all pairs of types."""
    verdicts = Counter(_verdict(both, text, is_exact=True) for text in Random(7).sample(_pairs(), 800))
    assert verdicts["equal"] > 120, verdicts


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_operators_of_two_values_answer_alike(both: BothEngines) -> None:
    """As above, for all of them."""
    verdicts = Counter(_verdict(both, text, is_exact=True) for text in _pairs())
    assert verdicts["equal"] > 1200, verdicts


def test_aggregates_answer_alike(both: BothEngines) -> None:
    """A pushed total would be another one: in its type, its rounding, or over no rows."""
    verdicts = Counter[str]()
    for template in _templates(_OF_ALL_ROWS):
        for column in _COLUMNS:
            for tail in (" FROM h", " FROM h WHERE id > 5 AND id < 13", " FROM h WHERE false", " FROM h GROUP BY b"):
                verdicts[both.compare(f"SELECT {_replace(template, column, '')} AS x{tail}").kind] += 1
    assert verdicts["equal"] > 300, verdicts


@pytest.mark.parametrize("name", ["regexp_matches", "lower", "upper", "trim", "now", "random", "nextval", "pg_sleep"])
def test_what_is_on_no_list_is_refused_by_name(name: str) -> None:
    """A function of the same name in the database may mean anything."""
    with pytest.raises(NotPushed, match=rf"{name} has no proven equal in postgres"):
        call(name, ())
