"""Flight SQL servers, another flightmesh among them. They are asked in DuckDB's SQL, and their types are taken as they
are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import adbc_driver_flightsql

from flightmesh.product.model import Source
from flightmesh.sources.access import Bounds, fill, refuse_reserved
from flightmesh.sources.adbc import DUCKDB, opened
from flightmesh.sources.base import SourceHandle, invalid
from flightmesh.sources.drivers import Driver
from flightmesh.sources.secrets import Secrets

_NAME = "the driver of Flight SQL sources"
_RPC = "adbc.flight.sql.rpc.timeout_seconds."
# Options in plain words; others go to the driver under their own names.
_WORDS = {
    "username": "username",
    "password": "password",
    "tls_root_certs": "adbc.flight.sql.client_option.tls_root_certs",
    "tls_skip_verify": "adbc.flight.sql.client_option.tls_skip_verify",
}


def open_flightsql(_folder: Path, name: str, spec: Source, secrets: Secrets) -> SourceHandle:
    """The tables that the manifest names as ``catalog.schema.table`` or, beneath ``schema:``, by their names; else all
    that the server lists.
    """
    access = fill(name, spec, secrets)
    if access.uri is None or not access.uri.startswith(("grpc://", "grpc+tcp://", "grpc+tls://")):
        raise invalid(name, "a source of type flightsql needs a uri.", "grpc://host:31337 or grpc+tls://host:31337")
    refuse_reserved(name, access, access.options)
    uri, options = access.uri, _options(access.options, Bounds.of(spec).timeout_s)
    driver = Driver(lambda: adbc_driver_flightsql.connect(uri, db_kwargs=options), name=_NAME)
    return opened(name, spec, access, driver, DUCKDB)


def _options(given: Mapping[str, str], timeout_s: float) -> dict[str, str]:
    """The driver's options: those given, and times after which its own waiting ends."""
    times = {f"{_RPC}connect": timeout_s, f"{_RPC}query": timeout_s}
    options = {name: str(max(1.0, math.ceil(value))) for name, value in times.items()}
    for name, value in given.items():
        if name == "token":
            options["adbc.flight.sql.authorization_header"] = f"Bearer {value}"
        else:
            options[_WORDS.get(name, name)] = value
    return options
