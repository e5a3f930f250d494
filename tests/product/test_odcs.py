"""``flightmesh.product.odcs``: the standard's verdicts, without its own mistakes. More of them are in ``golden/``."""

from __future__ import annotations

from flightmesh.product.document import parse
from flightmesh.product.odcs import violations


def _violations(text: str) -> list[str]:
    document, problems = parse(text.encode(), "c")
    assert document is not None, problems
    return [str(problem) for problem in violations(document)]


def test_a_plain_contract_breaks_nothing(contract_yaml: str) -> None:
    """Contracts that other tools accept would be refused here."""
    assert _violations(contract_yaml) == []


def test_a_mistake_inside_of_a_part_does_not_make_its_other_keys_unknown(contract_yaml: str) -> None:
    """The schema calls `name` and `tags` unknown where a tag is no text; an author would look for the wrong mistake."""
    assert _violations(contract_yaml.replace("tags: [pii]", "tags: [1]")) == [
        'c:9:101: schema[0].properties[0].tags[0] must be text, found the number 1. Put it in quotes: "1".'
    ]


def test_values_of_several_shapes(contract_yaml: str) -> None:
    """The author would read a list of alternatives that were not meant."""
    text = contract_yaml + "slaProperties: [{property: latency, value: [1]}]\nteam: [{username: 3}]\n"
    assert _violations(text) == [
        "c:14:44: slaProperties[0].value must be text, a number, a whole number, true or false or nothing, "
        "found a list.",
        'c:15:19: team[0].username must be text, found the number 3. Put it in quotes: "3".',
    ]
