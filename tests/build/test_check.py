"""``check`` tells everything at once, in the author's file, without reading data."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightmesh.build.check import CheckReport, check_product
from flightmesh.catalog.snapshot import DataColumn

from .conftest import CODE, COLUMNS, MakeProduct, write_contract


def line_of(folder: Path, text: str, file: str = "product.yaml") -> int:
    lines = (folder / file).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def told(report: CheckReport) -> list[str]:
    return [str(problem) for problem in report.problems]


def test_a_good_product_has_columns_and_no_problems(make_product: MakeProduct) -> None:
    """``check`` would cry wolf."""
    report = check_product(make_product())
    assert told(report) == []
    assert report.ports == {
        port: tuple(DataColumn(name, kind) for name, kind in columns.items()) for port, columns in COLUMNS.items()
    }


def test_no_row_is_needed(make_product: MakeProduct) -> None:
    """A lookup that fails on today's data is no fault of the product's files."""
    assert told(check_product(make_product(edit={"on: carrier,": "on: {origin: carrier},"}))) == []


def test_errors_in_sql_are_shown_in_the_manifest(make_product: MakeProduct) -> None:
    """The author would count lines inside of a block of text."""
    folder = make_product(edit={"avg(delay) AS": "avg(dely) AS"})
    line = line_of(folder, "avg(dely)")
    column = (folder / "product.yaml").read_text().splitlines()[line - 1].index("dely") + 1
    (problem,) = check_product(folder).problems
    assert (problem.file, problem.line, problem.column) == ("product.yaml", line, column)
    assert problem.message == 'Referenced column "dely" not found in FROM clause.'
    assert problem.hint == "Did you mean delay?"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT x FROM flights", 'Referenced column "x" not found in FROM clause.'),
        ("SELEC 1", 'The statement does not parse: syntax error at or near "SELEC".'),
        ("SELECT carrier FROM flight", "flight"),
        ("SELECT * FROM read_parquet('x')", "read_parquet"),
    ],
)
def test_sql_on_one_line_is_located_too(make_product: MakeProduct, sql: str, message: str) -> None:
    """A place outside of the statement would mislead."""
    block = "    sql: |\n      SELECT carrier, count(*) AS flights, avg(delay) AS delay_mean\n      FROM flights\n"
    folder = make_product(edit={block + "      GROUP BY carrier\n      ORDER BY carrier\n": f'    sql: "{sql}"\n'})
    (problem,) = check_product(folder).problems
    assert problem.line == line_of(folder, sql)
    assert message in problem.message


def test_errors_in_low_code_are_shown_at_the_key(make_product: MakeProduct) -> None:
    """The author would get places in SQL that he never wrote."""
    derive, predicate = "    derive: {a: delay + 1, b: dely + carrier}\n", "    filter: 1) --\n"
    edit = {"    from: departures\n": f"    from: departures\n{derive}{predicate}"}
    folder = make_product(edit=edit)
    (problem,) = check_product(folder).problems
    assert (problem.line, problem.message) == (
        line_of(folder, "filter: 1)"),
        '1) -- is not SQL: syntax error at or near ")".',
    )
    folder = make_product(edit={key: text.replace(predicate, "") for key, text in edit.items()})
    (problem,) = check_product(folder).problems
    line = line_of(folder, "derive:")
    column = (folder / "product.yaml").read_text().splitlines()[line - 1].index("dely") + 1
    assert (problem.line, problem.column) == (line, column)
    assert problem.message == 'Referenced column "dely" not found in FROM clause.'


def test_everything_is_told_at_once_and_follow_ups_are_not(make_product: MakeProduct) -> None:
    """One typo would bring five errors, and the sixth, a real one, be hidden until all are gone."""
    folder = make_product(
        edit={
            "path: data/weather.csv": "path: data/weather.csv, types: {tmp: string}",
            "take: {airline: name}": "take: {airline: nme}",
        },
        code=CODE.replace("flights.group_by", "flight.group_by"),
    )
    write_contract(folder, "by_origin", {"origin": "INTEGER"})
    problems = told(check_product(folder))
    assert [problem.split(": ")[0].rsplit(":", 1)[0] for problem in problems] == [
        f"product.yaml:{line_of(folder, 'tmp')}"
    ]
    folder = make_product(
        edit={"take: {airline: name}": "take: {airline: nme}", "avg(delay)": "avg("},
        code=CODE.replace("flights.group_by", "flight.group_by"),
    )
    problems = told(check_product(folder))
    assert [problem.split(":")[1] for problem in problems] == [
        str(line_of(folder, "airline: nme")),
        str(line_of(folder, "avg( ")),
    ]


def test_python_models_fail_at_their_line(make_product: MakeProduct) -> None:
    """The author would get a traceback through the server's code."""
    folder = make_product(code=CODE.replace('"origin"', '"orgin"'))
    (problem,) = check_product(folder).problems
    assert problem.line == line_of(folder, "python:")
    assert problem.message == "ColumnNotFoundError at models/by_origin.py."
    folder = make_product(code=CODE.replace("flights.group_by", "flight.group_by"))
    (problem,) = check_product(folder).problems
    assert problem.message == "NameError at models/by_origin.py:5."


def test_contracts_are_compared_with_columns(make_product: MakeProduct) -> None:
    """The difference would show when the product is built, or at the consumer's."""
    folder = make_product()
    write_contract(folder, "by_carrier", {"carrier": "VARCHAR", "flights": "INTEGER", "delay_meen": "DOUBLE"})
    found = [(problem.file, problem.message) for problem in check_product(folder).problems]
    assert {file for file, _ in found} == {"contracts/by_carrier.odcs.yaml"}
    assert "The column flights is INTEGER in the contract and BIGINT in the model." in [text for _, text in found]


def test_cycles_through_sql_are_named_at_a_model(make_product: MakeProduct) -> None:
    """Only a SQL parser sees this cycle; the manifest's own checks cannot."""
    folder = make_product(edit={"    from: departures\n": "    from: by_carrier\n"})
    (problem,) = check_product(folder).problems
    assert problem.message == "Models read each other in a circle: by_carrier -> flights -> by_carrier."


@pytest.mark.parametrize("text", [b"", b"flightmesh: v1\n", b"\xff", b"product: [", b"- a\n"])
def test_a_manifest_that_cannot_be_read_is_reported(make_product: MakeProduct, text: bytes) -> None:
    """``check`` would end in a traceback."""
    folder = make_product()
    (folder / "product.yaml").write_bytes(text)
    assert told(check_product(folder)) != []


def test_nothing_tells_where_the_folder_lies(make_product: MakeProduct, tmp_path: Path) -> None:
    """Problems are printed in public logs."""
    folder = make_product(edit={"avg(delay)": "avg("}, code="import nothing\n")
    (folder / "data" / "reference.sqlite").write_bytes(b"no")
    report = check_product(folder)
    assert len(report.problems) >= 2
    assert str(tmp_path) not in "\n".join(told(report))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"    from: departures\n": ""}, "needs exactly one of from, sql and python"),
        (
            {"    from: departures\n": "    from: departures\n    sql: SELEC\n"},
            "needs exactly one of from, sql and python",
        ),
        ({"    from: departures\n": "    from: departure\n"}, "there is no source or model departure"),
        ({"path: data/weather.csv": "path: data/wether.csv"}, "there is no file data/wether.csv"),
        ({"models/by_origin.py:build": "models/by_origin.py:bild"}, "has no function bild"),
    ],
)
def test_what_the_manifest_shows_is_told_once(make_product: MakeProduct, edit: dict[str, str], message: str) -> None:
    """``check`` would end in a traceback, or tell one mistake twice."""
    (problem,) = check_product(make_product(edit=edit)).problems
    assert message in problem.message


def test_a_source_that_cannot_be_read_is_told_once(make_product: MakeProduct) -> None:
    """The author would look for a missing table, where a secret is missing."""
    database = 'reference: {type: postgres, uri: "${secret:NOPE}", mode: live}'
    edit = {"reference: {type: sqlite, path: data/reference.sqlite, tables: [airlines]}": database}
    (problem,) = check_product(make_product(edit=edit)).problems
    assert problem.message == "Source reference: the secret NOPE is not there."


def test_python_that_does_not_parse_is_told_once(make_product: MakeProduct) -> None:
    """The author would look for a second mistake."""
    (problem,) = check_product(make_product(code="def build(flights) return flights\n")).problems
    assert (problem.file, problem.line) == ("models/by_origin.py", 1)


def test_columns_that_differ_in_case_alone_are_refused(make_product: MakeProduct) -> None:
    """The second would silently get another name, and a model read the wrong one."""
    folder = make_product()
    (folder / "data" / "weather.csv").write_text("origin,hour,temp,Temp\nEWR,1970-01-01 00:00:00+00,1,2\n")
    (problem,) = check_product(folder).problems
    assert problem.line == line_of(folder, "weather:")
    assert problem.message == "weather has columns with equal names: temp, Temp."


def test_the_sql_of_low_code_models_is_told(make_product: MakeProduct) -> None:
    """``check --show-sql`` would show something else than what runs: live models are not sorted."""
    report = check_product(make_product())
    assert list(report.sql) == ["flights"]
    assert report.sql["flights"].startswith("WITH _numbered AS (\n")
    assert "\n-- Keys without exactly one match in reference.airlines:\nWITH " in report.sql["flights"]
    live = {"departures: {type: parquet,": "departures: {mode: live, type: parquet,"}
    assert "_row" not in check_product(make_product("live", edit=live)).sql["flights"]


def test_authors_get_help_of_their_own_with_what_is_refused(make_product: MakeProduct) -> None:
    """They would be told to read ports, and of metadata commands."""
    folder = make_product(
        edit={"    from: departures\n": "    from: departures\n    derive: {a: xyzzy_plugh(carrier)}\n"}
    )
    (problem,) = [p for p in check_product(folder).problems if "xyzzy_plugh" in p.message]
    assert problem.line == line_of(folder, "xyzzy_plugh")
    assert problem.hint == "A model is one SELECT that depends on its inputs alone; a model in Python can do more."
