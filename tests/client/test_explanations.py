"""Explanations as values of the client."""

from __future__ import annotations

import dataclasses

from flightmesh.client import Client, Dataset
from flightmesh.client.explanations import explanation_of


def test_an_explanation_comes_back_as_values(client: Client) -> None:
    """Programs would have to pick keys out of JSON."""
    found = client.sql("SELECT carrier, count(*) AS n FROM aviation.flights.flights GROUP BY carrier").explain()
    assert found.columns == (("carrier", "string"), ("n", "int64"))
    (relation,) = found.relations
    assert relation.table == "aviation.flights.flights"
    assert not relation.is_live
    assert Dataset("flightmesh:aviation.flights", "departures:data/flights.parquet") in relation.upstream
    assert (found.reason, found.sources, found.pushed_whole) == (None, (), False)


def test_a_newer_server_may_say_more(client: Client) -> None:
    """A client would have to be upgraded together with its server."""
    found = client.sql("SELECT 1 AS one").explain()
    answer = dataclasses.asdict(found) | {"something_new": 1}
    assert explanation_of(answer) == found
