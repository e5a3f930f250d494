"""Addresses and secrets: what is filled in, and what never gets out."""

from __future__ import annotations

import pytest

from flightmesh.errors import FlightmeshError
from flightmesh.product.model import Source
from flightmesh.sources.access import Bounds, fill
from flightmesh.sources.secrets import Secrets

SECRETS = Secrets({"FLIGHTMESH_SECRET_PW": "p@ss/wörd", "FLIGHTMESH_SECRET_HOST": "db.internal.example"})


def spec(**keys: object) -> Source:
    return Source.model_validate({"type": "postgres", **keys})


def test_secrets_are_filled_in_and_scrubbed_in_every_spelling() -> None:
    """A driver quotes the address as it was decoded, and the password would stand in a log."""
    found = fill("tms", spec(uri="postgresql://u@${secret:HOST}:5433/d", options={"password": "${secret:PW}"}), SECRETS)
    assert found.uri == "postgresql://u@db.internal.example:5433/d"
    assert found.options == {"password": "p@ss/wörd"}
    told = found.scrub('connection to "db.internal.example", port 5433 failed for p@ss/wörd')
    assert told == 'connection to "***", port *** failed for ***'


@pytest.mark.parametrize("text", ["p@ss/wörd", "p%40ss%2Fw%C3%B6rd"])
def test_a_password_in_an_address_without_secrets_is_scrubbed_too(text: str) -> None:
    """Authors who do not know of secrets would publish their password."""
    found = fill("tms", spec(uri="postgresql://u:p%40ss%2Fw%C3%B6rd@host/d"), SECRETS)
    assert found.scrub(f"{text} at host") == "*** at host"


def test_a_missing_secret_is_named() -> None:
    """The source would be reached with the reference itself as password."""
    with pytest.raises(FlightmeshError, match="the secret NONE is not there"):
        fill("tms", spec(uri="${secret:NONE}"), SECRETS)


def test_bounds_are_those_of_the_manifest() -> None:
    """An author's longer timeout would have no effect."""
    assert Bounds.of(spec(timeout="1500ms", connections=2, retries=0)) == Bounds(1.5, 2, 0)
    assert Bounds.of(spec()) == Bounds(4.0, 4, 1)


def test_options_are_text() -> None:
    """Drivers refuse anything else."""
    assert fill("tms", spec(options={"a": True, "b": 5}), SECRETS).options == {"a": "true", "b": "5"}
