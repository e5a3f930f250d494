"""Which statements go to their database whole, with which values, and the reason for the others."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal

import duckdb
import pytest

from flightmesh.config import Limits
from flightmesh.planner.pushdown import with_values
from flightmesh.sql.pushable import NotPushed

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "INTEGER"),
        (True, "BOOLEAN"),
        (False, "BOOLEAN"),
        (0, "BIGINT"),
        (-1, "BIGINT"),
        (-(2**63), "BIGINT"),
        (2**64 - 1, "UBIGINT"),
        (2**127 - 1, "HUGEINT"),
        (Decimal("-0.10"), "DECIMAL(5,2)"),
        (Decimal("12345678901234567890123456789012345678"), "DECIMAL(38,0)"),
        (Decimal("0.00000000000000000000000000000000000001"), "DECIMAL(38,38)"),
        (Decimal("-1E+3"), "DECIMAL(6,1)"),
        (0.1, "DOUBLE"),
        (-0.0, "DOUBLE"),
        (1e16, "DOUBLE"),
        (1e22, "DOUBLE"),
        (5e-324, "DOUBLE"),
        (1.7976931348623157e308, "DOUBLE"),
        (3.4028234663852886e38, "FLOAT"),
        ("", "VARCHAR"),
        ("o'clock '' \\ \" -- /* $1 ? ; ", "VARCHAR"),
        ("\u00a0\u3000\u200b\ufeff\n\r\t\x1f", "VARCHAR"),
        ("ü🜁\u0301", "VARCHAR"),
        (datetime.date(1, 1, 1), "DATE"),
        (datetime.date(9999, 12, 31), "DATE"),
        (datetime.time(23, 59, 59, 999999), "TIME"),
        (datetime.datetime(2020, 2, 29, 1, 2, 3, 4), "TIMESTAMP"),
        (datetime.datetime(1, 1, 1), "TIMESTAMP"),
        (datetime.datetime(2020, 2, 29, 1, 2, 3, 4, tzinfo=UTC), "TIMESTAMP WITH TIME ZONE"),
        (
            datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))),
            "TIMESTAMP WITH TIME ZONE",
        ),
    ],
)
def test_values_read_back_exactly(value: object, kind: str) -> None:
    """A value in a pushed statement that is off by one bit brings other rows than the one that is not pushed."""
    sql = with_values(f"SELECT CAST($1 AS {kind}) AS v, 1 AS one", [value], limits=Limits())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql(sql).to_arrow_table()["v"][0].as_py()
    assert found == value
    assert isinstance(value, bool | float | None) <= (str(found) == str(value))


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, math.nan, "a\0b", b"bytes", datetime.timedelta(1), Decimal("NaN"), [1]]
)
def test_values_without_a_literal_are_not_pushed(value: object) -> None:
    """What cannot be written exactly stays here: the engine binds it."""
    with pytest.raises(NotPushed, match="no literal"):
        with_values("SELECT CAST($1 AS VARCHAR) AS v", [value], limits=Limits())


def test_every_place_of_a_parameter_gets_its_own_value() -> None:
    """Values of different length must not shift one another, in text that counts bytes and not characters."""
    sql = "SELECT 'ü$1' AS \"ä?\", CAST($2 AS VARCHAR) || CAST($1 AS VARCHAR) || CAST($2 AS VARCHAR) AS v -- $3"
    with duckdb.connect() as connection:
        found = connection.sql(with_values(sql, ["ö'ö", "long enough"], limits=Limits())).fetchall()
    assert found == [("ü$1", "long enough" + "ö'ö" + "long enough")]


def test_without_values_the_text_is_left_alone() -> None:
    """Most statements have no parameters; nothing is parsed for them."""
    assert with_values("SELECT '$1'  AS  v", [], limits=Limits()) == "SELECT '$1'  AS  v"
