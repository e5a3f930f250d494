"""What a server offers."""

from __future__ import annotations

from flightmesh.client import Client


def test_products_describe_themselves(client: Client) -> None:
    """What is offered, with units and keys, and nothing that the caller may not read."""
    products = {product.name: product for product in client.products()}
    assert set(products) == {"aviation.flights", "clinical.trials"}
    assert [port.name for port in products["clinical.trials"].ports] == ["arms"]
    daily = next(port for port in products["aviation.flights"].ports if port.name == "daily_delays")
    assert daily.table == "aviation.flights.daily_delays"
    assert daily.primary_key == ("flight_date", "origin", "carrier")
    flights = next(column for column in daily.columns if column.name == "flights")
    assert (flights.type, flights.unit, flights.nullable) == ("BIGINT", "flights", False)
