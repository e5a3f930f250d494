"""``flightmesh.sql.catalogue``: every name of the engine's catalogue has been read about, and allowed or refused."""

from __future__ import annotations

import duckdb
import pytest

from flightmesh.sql import catalogue

# Beside what is refused with a reason. They show counts of the process, repositories, extensions' inventions, or
# nothing that a reader has; the views of sqlite's temporary tables say the same as sqlite_master.
UNASKED_FUNCTIONS = frozenset(
    """
    duckdb_approx_database_count duckdb_available_metrics duckdb_connection_count duckdb_coordinate_systems
    duckdb_dialects duckdb_eviction_queues duckdb_extension_repositories duckdb_external_resource_types
    duckdb_external_resources duckdb_grammar_extensions duckdb_logs_parsed duckdb_optimizers duckdb_profiling_settings
    duckdb_secret_type_parameters duckdb_secret_types duckdb_triggers
    """.split()  # noqa: SIM905 - names read better as words
)
UNASKED_VIEWS = frozenset({"sqlite_temp_master", "sqlite_temp_schema"})
# They end what runs, tell of the machine or the process, show SQL, or claim what is not so.
UNTRUE_FUNCTIONS = frozenset(
    """
    current_query inet_client_addr inet_client_port inet_server_addr inet_server_port pg_conf_load_time pg_get_viewdef
    pg_postmaster_start_time pg_sleep
    """.split()  # noqa: SIM905 - names read better as words
)


def _installed(sql: str) -> set[str]:
    with duckdb.connect() as connection:
        return {name for (name,) in connection.execute(sql).fetchall()}


def test_every_relation_of_the_system_was_reviewed() -> None:
    """A new DuckDB version would bring views that nobody has read about."""
    found = _installed("SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE internal")
    allowed = {f"{schema}.{name}" for schema, names in catalogue.RELATIONS.items() for name in names}
    assert allowed <= found
    assert {name.rpartition(".")[2] for name in found - allowed} - UNASKED_VIEWS <= catalogue.REFUSED.keys()


def test_every_table_function_of_the_catalogue_was_reviewed() -> None:
    """As above, for duckdb_*()."""
    found = _installed(
        "SELECT function_name FROM duckdb_functions() WHERE function_type LIKE 'table%' "
        "AND (function_name LIKE 'duckdb_%' OR function_name LIKE 'pg_%')"
    )
    allowed = catalogue.TABLE_FUNCTIONS - {"pragma_table_info"}
    assert allowed <= found
    assert found - allowed - UNASKED_FUNCTIONS <= catalogue.REFUSED.keys()


def test_every_function_of_pg_catalog_was_reviewed() -> None:
    """As above, for what tools of PostgreSQL call."""
    found = _installed("SELECT function_name FROM duckdb_functions() WHERE schema_name = 'pg_catalog'")
    allowed = catalogue.FUNCTIONS | catalogue.PG_FUNCTIONS
    assert found - allowed == UNTRUE_FUNCTIONS
    # The others are no part of pg_catalog in DuckDB.
    assert allowed - found == {"current_role", "current_user", "generate_subscripts", "session_user", "user"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["t"], None),
        (["Information_Schema", "TABLES"], ("information_schema", "tables")),
        (["system", "pg_catalog", "pg_class"], ("pg_catalog", "pg_class")),
        (["pg_class"], ("pg_catalog", "pg_class")),
        (["information_schema", "new"], ("information_schema", "new")),
        (["lab", "information_schema", "tables"], ("lab.information_schema", "tables")),
        (["main", "duckdb_tables"], ("main", "duckdb_tables")),
        (["system", "main", "duckdb_secrets"], ("main", "duckdb_secrets")),
        (["pg_settings"], ("main", "pg_settings")),
        (["main", "pg_class"], None),
        (["lab", "samples", "pg_class"], None),
        (["samples", "pg_settings"], None),
    ],
)
def test_a_name_of_the_system_is_known_in_each_spelling(path: list[str], expected: tuple[str, str] | None) -> None:
    """A system relation would be looked for among the ports, or a port would be taken for one."""
    assert catalogue.system_name(path) == expected


@pytest.mark.parametrize("name", sorted(catalogue.FUNCTIONS | catalogue.PG_FUNCTIONS))
def test_an_allowed_function_reads_nothing_but_the_catalogue(name: str) -> None:
    """A macro that calls a reader of settings, files or statements would be let through by its name."""
    with duckdb.connect() as connection:
        macros = connection.execute(
            "SELECT macro_definition FROM duckdb_functions() WHERE function_name = ? AND macro_definition IS NOT NULL",
            [name],
        ).fetchall()
    assert macros
    for (text,) in macros:
        assert not any(
            word in text for word in ("settings", "secret", "read_", "current_query", "sleep", "logs", "getvariable")
        )
