"""``flightmesh.planner.scope``: a session's own tables are found by the names that DuckDB has for them, and by no
other.
"""

from __future__ import annotations

import duckdb
import pytest

from flightmesh.planner.scope import PUBLIC, Scope, path_of
from tests.temporaries import temporary

OWN = temporary("Trips", "n BIGINT")
ODD = temporary('a."b', "n BIGINT")
SCOPE = Scope(temporaries={"trips": OWN, 'a."b': ODD})


@pytest.mark.parametrize(
    "path",
    [
        ("trips",),
        ("TRIPS",),
        ("temp", "trips"),
        ("Temp", "Trips"),
        ("temp", "main", "trips"),
        ("TEMP", "MAIN", "TRIPS"),
    ],
)
def test_a_table_has_three_names(path: tuple[str, ...]) -> None:
    """A driver that writes the whole path of what it was shown would be told that there is no such table."""
    assert SCOPE.temporary(path) is OWN


@pytest.mark.parametrize(
    "path",
    [
        *(
            ("trip",),
            ("main", "trips"),
            ("memory", "main", "trips"),
            ("temp", "temp", "trips"),
            ("main", "temp", "trips"),
        ),
        *(("x", "temp", "main", "trips"), ("temp", "main"), ("temp.trips",), ("temp.main.trips",), ("a", "b")),
    ],
)
def test_no_other_name_is_its(path: tuple[str, ...]) -> None:
    """A name that DuckDB would read as another table's would be approved as one's own."""
    assert SCOPE.temporary(path) is None
    assert PUBLIC.temporary(path) is None


def test_the_names_are_those_of_duckdb() -> None:
    """What is approved under a name must be what the engine reads under it."""
    with duckdb.connect() as connection:
        connection.execute('CREATE TEMP TABLE "Trips" (n BIGINT)')
        for written in ("trips", "temp.trips", "temp.main.TRIPS"):
            connection.execute(f"SELECT * FROM {written}")
        for written in ("memory.main.trips", "memory.trips", "temp.temp.trips"):
            with pytest.raises(duckdb.Error):
                connection.execute(f"SELECT * FROM {written}")


def test_any_name_can_be_a_tables() -> None:
    """Dots and quotes in a name are letters."""
    assert SCOPE.temporary(('A."B',)) is ODD
    assert SCOPE.temporary(("temp", 'a."b')) is ODD
    assert path_of(ODD) == ("temp", "main", 'a."b')


def test_letters_are_folded_as_the_engine_folds_them() -> None:
    """Names that Python thinks equal and DuckDB does not would be one table here and two there."""
    scope = Scope(temporaries={"kelvin": temporary("kelvin"), "straße": temporary("straße")})
    assert scope.temporary(("KELVIN",)) is not None
    for other in ("\u212aelvin", "STRASSE"):
        assert scope.temporary((other,)) is None


def test_equal_keys_mean_equal_answers() -> None:
    """A plan of one scope would be used in another, where its text means something else."""
    newer = temporary("Trips", version="Trips 2")
    keys = {
        scope.key
        for scope in (
            PUBLIC,
            Scope("lab"),
            Scope(None, "lab"),
            Scope("lab", "samples"),
            Scope(temporaries={"trips": OWN}),
            Scope(temporaries={"trips": newer}),
            Scope(temporaries={"trips": OWN, 'a."b': ODD}),
            Scope("lab", temporaries={"trips": OWN}),
        )
    }
    assert len(keys) == 8
    assert Scope(temporaries={"trips": OWN, 'a."b': ODD}).key == Scope(temporaries={'a."b': ODD, "trips": OWN}).key
