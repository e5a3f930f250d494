"""Every bound of the server, with its unit in its name, and the rules that hold between bounds.

Whoever needs a bound reads it from here; numbers elsewhere in the package are not bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the server. The unit is the end of the name: ``_s`` seconds, ``_bytes_max``, ``_rows_max``."""

    sql_bytes_max: Annotated[int, "Longest statement, in bytes of UTF-8."] = 200_000
    bracket_depth_max: Annotated[int, "Deepest nesting of brackets in a statement."] = 200
    path_depth_max: Annotated[int, "Most parts of a path descriptor."] = 8

    parameters_inline_bytes_max: Annotated[int, "Largest set of bound parameters inside a handle."] = 65_536
    parameters_kept_bytes_max: Annotated[int, "Bound parameters kept at the node, all together."] = 268_435_456
    parameters_rows_max: Annotated[int, "Most rows of bound parameters for one statement."] = 10_000
    put_bytes_max: Annotated[int, "Largest upload of bound parameters."] = 16_777_216
    put_batches_max: Annotated[int, "Most record batches of one upload."] = 1_000_000
    action_body_bytes_max: Annotated[int, "Largest body of an action."] = 1_048_576

    batch_rows_max: Annotated[int, "Most rows of a batch sent to a client."] = 65_536
    batch_bytes_max: Annotated[int, "Most bytes of data in a batch sent to a client."] = 4_000_000
    batch_bytes_asked_max: Annotated[int, "Most bytes of data in a batch sent to a client that asks for more."] = (
        16_000_000
    )
    wire_bytes_max: Annotated[int, "Largest message stock clients take; limits.batch_bytes_max stays below."] = (
        4_194_304
    )

    endpoint_rows_min: Annotated[int, "Least rows of each endpoint, for clients that ask for several."] = 100_000

    ticket_ttl_s: Annotated[int, "How long a ticket can be redeemed."] = 900
    prepared_ttl_s: Annotated[int, "How long a prepared statement can be executed."] = 86_400
    session_ttl_s: Annotated[int, "How long a session token is valid."] = 86_400
    session_idle_s: Annotated[int, "How long the settings of an unused session are remembered."] = 3_600
    sessions_max: Annotated[int, "Sessions whose settings differ from the defaults."] = 10_000
    session_options_max: Annotated[int, "Options set in one session."] = 64
    session_option_bytes_max: Annotated[int, "Longest name and value of a session option, together."] = 4_096

    temporary_tables_max: Annotated[int, "Temporary tables of one session."] = 64
    temporary_bytes_max: Annotated[int, "Disk that the temporary tables of one session may use."] = 2_147_483_648
    temporary_total_bytes_max: Annotated[int, "Disk that the temporary tables of all sessions may use."] = (
        17_179_869_184
    )
    temporary_columns_max: Annotated[int, "Columns of a session's temporary tables, all together."] = 10_000
    transactions_max: Annotated[int, "Transactions that one session may have open."] = 16
    transaction_ttl_s: Annotated[int, "How long an unused transaction stays open."] = 3_600

    queries_max: Annotated[int, "Queries running at once."] = 256
    queries_per_principal_max: Annotated[int, "Queries of one principal running at once."] = 256
    query_queue_max: Annotated[int, "Queries waiting for a place."] = 256
    query_queue_wait_s: Annotated[float, "How long a query waits for a place."] = 10.0
    query_timeout_s: Annotated[float, "How long a query may run."] = 3_600.0
    stream_stall_s: Annotated[float, "How long a reader may take nothing before its stream is cut."] = 30.0
    cancel_poll_s: Annotated[float, "How often a running query looks whether its client is still there."] = 0.05
    drain_s: Annotated[float, "How long running streams may go on after SIGTERM."] = 25.0

    engine_instances_max: Annotated[int, "Engine instances kept open, one per generation and role set."] = 16
    spill_bytes_max: Annotated[int, "Disk that one engine instance may use for what does not fit in memory."] = (
        21_474_836_480
    )
    twins_max: Annotated[int, "Binders kept open, one per generation and role set."] = 64
    bind_wait_s: Annotated[float, "How long a statement waits while another of its role set is being bound."] = 10.0
    plan_cache_characters_max: Annotated[int, "Longest statement whose plan is kept for reuse."] = 16_384
    plan_cache_entries_max: Annotated[int, "Plans kept for reuse."] = 2_048
    surface_cache_entries_max: Annotated[int, "Surfaces (what one role set may see) kept for reuse."] = 256
    model_timeout_s: Annotated[float, "How long a Python model of a product may run when it is built."] = 300.0

    source_retry_s: Annotated[float, "How long until products whose source did not answer are loaded again."] = 15.0
    sources_max: Annotated[int, "Databases and servers that products read, kept connected."] = 256
    polars_workers_max: Annotated[int, "Processes kept for Polars models that are run when they are read."] = 4

    login_failures_max: Annotated[int, "Wrong passwords for one name in a window; then the name has to wait."] = 10
    login_window_s: Annotated[int, "The window in which wrong passwords are counted."] = 60
    login_names_max: Annotated[int, "Names whose wrong passwords are counted."] = 10_000
    login_parallel_max: Annotated[int, "Passwords hashed at once; each takes 16 MiB and about 50 ms."] = 2
    login_wait_s: Annotated[float, "How long a sign-in waits for its turn to be hashed."] = 5.0
    login_cache_entries_max: Annotated[int, "Passwords found right that are not hashed again for a while."] = 1_024
    login_cache_ttl_s: Annotated[int, "How long a password found right is not hashed again."] = 300


# Left must not exceed right.
ORDERED = (
    ("ticket_ttl_s", "prepared_ttl_s"),
    ("ticket_ttl_s", "session_ttl_s"),
    ("session_idle_s", "session_ttl_s"),
    ("batch_bytes_max", "batch_bytes_asked_max"),
    ("transaction_ttl_s", "session_ttl_s"),
    ("temporary_bytes_max", "temporary_total_bytes_max"),
    ("parameters_inline_bytes_max", "put_bytes_max"),
    ("put_bytes_max", "parameters_kept_bytes_max"),
    ("sql_bytes_max", "action_body_bytes_max"),
    ("queries_per_principal_max", "queries_max"),
    ("query_queue_wait_s", "query_timeout_s"),
    ("cancel_poll_s", "stream_stall_s"),
)

# The metadata of a batch travels in the same message as its data.
BATCH_HEADROOM_BYTES = 65_536

# Beyond the first two the parser needs seconds and gigabytes; gRPC refuses longer error texts, ADBC larger messages,
# Flight messages of 2 GiB.
CEILINGS: Mapping[str, int] = MappingProxyType(
    {
        "sql_bytes_max": 1_000_000,
        "bracket_depth_max": 1_000,
        "wire_bytes_max": 16_777_216,
        "cancel_poll_s": 1,
        "batch_bytes_asked_max": (1 << 31) - 1 - BATCH_HEADROOM_BYTES,
    }
)


def contradictions(limits: Limits) -> Iterator[tuple[str, str]]:
    """Name of a limit and what is wrong with it, for every rule that the limits break together."""
    for lower, upper in ORDERED:
        if getattr(limits, lower) > getattr(limits, upper):
            yield lower, f"({getattr(limits, lower)}) must not exceed limits.{upper} ({getattr(limits, upper)})."
    for name, ceiling in CEILINGS.items():
        if getattr(limits, name) > ceiling:
            yield name, f"({getattr(limits, name)}) must not exceed {ceiling}."
    if limits.batch_bytes_max + BATCH_HEADROOM_BYTES > limits.wire_bytes_max:
        yield (
            "batch_bytes_max",
            f"({limits.batch_bytes_max}) must stay {BATCH_HEADROOM_BYTES} bytes below limits.wire_bytes_max "
            f"({limits.wire_bytes_max}): metadata travels with the data.",
        )
