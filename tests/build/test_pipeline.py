"""From a bundle to snapshot files: the right rows, whole or not at all, once."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from flightmesh.build.pipeline import build_product
from flightmesh.catalog.snapshot import DataColumn, ProductSnapshot
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.manifest import load_bundle
from flightmesh.product.problems import ProductProblems

from .conftest import BY_CARRIER, BY_ORIGIN, COLUMNS, MakeProduct, parquet_of, write_contract


def build(folder: Path, state: Path, steps: list[str] | None = None) -> ProductSnapshot:
    return build_product(
        load_bundle(folder), state=state, progress=lambda _, step: None if steps is None else steps.append(step)
    )


def files(state: Path) -> list[str]:
    return sorted(path.relative_to(state).as_posix() for path in state.rglob("*") if path.is_file())


def test_ports_hold_what_the_sources_say(make_product: MakeProduct, state: Path) -> None:
    """Wrong joins, lost rows or changed types would be served as governed data."""
    found = build(make_product(), state)
    assert {name: (port.rows, port.table) for name, port in found.ports.items()} == {
        "flights": (4, "flights"),
        "by_carrier": (2, "by_carrier"),
        "by_origin": (2, "by_origin"),
    }
    assert found.ports["by_carrier"].columns == tuple(
        DataColumn(name, kind) for name, kind in COLUMNS["by_carrier"].items()
    )
    assert pq.read_table(found.ports["by_carrier"].parquet).to_pylist() == BY_CARRIER
    assert pq.read_table(found.ports["by_origin"].parquet).to_pylist() == BY_ORIGIN
    connection = duckdb.connect(str(found.ports["flights"].database), read_only=True)
    assert connection.sql("SELECT carrier, temp, airline FROM flights").fetchall() == [
        ("EV", 39.02, "ExpressJet"),
        ("UA", 39.02, "United"),
        ("EV", None, "ExpressJet"),
        ("UA", 39.02, "United"),
    ]
    assert connection.sql("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall() == [
        ("by_carrier",),
        ("by_origin",),
        ("flights",),
    ]
    connection.close()


def test_the_folder_is_read_only_recorded_and_alone(make_product: MakeProduct, state: Path) -> None:
    """Files could be changed under a running server, or staging fill the disk."""
    found = build(make_product(), state)
    folder = parquet_of(found.ports["flights"]).parent
    assert folder == state / "products" / "air.mini" / found.snapshot_id
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    record = json.loads((folder / "snapshot.json").read_text())
    for entry in record["files"]:
        content = (folder / entry["name"]).read_bytes()
        assert (entry["size"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert set(record["sources"]) == {"departures", "weather", "reference.airlines"}
    assert all(name.startswith("products/") for name in files(state))
    assert str(state) not in json.dumps(record)


def test_equal_input_is_not_built_again(make_product: MakeProduct, state: Path) -> None:
    """Every start of the server would take as long as the first."""
    folder, steps = make_product(), list[str]()
    first = build(folder, state)
    assert build(folder, state, steps) == first
    assert steps == ["snapshot is up to date"]


def test_damaged_files_are_built_anew(make_product: MakeProduct, state: Path) -> None:
    """A file cut off by a full disk or a hand would be served, or stop the server for good."""
    folder = make_product()
    first = build(folder, state)
    path = parquet_of(first.ports["flights"])
    path.chmod(0o644)
    path.write_bytes(b"PAR1")
    again = build(folder, state)
    assert again == first
    assert pq.read_table(path).num_rows == 4


def test_a_contract_that_the_columns_break_stops_the_build(make_product: MakeProduct, state: Path) -> None:
    """Consumers would get other columns than the contract promises."""
    folder = make_product()
    write_contract(folder, "by_carrier", {"carrier": "VARCHAR", "flights": "INTEGER", "mean": "DOUBLE"})
    with pytest.raises(ProductProblems) as caught:
        build(folder, state)
    assert [problem.file for problem in caught.value.problems] == ["contracts/by_carrier.odcs.yaml"] * 3
    assert files(state) == []


def test_a_contract_that_changes_later_is_compared_with_the_kept_snapshot(
    make_product: MakeProduct, state: Path
) -> None:
    """Reusing the data would skip the check."""
    folder = make_product()
    build(folder, state)
    write_contract(folder, "by_origin", {"origin": "VARCHAR", "n": "BIGINT"})
    with pytest.raises(ProductProblems):
        build(folder, state)


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        ({"avg(delay)": "avg(carrier)"}, ErrorCode.INVALID),
        ({"inputs: [flights]": "inputs: [by_carrier]"}, ErrorCode.INVALID),
        ({"on: carrier,": "on: {origin: carrier},"}, ErrorCode.INVALID),
    ],
)
def test_a_failed_build_leaves_nothing(
    make_product: MakeProduct, state: Path, edit: dict[str, str], code: ErrorCode
) -> None:
    """Half a product would be found and served by the next start."""
    with pytest.raises(FlightmeshError) as caught:
        build(make_product(edit=edit), state)
    assert caught.value.code is code
    assert str(state.parent) not in str(caught.value)
    assert files(state) == []


def test_progress_tells_what_takes_time(make_product: MakeProduct, state: Path) -> None:
    """Whoever starts a server over large sources would think that it hangs."""
    steps = list[str]()
    build(make_product(), state, steps)
    assert steps[0] == "loading departures"
    assert "building model by_origin" in steps
    assert steps[-1] == "writing port by_origin"


def test_a_required_column_with_null_is_not_published(tmp_path: Path) -> None:
    """Clients are told that a required column holds no NULL; a frame that holds one would break them far from here."""
    folder = Path(shutil.copytree(Path(__file__).parents[2] / "products" / "clinical_trials", tmp_path / "clinical"))
    contract = folder / "contracts" / "patients.odcs.yaml"
    text = contract.read_text()
    assert "name: cd496\n" in text
    contract.write_text(text.replace("name: cd496\n", "name: cd496\n    required: true\n"))
    with pytest.raises(FlightmeshError, match=r"patients holds NULL .* required: cd496 \(797 rows\)"):
        build_product(load_bundle(folder), state=tmp_path / "state", progress=lambda _product, _text: None)
