"""A client to be killed, run as ``python reader.py URI SQL WAY [TIMEOUT_S]``. It tells what it does in lines of JSON.

Ways: ``read`` (all, at full speed), ``drop`` (let the reader go after three batches, and stay), ``stall`` (read one
batch, then nothing), ``slow`` (a batch every 50 ms). Times are of the monotonic clock, which all processes share.
"""

from __future__ import annotations

import json
import sys
import time

import pyarrow.flight as fl

from flightmesh.flightsql.codec import pack
from flightmesh.flightsql.messages import CommandStatementQuery


def tell(event: str, **values: object) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **values}), flush=True)


def read(stream: fl.FlightStreamReader, way: str) -> int:
    """How many rows came, when the stream came to its end."""
    rows: int = 0
    for number, chunk in enumerate(stream, start=1):
        rows += chunk.data.num_rows
        if number == 1:
            tell("batch")
        if way == "stall":
            sys.stdin.read()
        if way == "drop" and number == 3:
            tell("dropping")
            return rows
        if way == "slow":
            time.sleep(0.05)
    return rows


def main(uri: str, sql: str, way: str, timeout_s: float | None) -> None:
    client = fl.connect(uri)
    info = client.get_flight_info(fl.FlightDescriptor.for_command(pack(CommandStatementQuery(sql))))
    options = fl.FlightCallOptions(timeout=timeout_s)
    tell("began")
    try:
        rows = read(client.do_get(info.endpoints[0].ticket, options), way)
    except fl.FlightTimedOutError as error:
        tell("timeout", text=str(error))
    except (fl.FlightError, OSError) as error:
        tell("failed", text=str(error))
    else:
        tell("ended", rows=rows)
    sys.stdin.read()


if __name__ == "__main__":
    _, uri, sql, way, *timeout = sys.argv
    main(uri, sql, way, float(timeout[0]) if timeout else None)
