"""``serve`` and ``reload``: running a server on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from flightmesh.cli import exits
from flightmesh.cli.terminal import printable, progress

if TYPE_CHECKING:
    from flightmesh.app import Ready

SERVE_EXAMPLES = """\b
Examples:
  flightmesh serve
  flightmesh serve --products my-product --port 0 --json
  flightmesh serve --products products --products more --config users.toml
  flightmesh serve --host 0.0.0.0 --config server.toml
"""

RELOAD_EXAMPLES = """\b
Examples:
  flightmesh reload
  flightmesh reload --state /var/lib/flightmesh
  flightmesh reload --renew
"""

State = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Where snapshots and the key are kept. [default: .flightmesh]"),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings, limits, users and tokens (TOML).", show_default=False),
]


def serve(
    products: Annotated[
        list[Path] | None,
        typer.Option(
            "--products", metavar="DIR ...", help="Folders that are or hold products; repeatable. [default: products]"
        ),
    ] = None,
    # Takes what follows the first DIR of --products.
    more: Annotated[list[Path] | None, typer.Argument(metavar="DIR", hidden=True)] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Where to listen. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=0, max=65_535, help="0 picks a free one. [default: 8815]"),
    ] = None,
    state: State = None,
    config: ConfigFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line when ready, and nothing else; log in JSON.")
    ] = False,
) -> None:
    """Serve product folders over Arrow Flight SQL until Ctrl-C or SIGTERM; SIGHUP reloads them.

    Options go before FLIGHTMESH_* variables, these before the file of --config.
    """
    from flightmesh.config import Config
    from flightmesh.telemetry import configure_logging

    overrides = {"products": [*(products or []), *(more or [])] or None, "host": host, "port": port, "state": state}
    settings = Config.load(config, os.environ, overrides)
    configure_logging(json=as_json, level="INFO")
    with ExitStack() as closing:
        tell = closing.enter_context(progress(shown=not as_json))

        def on_ready(ready: Ready) -> None:
            closing.close()
            print(_ready_line(ready) if as_json else "\n".join(_banner(ready)), flush=True)

        from flightmesh.app import serve as serve_until_stopped

        code = serve_until_stopped(settings, on_progress=tell, on_ready=on_ready)
    raise typer.Exit(code)


def reload(
    state: State = None,
    config: ConfigFile = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Wait so long.")] = 600.0,
    renew: Annotated[
        bool, typer.Option("--renew", help="Read databases again for their snapshots, whether or not it is time.")
    ] = False,
) -> None:
    """Make the server that runs on a state directory read its products again.

    Running queries end on what they began with. A product that cannot be loaded is unavailable, with the reason, until
    a later reload; the others are served. Ends with 1 when there is one, and also when a folder of --products is gone
    or holds no product: then everything stays as it was.
    """
    from flightmesh.app import request_reload
    from flightmesh.config import Config

    settings = Config.load(config, os.environ, {"state": state})
    now = request_reload(settings.state, timeout_s=timeout, renews=renew)
    failed = "".join(f"; {name} is unavailable: {reason}" for name, reason in now.unavailable.items())
    stale = "".join(f"; {name} is stale: {reason}" for name, reason in now.stale.items())
    print(
        printable(f"Serving generation {now.generation[:12]}: {', '.join(now.products) or 'no product'}{failed}{stale}")
    )
    if now.unavailable:
        raise typer.Exit(exits.FAILED)


def _ready_line(ready: Ready) -> str:
    return json.dumps(
        {
            "event": "ready",
            "flight": ready.uri,
            "flight_mtls": ready.mtls_uri,
            "products": list(ready.products),
            "tables": list(ready.tables),
            "unavailable": dict(ready.unavailable),
            "anonymous": ready.anonymous,
            "seconds": ready.seconds,
        }
    )


def _banner(ready: Ready) -> Iterator[str]:
    """What is served, who may read it, and every way to connect, ready to be copied."""
    yield f"flightmesh serves {ready.uri} (ready in {ready.seconds:.1f} s)"
    if ready.mtls_uri is not None:
        yield f"and {ready.mtls_uri} for callers with a client certificate"
    yield ""
    for product in ready.products:
        ports = ", ".join(
            table.removeprefix(f"{product}.") for table in ready.tables if table.startswith(f"{product}.")
        )
        yield f"  {product}: {ports}"
    for product, reason in ready.unavailable.items():
        yield f"  {product}: unavailable: {printable(reason)}"
    if not ready.products and not ready.unavailable:
        yield "  (no product)"
    yield ""
    yield "Callers without credentials " + ("are let in as anonymous." if ready.anonymous else "are refused.")
    yield ""
    yield from _ways(ready)
    yield ""
    yield "Ctrl-C stops the server."


def _ways(ready: Ready) -> Iterator[str]:
    """Lines that work as they are: a table that anyone may read, else with the place where a token goes."""
    uri = _reachable(ready.uri)
    address, is_open = urlsplit(uri), bool(ready.public)
    encryption = "true" if address.scheme == "grpc+tls" else "false"
    token, option, header, headers, parameter = ("",) * 5
    if not is_open:
        yield "  TOKEN stands for an API token: flightmesh token create --help"
        token, option, parameter = ", token='TOKEN'", " --token TOKEN", "&token=TOKEN"
        header = ", db_kwargs={'adbc.flight.sql.authorization_header': 'Bearer TOKEN'}"
        headers = "options=flight.FlightCallOptions(headers=[(b'authorization', b'Bearer TOKEN')])"
    for table in (ready.public or ready.tables)[:1]:
        yield f"  Python        import flightmesh; flightmesh.connect({uri!r}{token}).table({table!r}).polars()"
        yield f"  command line  flightmesh query 'SELECT count(*) FROM {table}' --uri {uri}{option}"
    yield f"  ADBC          from adbc_driver_flightsql import dbapi; dbapi.connect({uri!r}{header}, autocommit=True)"
    yield f"  pyarrow       from pyarrow import flight; list(flight.connect({uri!r}).list_flights({headers}))"
    yield f"  JDBC          jdbc:arrow-flight-sql://{address.netloc}/?useEncryption={encryption}{parameter}"


def _reachable(uri: str) -> str:
    """The address as a client on this machine can use it: a listener on all interfaces has none of its own."""
    address = urlsplit(uri)
    if address.hostname not in ("0.0.0.0", "::"):
        return uri
    return f"{address.scheme}://127.0.0.1:{address.port}"
