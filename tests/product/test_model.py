"""``flightmesh.product.model``: the values are closed, strict and immutable."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from flightmesh.product.model import ColumnMask, DataProduct, Grant, Join, MaskBy, MaskRule, Model, Owner, RowFilter
from flightmesh.product.schema import read_part


def test_values_can_be_made_by_field_name() -> None:
    """Other rooms, and their tests, could make values only from YAML."""
    mask = ColumnMask(mask=MaskRule(column="a", with_=MaskBy(band=5)), for_="role:x")
    product = DataProduct(
        flightmesh="v1", product="a.b", version="1.0.0", title="t", owner=Owner(team="x"), sources={},
        models={"m": Model(from_="s", join=(Join(from_="o", on="k", take=("x",)),))}, ports={},
        policies=(Grant(grant="read", port="*", to=("*", "anonymous")), RowFilter(rows="a", of="p"), mask),
    )  # fmt: skip
    assert product.policies[2] == mask
    assert product.models["m"].join[0].from_ == "o"
    with pytest.raises(ValidationError):
        product.title = "u"


def test_python_names_of_fields_are_no_keys_of_the_file() -> None:
    """`from_:` in a manifest would be accepted, against the reference."""
    with pytest.raises(ValidationError):
        read_part(Model, {"from_": "s"})


def test_lists_of_a_file_become_tuples() -> None:
    """A value shared between generations could be changed."""
    assert read_part(Model, {"from": "s", "keep": ["a"], "filter": ["x", "y"]}).keep == ("a",)
    assert read_part(MaskRule, {"column": "a", "with": None}).with_ == "null"
    assert read_part(MaskBy, {"band": 5}).band == 5
