"""What a server offers: products, their ports, the columns of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flightmesh.client.explanations import Dataset


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a port, as its contract describes it. ``type`` is the name of the SQL type."""

    name: str
    type: str
    nullable: bool
    description: str | None
    unit: str | None
    classification: str | None


@dataclass(frozen=True, slots=True)
class Port:
    """A table to read. ``table`` is its whole name, which ``Client.table`` takes.

    ``read_at`` (ISO 8601) is when its rows were read from their sources, None for a live port, whose rows are read when
    it is queried; ``stale`` says why they could not be read again; ``upstream`` are the tables that it comes from.
    """

    name: str
    table: str
    description: str | None
    grain: str | None
    primary_key: tuple[str, ...]
    columns: tuple[Column, ...]
    is_live: bool = False
    read_at: str | None = None
    stale: str | None = None
    upstream: tuple[Dataset, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """A product that the caller may read. ``unavailable`` says why it cannot be read now, None when it can."""

    name: str
    title: str
    version: str
    status: str
    description: str | None
    owner: str | None
    unavailable: str | None
    ports: tuple[Port, ...]


def product_of(card: Mapping[str, Any]) -> Product:  # Any: JSON of a server, which may be newer than this client
    return Product(
        name=card["product"],
        title=card["title"],
        version=card["version"],
        status=card["status"],
        description=card.get("description"),
        owner=card.get("owner"),
        unavailable=card.get("unavailable"),
        ports=tuple(map(_port, card["ports"])),
    )


def _port(card: Mapping[str, Any]) -> Port:  # Any: as above
    return Port(
        name=card["name"],
        table=card["table"],
        description=card.get("description"),
        grain=card.get("grain"),
        primary_key=tuple(card.get("primary_key") or ()),
        columns=tuple(
            Column(
                name=column["name"],
                type=column["type"],
                nullable=column["nullable"],
                description=column.get("description"),
                unit=column.get("unit"),
                classification=column.get("classification"),
            )
            for column in card["columns"]
        ),
        is_live=bool(card.get("live")),
        read_at=card.get("read_at"),
        stale=card.get("stale"),
        upstream=tuple(Dataset(found["namespace"], found["name"]) for found in card.get("upstream") or ()),
    )
