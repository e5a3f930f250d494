"""``flightmesh.product.policy``: who may read what, by the letter of the format's section on policy."""

from __future__ import annotations

from typing import Any

import pytest

from flightmesh.errors import FlightmeshError
from flightmesh.product.contract import ContractColumn
from flightmesh.product.model import DataProduct
from flightmesh.product.policy import Mask, Subject, filters, granted, granting, masks, subject
from flightmesh.product.schema import read_part

NOBODY: frozenset[str] = frozenset()


def _product(*policies: dict[str, Any]) -> DataProduct:
    port = {"model": "m", "contract": "c"}
    values = {
        "flightmesh": "v1", "product": "a.b", "version": "1.0.0", "title": "t", "owner": {"team": "x"},
        "sources": {}, "models": {}, "ports": {"patients": port, "arms": port}, "policies": list(policies),
    }  # fmt: skip
    return read_part(DataProduct, values)


def _column(name: str, *tags: str) -> ContractColumn:
    return ContractColumn(name, "string", None, False, False, None, None, None, None, frozenset(tags))


def _mask(column: str, with_: object, **rest: object) -> dict[str, Any]:
    return {"mask": {"column": column, "with": with_}, **rest}


TRIAL = _product(
    {"grant": "read", "port": "patients", "to": ["role:steward", "role:analyst", "role:site"]},
    {"grant": "read", "port": "arms", "to": ["*", "anonymous"]},
    {"rows": "symptom = 1", "of": "patients", "for": "role:site"},
    _mask("age", {"band": 5}, of="patients", **{"for": "role:analyst"}),
    _mask("pidnum", "drop", of="patients", **{"for": "role:analyst"}),
)
PATIENT = (_column("pidnum"), _column("age"))


@pytest.mark.parametrize(
    ("user", "roles", "patients", "arms"),
    [
        (None, NOBODY, (), ("anonymous",)),
        ("ann", NOBODY, (), ("*",)),
        ("ann", frozenset({"analyst"}), ("role:analyst",), ("*",)),
        ("ann", frozenset({"site", "analyst", "other"}), ("role:analyst", "role:site"), ("*",)),
        (None, frozenset({"steward"}), (), ("anonymous",)),
    ],
)
def test_who_holds_which_grant(
    user: str | None, roles: frozenset[str], patients: tuple[str, ...], arms: tuple[str, ...]
) -> None:
    """Somebody would read patients without a grant, or not read what is open to all."""
    assert granting(TRIAL, "patients", roles=roles, user=user) == patients
    assert granting(TRIAL, "arms", roles=roles, user=user) == arms


def test_without_a_grant_nobody_reads() -> None:
    """Deny by default: a product without policies would be open."""
    product = _product({"grant": "run", "algorithm": "*", "to": "*"})
    assert granting(product, "patients", roles=frozenset({"steward"}), user="ann") == ()
    assert granted(product, "patients") == frozenset()


def test_a_grant_to_a_user_and_to_every_port() -> None:
    """`port: "*"` and `user:NAME` would be names of a port and a role."""
    product = _product({"grant": "read", "port": "*", "to": "user:ann"})
    assert granting(product, "arms", roles=NOBODY, user="ann") == ("user:ann",)
    assert granting(product, "arms", roles=frozenset({"ann"}), user="bob") == ()


def test_a_restriction_of_a_role_binds_its_grant_alone() -> None:
    """A steward would see the rows of a site, or a site the columns of an analyst."""
    roles = frozenset({"site", "analyst"})
    assert filters(TRIAL, "patients", "role:site", roles) == ("symptom = 1",)
    assert filters(TRIAL, "patients", "role:analyst", roles) == ()
    assert masks(TRIAL, "patients", PATIENT, "role:site", roles) == ()
    assert masks(TRIAL, "patients", PATIENT, "role:analyst", roles) == (Mask("pidnum", "drop"), Mask("age", "band", 5))
    assert masks(TRIAL, "arms", PATIENT, "*", roles) == ()


def test_any_held_role_lifts() -> None:
    """An investigator would see pseudonyms, or an analyst the names."""
    product = _product(
        {"rows": "a = 1", "of": "arms"},
        {"rows": "b = 2", "of": "arms", "unless": ["role:global", "role:qa"]},
        {"mask": {"tag": "pii", "with": "hmac"}, "unless": "role:investigator"},
    )
    columns = (_column("name", "pii"), _column("age"))
    assert filters(product, "arms", "*", NOBODY) == ("a = 1", "b = 2")
    assert filters(product, "arms", "*", frozenset({"qa"})) == ("a = 1",)
    assert masks(product, "arms", columns, "*", NOBODY) == (Mask("name", "hmac"),)
    assert masks(product, "arms", columns, "*", frozenset({"investigator"})) == ()


def test_the_strictest_mask_wins_whatever_the_order() -> None:
    """A later, weaker mask would uncover the column."""
    ladder: list[object] = [{"band": 2}, "hmac", {"constant": 0}, None, "drop"]
    for stricter in range(1, len(ladder)):
        weak, strong = _mask("Age", ladder[stricter - 1]), _mask("age", ladder[stricter])
        found = [
            masks(_product(*pair), "arms", (_column("age"),), "*", NOBODY) for pair in ((weak, strong), (strong, weak))
        ]
        assert found[0] == found[1]
        assert [mask.kind for mask in found[0]] == [("hmac", "constant", "null", "drop")[stricter - 1]]


def test_subjects() -> None:
    """A misspelt subject would be granted to nobody, silently."""
    assert subject("role:qa-global") == Subject("role", "qa-global")
    assert [str(subject(text)) for text in ("user:ann@x.org", "*", "anonymous")] == ["user:ann@x.org", "*", "anonymous"]
    for text in ("", "role:", "rol:x", "role:a b", "analyst", "role:*", "**"):
        with pytest.raises(FlightmeshError, match="names nobody"):
            subject(text)
