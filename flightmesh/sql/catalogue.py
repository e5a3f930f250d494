"""What untrusted SQL may ask the catalogue: allow-lists of system relations and functions, reviewed name by name.

Questions to the catalogue are answered on an instance that holds the reader's own tables without rows, without views,
files or other readers' objects. What is on no list is refused: all that shows the machine (paths, memory, settings),
secrets, logs or other people's statements, and what would not tell the truth there.
"""

from __future__ import annotations

from collections.abc import Sequence

from flightmesh.names import folded

# check_constraints and constraint_table_usage are empty or plain there; "views" shows DuckDB's own views alone.
_INFORMATION_SCHEMA = frozenset(
    """
    character_sets check_constraints columns constraint_column_usage constraint_table_usage key_column_usage
    referential_constraints schemata table_constraints tables views
    """.split()  # noqa: SIM905 - names read better as words
)
# pg_proc shows what functions there are, allowed ones or not; pg_depend numbers alone.
_PG_CATALOG = frozenset(
    """
    pg_am pg_attrdef pg_attribute pg_class pg_collation pg_constraint pg_database pg_depend pg_description pg_enum
    pg_index pg_indexes pg_namespace pg_proc pg_sequence pg_sequences pg_tables pg_tablespace pg_type pg_views
    """.split()  # noqa: SIM905 - names read better as words
)
_MAIN = frozenset(
    """
    duckdb_columns duckdb_constraints duckdb_databases duckdb_indexes duckdb_schemas duckdb_tables duckdb_types
    duckdb_views sqlite_master sqlite_schema
    """.split()  # noqa: SIM905 - names read better as words
)
RELATIONS = {"information_schema": _INFORMATION_SCHEMA, "pg_catalog": _PG_CATALOG, "main": _MAIN}

# In FROM, with brackets. duckdb_databases() shows the path of a file, of which the catalogue's instance has none.
TABLE_FUNCTIONS = frozenset(
    """
    duckdb_columns duckdb_constraints duckdb_databases duckdb_dependencies duckdb_functions duckdb_indexes
    duckdb_keywords duckdb_schemas duckdb_sequences duckdb_tables duckdb_types duckdb_views pg_timezone_names
    pragma_table_info
    """.split()  # noqa: SIM905 - names read better as words
)

# They stand in a question to the catalogue only, and make a statement one: what the session is must not be asked of
# rows, which another server may be sent to compute. The privileges are true of all that the reader is shown; what has
# no meaning here (descriptions by number, roles) is a constant of DuckDB's.
FUNCTIONS = frozenset(
    """
    col_description current_role current_schemas current_user format_pg_type generate_subscripts
    has_any_column_privilege has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege
    has_function_privilege has_language_privilege has_schema_privilege has_sequence_privilege
    has_server_privilege has_table_privilege has_tablespace_privilege map_to_pg_oid obj_description
    pg_collation_is_visible pg_conversion_is_visible pg_function_is_visible pg_get_constraintdef pg_get_expr
    pg_has_role pg_is_other_temp_schema pg_my_temp_schema pg_opclass_is_visible pg_operator_is_visible
    pg_opfamily_is_visible pg_size_pretty pg_table_is_visible pg_ts_config_is_visible pg_ts_dict_is_visible
    pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible session_user shobj_description user
    """.split()  # noqa: SIM905 - names read better as words
)
# Of the functions for every statement, those that may be written with pg_catalog before them.
PG_FUNCTIONS = frozenset({"current_database", "current_schema", "format_type", "pg_typeof"})

# SHOW without a list or a table: what every session may know. The engine's time zone is UTC.
SETTINGS = frozenset({"search_path", "timezone"})
LISTS = {
    '"databases"': "SHOW DATABASES",
    '"schemas"': "SHOW SCHEMAS",
    '"tables"': "SHOW TABLES",
    "__show_tables_expanded": "SHOW ALL TABLES",
}

# Why a name of the catalogue is not answered, for those that tools ask for.
REFUSED = {
    "duckdb_extensions": "it shows where the server's files are",
    "duckdb_external_file_cache": "it shows where the server's files are",
    "duckdb_log_contexts": "it shows other people's statements",
    "duckdb_logs": "it shows other people's statements",
    "duckdb_memory": "it shows the server's memory",
    "duckdb_prepared_statements": "it shows statements",
    "duckdb_secrets": "it shows secrets",
    "duckdb_settings": "it shows the server's settings",
    "duckdb_table_sample": "it shows rows",
    "duckdb_temporary_files": "it shows where the server's files are",
    "duckdb_variables": "it shows the session's variables",
    "pg_prepared_statements": "it shows statements",
    "pg_settings": "it shows the server's settings",
    "pragma_database_list": "it shows where the server's files are",
}
_QUALIFIED = frozenset({"information_schema", "pg_catalog"})


def system_name(path: Sequence[str]) -> tuple[str, str] | None:
    """Schema and name, folded, of a system relation that the path means, on a list or not; None for any other name.

    A catalogue before the schema is kept in it: DuckDB knows these schemas in its own database, ``system``, alone.
    """
    parts = folded(path)
    if parts[:1] == ("system",) and len(parts) == 3:
        parts = parts[1:]
    name = parts[-1]
    if len(parts) > 1 and parts[-2] in _QUALIFIED:
        return ".".join(parts[:-1]), name
    if parts[:-1] in ((), ("main",)):
        if not parts[:-1] and name in _PG_CATALOG:
            return "pg_catalog", name
        if name in _MAIN or name in REFUSED:
            return "main", name
    return None


def is_allowed(schema: str, name: str) -> bool:
    """Whether a system relation may be read."""
    return name in RELATIONS.get(schema, ())


def refusal(schema: str, name: str) -> tuple[str, str]:
    """Why a system relation or function is not answered, and what to do instead."""
    shown = name if schema == "main" else f"{schema}.{name}"
    before, _, own = schema.rpartition(".")
    if before and is_allowed(own, name):
        return f"There is no {shown}", f"Write {own}.{name}: it holds all catalogues."
    reason = f": {REFUSED[name]}" if name in REFUSED else ""
    return f"{shown} is not offered{reason}", "Ask information_schema, duckdb_tables() or duckdb_columns()."
