"""``flightmesh.sql.functions``: every function of the installed DuckDB has been read about, and allowed or refused."""

from __future__ import annotations

import duckdb
import pytest

from flightmesh.config import Limits
from flightmesh.names import fold
from flightmesh.planner.statement import parse
from flightmesh.sql import catalogue
from flightmesh.sql.functions import AGGREGATES, FUNCTIONS, TABLE_FUNCTIONS

# Whole families that are refused by the beginning of their names, but for what is listed: internals, one collation
# each, the catalogue, readers, privileges.
REFUSED_FAMILIES = (
    "__internal_",
    "collate_",
    "duckdb_",
    "has_",
    "icu_collate_",
    "inet_",
    "json_copy_strftime_",
    "parquet_",
    "pg_",
    "pragma_",
    "read_",
)
# Read one by one. Settings, variables, sequences, statistics, transactions, the catalogue, files, other statements,
# sleep, logs, functions that change the session, helpers of the optimiser and of casts.
REFUSED = frozenset(
    """
    __between __cast arrow_scan arrow_scan_dumb bitstring_byte_comparable can_cast_implicitly checkpoint combine
    combine_aggr constant_or_null create_external_resource create_sort_key current_connection_id current_query
    current_query_id current_setting current_transaction_id currval decimal_average decimal_division
    deregister_external_resource destroy_external_resource disable_logging disable_profiling enable_logging
    enable_profiling enum_code enum_first enum_last enum_range enum_range_boundary finalize force_checkpoint
    get_block_size get_type getvariable glob histogram_values hive_partition_component icu_calendar_names icu_sort_key
    in_search_path index_key invoke is_histogram_other_bin json_deserialize_sql json_execute_serialized_sql
    json_serialize_plan json_serialize_sql lttb make_type nextval pandas_scan parse_duckdb_log_message
    python_arrow_scan python_map_function query query_table register_external_resource register_external_resource_type
    remap_struct repeat_row replace_type seq_scan setseed setval sleep_ms sniff_csv st_crs st_setcrs stats summary
    test_all_types test_vector_types timetz_byte_comparable to_aggregate_state truncate_duckdb_logs txid_current
    unpivot_list variant_bytes_to_variant variant_comparator variant_normalize variant_to_parquet_variant vector_type
    which_secret write_log
    """.split()  # noqa: SIM905 - a hundred names read better as words
)


def _installed() -> dict[str, set[str]]:
    """Every function of DuckDB, with its kinds; PRAGMA statements are no functions of a query."""
    with duckdb.connect() as connection:
        found = connection.execute("SELECT function_name, function_type FROM duckdb_functions()").fetchall()
    kinds: dict[str, set[str]] = {}
    for name, kind in found:
        kinds.setdefault(fold(name), set()).add(kind)
    return {name: kind for name, kind in kinds.items() if kind != {"pragma"}}


def test_every_function_of_the_engine_was_reviewed() -> None:
    """A new DuckDB version would bring functions that nobody has read about; they stay refused, and are listed here."""
    unread = _installed().keys() - FUNCTIONS - TABLE_FUNCTIONS - catalogue.FUNCTIONS - REFUSED
    assert sorted(name for name in unread if not name.startswith(REFUSED_FAMILIES)) == []


def test_nothing_is_both_allowed_and_refused() -> None:
    """One of the two lists would be wrong."""
    allowed = FUNCTIONS | TABLE_FUNCTIONS
    assert not allowed & REFUSED
    assert not catalogue.FUNCTIONS & (REFUSED | allowed)
    assert not catalogue.TABLE_FUNCTIONS & (REFUSED | allowed | catalogue.REFUSED.keys())
    assert [name for name in allowed if name.startswith(REFUSED_FAMILIES)] == ["pg_typeof"]


def test_every_allowed_function_exists() -> None:
    """A misspelt name would refuse what its author meant to allow."""
    # These are forms of the grammar, not functions of the catalogue.
    assert (FUNCTIONS | TABLE_FUNCTIONS) - _installed().keys() == {"coalesce", "grouping", "grouping_id", "ifnull"}


def test_every_aggregate_that_a_list_can_be_folded_with_is_harmless() -> None:
    """list_aggregate names its aggregate in a text, which the gate does not read."""
    aggregates = {name for name, kinds in _installed().items() if "aggregate" in kinds}
    assert aggregates - set(map(fold, AGGREGATES)) == {"combine_aggr", "decimal_average", "lttb"}


@pytest.mark.parametrize(
    "call", ["formatReadableSize(1)", "FORMATREADABLESIZE(1)", "Upper('a')", "1 IS DISTINCT FROM 2"]
)
def test_names_are_compared_as_the_engine_compares_them(call: str) -> None:
    """A function that DuckDB spells with capitals would be refused in every spelling."""
    assert parse(f"SELECT {call}", limits=Limits()).survey.refusals == ()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_function_is_refused_however_it_is_written(name: str) -> None:
    """Quotes, capitals, a catalogue before the name or a place in FROM would get around the list."""
    for call in (
        f'SELECT "{name}"(1)',
        f'SELECT "{name.upper()}"(1)',
        f'SELECT system.main."{name}"(1)',
        f'SELECT (1)."{name}"()',
        f'SELECT [x."{name}"() for x in [1]]',
        f'SELECT 1 ORDER BY "{name}"(1)',
        f'SELECT sum(1) FILTER (WHERE "{name}"(1)) OVER (ORDER BY "{name}"(2))',
        f'SELECT * FROM "{name}"(1)',
        f'SELECT * FROM main."{name.upper()}"(1)',
        f'SELECT 1 LIMIT "{name}"(1)',
        f'VALUES ("{name}"(1))',
    ):
        assert parse(call, limits=Limits()).survey.refusals, call
