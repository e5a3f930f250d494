"""What PostgreSQL's catalogue is asked: tables of a schema, columns, keys, comments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flightmesh.names import literal
from flightmesh.sources.base import Description, ForeignKey
from flightmesh.sources.postgres_columns import Column
from flightmesh.sources.remote import Remote

# Tables, views, materialised views, foreign and partitioned tables.
_RELATIONS = "c.relkind IN ('r', 'v', 'm', 'f', 'p')"


def table_names(remote: Remote, schema: str) -> list[str]:
    """The tables and views of the schema by name; neither partitions nor what belongs to an extension."""
    query = f"""
SELECT c.relname::text AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {literal(schema)} AND {_RELATIONS} AND NOT c.relispartition AND NOT EXISTS (
 SELECT FROM pg_catalog.pg_depend d
 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname"""
    return [str(row["name"]) for row in remote.rows(query, for_author=True)]


def columns_query(schema: str, table: str) -> str:
    """The catalogue's knowledge of a table's columns, in order; no row when there is no such table."""
    return f"""
SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS declared,
 CASE WHEN t.typtype <> 'd' THEN t.typname WHEN b.typtype <> 'd' THEN b.typname ELSE 'domain' END::text AS base,
 CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
      ELSE format_type(a.atttypid, a.atttypmod) END AS bare,
 a.atttypid::int8 AS type_id, a.atttypmod AS modifier, a.attnotnull AS is_required,
 col_description(a.attrelid, a.attnum) AS comment,
 coalesce(l.collisdeterministic, true) AS is_deterministic, pg_encoding_to_char(d.encoding) = 'UTF8' AS is_utf8
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
 LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
 JOIN pg_catalog.pg_database d ON d.datname = current_database()
WHERE n.nspname = {literal(schema)} AND c.relname = {literal(table)} AND {_RELATIONS}
ORDER BY a.attnum"""


def keys_query(schema: str, table: str) -> str:
    """The primary key and the foreign keys: a row for each column of each, in the key's order."""
    return f"""
SELECT k.conname::text AS key, k.contype = 'p' AS is_primary, a.attname::text AS name,
 r.relname::text AS target, rn.nspname::text AS target_schema, ra.attname::text AS referenced
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('p', 'f')
 CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS u(here, there, place)
 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.here
 LEFT JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
 LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
 LEFT JOIN pg_catalog.pg_attribute ra ON ra.attrelid = k.confrelid AND ra.attnum = u.there
WHERE n.nspname = {literal(schema)} AND c.relname = {literal(table)} AND {_RELATIONS}
ORDER BY k.conname, u.place"""


def comment_query(schema: str, table: str) -> str:
    """The comment on the table itself."""
    return f"""
SELECT obj_description(c.oid, 'pg_class') AS comment
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {literal(schema)} AND c.relname = {literal(table)} AND {_RELATIONS}"""


def description(
    schema: str, columns: Iterable[Column], keys: Iterable[Mapping[str, object]], comments: list[dict[str, object]]
) -> Description:
    """What the rows of these queries say. Keys that point to another schema, no part of the source, are left out."""
    rows = list(keys)
    names = dict.fromkeys(str(row["key"]) for row in rows if not row["is_primary"] and row["target_schema"] == schema)
    comment = comments[0]["comment"] if comments else None
    return Description(
        primary_key=tuple(str(row["name"]) for row in rows if row["is_primary"]),
        foreign_keys=tuple(_foreign_key([row for row in rows if row["key"] == name]) for name in names),
        required=frozenset(column.name for column in columns if column.is_required),
        comment=None if comment is None else str(comment),
        column_comments={column.name: column.comment for column in columns if column.comment is not None},
    )


def _foreign_key(rows: list[Mapping[str, object]]) -> ForeignKey:
    columns = tuple(str(row["name"]) for row in rows)
    return ForeignKey(columns, str(rows[0]["target"]), tuple(str(row["referenced"]) for row in rows))
