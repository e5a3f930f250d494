"""``flightmesh.product.contract``: ODCS reduced to what the server needs, and compared with what the model gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flightmesh.product.contract import DataContract, compare, load_contract

Make = Callable[[Mapping[str, str]], Path]
FILE = "contracts/samples.odcs.yaml"
COLUMNS = [("id", "VARCHAR"), ("site", "VARCHAR"), ("taken", "DATE"), ("mass", "DOUBLE"), ("city", "VARCHAR")]


def _load(folder: Path) -> DataContract:
    contract, problems = load_contract(FILE, folder)
    assert contract is not None, problems
    return contract


def test_what_a_contract_says_of_its_table(make_product: Make, contract_yaml: str) -> None:
    """Catalogue pages and field metadata would lose unit, grain, tags or key."""
    text = contract_yaml.replace("- name: samples", "- name: samples\n  dataGranularityDescription: one row per sample")
    text = text.replace(
        "logicalType: number, physicalType: DOUBLE",
        "logicalType: number, physicalType: DOUBLE, customProperties: [{property: unit, value: g}]",
    )
    contract = _load(make_product({FILE: text}))
    assert (contract.id, contract.version, contract.table) == ("lab-samples-1", "1.0.0", "samples")
    assert contract.grain == "one row per sample"
    assert contract.columns[3].unit == "g"
    assert contract.columns[0].required
    assert contract.columns[0].tags == frozenset({"pii"})
    assert contract.primary_key == ("id",)
    assert contract.raw["schema"][0]["properties"][2]["logicalType"] == "date"


def test_key_columns_stand_in_the_order_of_their_positions(make_product: Make, contract_yaml: str) -> None:
    """A composite key would be announced in the wrong order."""
    text = contract_yaml.replace("primaryKey: true", "primaryKey: true, primaryKeyPosition: 2").replace(
        "{name: taken,", "{name: taken, primaryKey: true, primaryKeyPosition: 1,"
    )
    assert _load(make_product({FILE: text})).primary_key == ("taken", "id")


def test_a_column_may_lack_its_logical_type(make_product: Make, contract_yaml: str) -> None:
    """The standard's schema asks such a column for a key `map`; the mistake is the schema's."""
    text = contract_yaml.replace("{name: city, logicalType: string,", "{name: city,")
    assert _load(make_product({FILE: text})).columns[4].logical_type is None


def test_equal_columns_differ_in_nothing_whatever_their_order(make_product: Make) -> None:
    """A model would be refused for the order of its SELECT, or for TEXT instead of VARCHAR."""
    contract = _load(make_product({}))
    assert compare(contract, COLUMNS) == []
    assert compare(contract, [(name, kind.replace("VARCHAR", "TEXT")) for name, kind in reversed(COLUMNS)]) == []


def test_differences_stand_at_the_line_of_the_column(make_product: Make) -> None:
    """The author would compare two lists of columns by eye."""
    model = [("id", "VARCHAR"), ("Site", "VARCHAR"), ("taken", "TIMESTAMP"), ("masss", "DOUBLE"), ("extra", "INTEGER")]
    assert [str(problem) for problem in compare(_load(make_product({})), model)] == [
        f"{FILE}:10:12: The contract writes the column as site, the model as Site. Write both the same.",
        f"{FILE}:11:52: The column taken is DATE in the contract and TIMESTAMP in the model. Cast it in the model, or "
        "correct the contract.",
        f"{FILE}:12:12: The contract promises the column mass, which the model does not have. Did you mean masss?",
        f"{FILE}:13:12: The contract promises the column city, which the model does not have.",
        f"{FILE}:7:9: The model's column masss is not in the contract. Did the contract mean it by mass?",
        f"{FILE}:7:9: The model's column extra is not in the contract. Declare it (INTEGER), or keep it out of the "
        "model.",
    ]


def test_without_a_physical_type_the_logical_one_is_compared(make_product: Make, contract_yaml: str) -> None:
    """A contract in logical types alone would promise nothing."""
    text = contract_yaml.replace(", physicalType: DATE", "").replace(", physicalType: DOUBLE", "")
    contract = _load(make_product({FILE: text}))
    model = [(name, {"taken": "VARCHAR", "mass": "DECIMAL(9,2)"}.get(name, kind)) for name, kind in COLUMNS]
    assert [problem.message for problem in compare(contract, model)] == [
        "The column taken is date in the contract and VARCHAR in the model."
    ]


def test_a_contract_without_a_document_still_compares() -> None:
    """A contract built by hand, as in tests of other rooms, would raise instead of answering."""
    contract = DataContract("i", "1.0.0", "active", "t", None, None, (), {})
    assert [str(problem) for problem in compare(contract, [("a", "INTEGER")])] == [
        "t:1:1: The model's column a is not in the contract. Declare it (INTEGER), or keep it out of the model."
    ]


def test_many_columns_that_the_contract_lacks_are_one_problem() -> None:
    """The same line would be told of twenty times."""
    contract = DataContract("i", "1.0.0", "active", "t", None, None, (), {})
    few = [(name, "INTEGER") for name in ("a", "b", "c")]
    assert len(compare(contract, few)) == 3
    assert [str(problem) for problem in compare(contract, [*few, ("d", "DATE")])] == [
        "t:1:1: 4 columns of the model are not in the contract. Declare them, or keep them out of the model: "
        "a INTEGER, b INTEGER, c INTEGER, d DATE."
    ]
