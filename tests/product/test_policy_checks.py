"""``flightmesh.product.policy_checks``: what is probably not meant is said. The mistakes are in ``golden/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flightmesh.product.manifest import load_bundle

Make = Callable[[Mapping[str, str]], Path]


def _notices(folder: Path) -> list[str]:
    return [str(notice) for notice in load_bundle(folder).notices]


def test_a_port_that_nobody_may_read(make_product: Make, product_yaml: str) -> None:
    """An author would wonder why the port is nowhere."""
    text = product_yaml[: product_yaml.index("policies:")]
    assert _notices(make_product({"product.yaml": text})) == [
        "product.yaml:21:3: Nobody may read the port samples. "
        'Add a policy such as {grant: read, port: samples, to: "role:NAME"}.'
    ]


def test_a_restriction_that_another_grant_walks_around(make_product: Make, product_yaml: str) -> None:
    """An author would believe a column masked that everybody reads."""
    text = product_yaml.replace('to: "role:analyst"', 'to: ["role:analyst", "*"]')
    assert _notices(make_product({"product.yaml": text})) == [
        "product.yaml:24:61: This binds role:analyst alone, and the port is also granted to everyone signed in. "
        'Whoever holds the role reads through "*" without it.'
    ]


def test_masks_for_different_roles_do_not_meet(make_product: Make, product_yaml: str) -> None:
    """Two roles could not see two bands of one column."""
    text = product_yaml.replace('to: "role:analyst"', 'to: ["role:analyst", "role:site"]')
    text += '- {mask: {column: mass, with: {band: 10}}, of: samples, for: "role:site"}\n'
    assert _notices(make_product({"product.yaml": text})) == []
