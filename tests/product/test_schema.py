"""``flightmesh.product.schema``: pydantic's verdicts in plain words. The mistakes are in ``golden/``."""

from __future__ import annotations

from flightmesh.product.document import parse
from flightmesh.product.model import Grant, MaskBy
from flightmesh.product.schema import places, validate


def test_every_place_of_the_file_is_known() -> None:
    """Unknown keys there would be told without the nearest known one."""
    found = places()
    assert found[("policies", "[]", "<mask>", "mask", "with", "<by>")] is MaskBy
    assert found[("policies", "[]", "<grant>")] is Grant
    assert len(found) == 22


def test_no_word_of_pydantic_reaches_the_author(product_yaml: str) -> None:
    """`Input should be a valid tuple` tells an author of YAML nothing."""
    for key in ("title", "owner", "tags", "sources", "models", "ports", "policies", "status", "version", "flightmesh"):
        for value in ("3", "x", "[1]", "{a: 1}", "", "true", "1.5", "[{}]", "{a: [{}]}", "{a: {b: {c: 1}}}"):
            document, _ = parse(f"{key}: {value}\n".encode(), "f")
            assert document is not None
            for problem in validate(document)[1]:
                assert not any(word in problem.message for word in ("Input", "valid", "tuple", "dict", "<"))
