"""Every shape of a query that is known to slip past a filter somewhere, against a filtered, masked port.

``sql_shapes.json`` holds the shapes with their rule; ``OWN`` below adds those that this server's design invites.
``golden/shapes.json`` holds each shape's one outcome. After a change on purpose, run with REWRITE_GOLDEN=1 and read
the difference.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa

from flightmesh.sql.commands import is_query

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "shapes.json"
ROWS_KEPT_MAX = 20
CASES: dict[str, str] = json.loads((HERE / "sql_shapes.json").read_text())["shapes"]
# Nobody but a steward may meet these: hidden rows, masked values, the dropped column, the hidden port, the filter.
HIDDEN = ("SECRET", "BADGE_CANARY", "wage_zq", "4242", "vault_zq", "VAULT_CANARY", "POLICY_LITERAL")

PRODUCT = """\
flightmesh: v1
product: lab.staff
version: 1.0.0
title: Notes of the staff
grain: one row per note
owner: {team: lab}
sources:
  emp_file: {type: csv, path: data/emp.csv}
  safe_file: {type: csv, path: data/vault.csv}
models:
  emp: {from: emp_file}
  vault_zq: {from: safe_file}
ports:
  emp: {model: emp, contract: contracts/emp.odcs.yaml}
  vault_zq: {model: vault_zq, contract: contracts/vault.odcs.yaml}
policies:
- {grant: read, port: emp, to: ["role:analyst", "role:steward"]}
- {rows: "tenant IN ('a', 'POLICY_LITERAL')", of: emp, for: "role:analyst"}
- {mask: {column: badge, with: {constant: masked}}, of: emp, for: "role:analyst"}
- {mask: {column: wage_zq, with: drop}, of: emp, for: "role:analyst"}
- {grant: read, port: vault_zq, to: "role:steward"}
"""
CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: lab-{name}-1
version: 1.0.0
status: active
schema:
- name: {name}
  properties:
"""
COLUMN = "  - {{name: {}, logicalType: {}, physicalType: {}}}\n"
FILES = {
    "product.yaml": PRODUCT,
    "contracts/emp.odcs.yaml": CONTRACT.format(name="emp")
    + "".join(COLUMN.format(name, "string", "VARCHAR") for name in ("tenant", "note", "badge"))
    + COLUMN.format("wage_zq", "integer", "BIGINT"),
    "contracts/vault.odcs.yaml": CONTRACT.format(name="vault_zq") + COLUMN.format("code", "string", "VARCHAR"),
    "data/emp.csv": "tenant,note,badge,wage_zq\na,ok,BADGE_CANARY_1,42421\nb,SECRET,BADGE_CANARY_2,42422\n",
    "data/vault.csv": "code\nVAULT_CANARY\n",
}
# The case file's names in this server's words.
ADAPTED = {
    "qualified": "select * from lab.staff.emp",
    "nested cte shadow": "select * from (with emp as (select 'z' note) from emp) a, (select * from staff.emp) b",
}
OWN = {
    "engine name": "select * from memory.main.emp",
    "main": "select * from main.emp",
    "temp": "select * from temp.main.emp",
    "system": "select * from system.main.duckdb_tables",
    "system schema": "from system.information_schema.tables",
    "pg_catalog": "from pg_catalog.pg_class",
    "pg_catalog deep": "from system.pg_catalog.pg_views",
    "pg bare": "from pg_tables",
    "info bare": "from tables",
    "sqlite_master": "select sql from sqlite_master",
    "sqlite_schema": "from sqlite_schema",
    "domain information_schema": "from lab.information_schema.tables",
    "domain main": "from lab.main.emp",
    "duckdb_views bare": "from duckdb_views",
    "duckdb_views()": "select sql from duckdb_views()",
    "duckdb_views case": 'select sql from "DuckDB_Views"()',
    "duckdb_tables quoted": 'from "duckdb_tables"()',
    "duckdb_databases": "select path from duckdb_databases()",
    "duckdb_settings": "select value from DUCKDB_SETTINGS()",
    "duckdb_logs": "from duckdb_logs()",
    "duckdb_secrets": "from duckdb_secrets()",
    "duckdb scalar": "select duckdb_tables()",
    "system function": "from system.main.duckdb_views()",
    "main function": "select main.current_setting('threads')",
    "lab function": "select lab.staff.emp(1)",
    "cte of catalogue": "with duckdb_views as (select 1) from duckdb_views",
    "cte of catalogue case": 'with "DUCKDB_Tables" as (select 1 a) from duckdb_tables',
    "cte of catalogue then out": "select * from (with duckdb_tables as (select 1) from duckdb_tables), duckdb_tables",
    "cte out of scope": "select * from (with hid as (select 1 a) from hid) x, hid",
    "cte forward": "with a as (from b), b as (select 1 x) from a",
    "cte self": "with hid as (from hid) from hid",
    "cte recursive keyword only": "with recursive hid as (select * from hid) from hid",
    "recursive plain": "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) from r",
    "cte materialised": "with e as materialized (from emp) select count(*) from e, e f",
    "cte in exists": "select count(*) from emp o where exists (with i as (from emp) from i where i.note > o.note)",
    "method chain": "select note.upper() from emp",
    "method on literal": "select 'a'.upper()",
    "method stats": "select note.stats() from emp",
    "method chain query": "select 'from emp'.query()",
    "method current_setting": "select 'threads'.current_setting()",
    "positional reference": "select #2 from emp",
    "positional out of range": "select #9 from emp",
    "columns regex": "select columns('.*') from emp",
    "columns regex hidden": "select columns('wage.*') from emp",
    "columns star unpack": "select coalesce(*columns(*)) from emp",
    "columns error": "select columns(c -> error(c)) from emp",
    "star like": "select * like 'w%' from emp",
    "star rename": "select * rename (note as wage) from emp",
    "exclude hidden": "select * exclude (wage_zq) from emp",
    "replace hidden": "select * replace (1 as wage_zq) from emp",
    "hidden column": "select wage_zq from emp",
    "hidden column qualified": "select e.wage_zq from emp e",
    "hidden column misspelt": "select wage_zz from emp",
    "hidden column in where": "select note from emp where wage_zq > 0",
    "hidden column in order": "select note from emp order by wage_zq",
    "hidden column of struct": "select (emp).wage_zq from emp",
    "hidden port": "select * from lab.staff.vault_zq",
    "hidden port bare": "from vault_zq",
    "hidden port misspelt": "from lab.staff.vault_zz",
    "hidden product": "from lab.hidden.emp",
    "rowid": "select rowid from emp",
    "rowid qualified": "select emp.rowid from emp",
    "filename column": "select filename from emp",
    "port at version": 'select * from "emp@1"',
    "port at old version": 'select * from lab.staff."emp@0"',
    "dotted quoted": 'select * from "lab.staff.emp"',
    "at timestamp": "from emp at (timestamp => now())",
    "lateral join": "select e.note, l.x from emp e, lateral (select e.note || '!' as x) l",
    "lateral unnest": "select * from emp e, unnest([e.note, e.badge]) u(x)",
    "unnest struct": "select unnest(emp) from emp",
    "unnest list of rows": "select unnest(list(emp)) from emp",
    "whole row to json": "select to_json(emp) from emp",
    "whole row to text": "select emp::varchar from emp",
    "whole row hash": "select hash(emp) = hash(emp) from emp",
    "struct_pack row": "select struct_pack(r := emp) from emp",
    "row packing": "select row(emp, emp) from emp",
    "json_group": "select json_group_array(emp) from emp",
    "json_each row": "select key, value from emp, json_each(to_json(emp))",
    "json_structure": "select json_structure(to_json(emp)) from emp",
    "json_serialize": "select json_serialize_sql('from emp')",
    "json_deserialize": "select json_deserialize_sql('{}')",
    "list_aggregate": "select list_aggregate(list(note), 'string_agg', ',') from emp",
    "list_aggregate stats": "select list_aggregate(list(note), 'stats') from emp",
    "list_aggregate unknown": "select list_aggregate([1], 'query')",
    "array_agg order": "select array_agg(note order by badge) from emp",
    "arg_max": "select arg_max(note, tenant) from emp",
    "max n": "select max(note, 5) from emp",
    "histogram": "select histogram(note) from emp",
    "approx_top_k": "select approx_top_k(badge, 5) from emp",
    "mode masked": "select mode(badge), count(distinct badge) from emp",
    "try": "select try(error('x'))",
    "try cast row": "select try_cast(note as integer) from emp",
    "cast fails": "select note::integer from emp",
    "error": "select error(note) from emp",
    "error of hidden": "select case when tenant = 'b' then error(note) end from emp",
    "assert": "select assert_true(tenant = 'a', note) from emp",
    "division": "select 1 // (case when tenant = 'b' then 0 else 1 end) from emp",
    "cast to enum": "select tenant::enum('a') from emp",
    "cast to enum subquery": "select tenant::enum(select tenant from emp) from emp",
    "cast to type in schema": "select 1::lab.staff.emp",
    "cast to table": "select 1::emp",
    "collate": "select note from emp where note = 'OK' collate nocase",
    "collate unknown": 'select note collate "/etc/passwd" from emp',
    "qualify": "select note from emp qualify row_number() over (order by note) = 1",
    "window all": "select note, count(*) over (), max(badge) over () from emp",
    "sample rows": "select count(*) from emp using sample 1000 rows",
    "tablesample": "select count(*) from emp tablesample reservoir(100)",
    "bernoulli": "select count(*) from emp using sample 100 percent (bernoulli, 42)",
    "group by all": "select tenant, count(*) from emp group by all",
    "grouping sets": "select tenant, badge, count(*) from emp group by grouping sets ((tenant), (badge), ())",
    "cube": "select tenant, count(*) from emp group by cube(tenant) order by all",
    "having": "select 1 from emp having count(*) > 1",
    "limit percent": "select note from emp limit 100%",
    "offset": "select note from emp order by note offset 1",
    "except": "select 'SECRET' except select note from emp",
    "intersect": "select 'SECRET' intersect select note from emp",
    "set union all": "select note from emp union all select badge from emp",
    "semi join": "select * from (values ('b'), ('a')) v(t) semi join emp on v.t = emp.tenant",
    "anti join": "select * from (values ('b'), ('a')) v(t) anti join emp on v.t = emp.tenant",
    "full join": "select * from (values ('b')) v(t) full join emp on v.t = emp.tenant",
    "cross self": "select count(*) from emp a, emp b",
    "values in from": "from (values ((select max(badge) from emp)))",
    "in values": "select 'b' in (from (select tenant from emp))",
    "any": "select 'b' = any(select tenant from emp)",
    "all": "select 'a' = all(select tenant from emp)",
    "correlated scalar": "select (select count(*) from emp i where i.tenant >= o.tenant) from emp o",
    "list comprehension": "select [x for x in (select list(note) from emp)]",
    "lambda": "select list_transform(list(note), lambda x : upper(x)) from emp",
    "lambda stats": "select list_transform(list(note), lambda x : stats(x)) from emp",
    "alias in where": "select upper(note) as n from emp where n = 'OK'",
    "current_setting": "select current_setting('temp_directory')",
    "current_database": "select current_database(), current_schema(), current_catalog()",
    "current_schemas": "select current_schemas(true)",
    "current_query": "select current_query()",
    "current_user": "select current_user, session_user, user",
    "version": "select version() is not null",
    "txid": "select txid_current()",
    "in_search_path": "select in_search_path('lab', 'staff')",
    "pg functions": "select pg_get_viewdef(1)",
    "pg_typeof": "select pg_typeof(note) from emp",
    "obj_description": "select obj_description(1, 'x')",
    "getenv": "select getenv('HOME')",
    "write_log": "select write_log('x')",
    "parse_duckdb_log": "select parse_duckdb_log_message('x', 'y')",
    "which_secret": "from which_secret('s3://x', 's3')",
    "sniff_csv": "from sniff_csv('/etc/passwd')",
    "read_csv": "select * from read_csv('/etc/passwd')",
    "read_text": "select content from read_text('/etc/passwd')",
    "read_blob": "from read_blob('/etc/passwd')",
    "read_json": "from read_json('/etc/passwd')",
    "parquet_scan": "from parquet_scan('x.parquet')",
    "parquet_metadata": "from parquet_metadata('x.parquet')",
    "replacement parquet": "from 'x.parquet'",
    "replacement url": "from 'https://example.org/x.csv'",
    "arrow_scan": "from arrow_scan(0, 0, 0)",
    "seq_scan": "from seq_scan('emp')",
    "repeat_row": "from repeat_row(1, num_rows = 2)",
    "test_all_types": "from test_all_types()",
    "summary": "from summary((from emp))",
    "checkpoint fn": "from checkpoint()",
    "force_checkpoint": "call force_checkpoint()",
    "pragma function": "from pragma_database_list",
    "pragma_table_info": "from pragma_table_info('emp')",
    "pragma_version": "from pragma_version()",
    "attach file": "attach '/etc/passwd' as x",
    "attach in string": "select 'attach database' as a",
    "detach": "detach lab",
    "load": "load httpfs",
    "install": "install httpfs",
    "reset": "reset threads",
    "begin": "begin transaction",
    "deallocate": "deallocate p",
    "explain json": "explain (format json) from emp",
    "from explain": "from (explain from emp)",
    "show tables": "show tables",
    "show all tables": "show all tables",
    "from show": "from (show tables)",
    "describe in from": "from (describe emp)",
    "describe in cte": "with d as (describe emp) from d",
    "summarize in cte": "with d as (summarize emp) from d",
    "summarize in subquery": "select (select max(max) from (summarize emp))",
    "create temp table": "create temp table t as from emp",
    "cte create": "with x as (create table t as from emp) from x",
    "cte attach": "with x as (attach ':memory:' as m) from x",
    "cte merge": "with x as (merge into emp using emp s on true when matched then delete returning *) from x",
    "dollar in string": "select '$1', $$ $2 $$",
    "parameter unbound": "select note from emp where tenant = ?",
    "parameter named": "select note from emp where tenant = $tenant",
    "parameter mixed": "select ?, $a",
    "line comment end": "select note from emp -- where tenant = 'b'",
    "block comment nested": "select /* a /* b */ c */ note from emp",
    "semicolon": "select note from emp;",
    "semicolons": ";;select note from emp;;",
    "two with comment": "select 1; -- x",
    "two hidden": "select 1;\nselect 2",
    "only comment": "-- nothing",
    "empty": "",
    "blank": " \n\t",
    "garbage": "\u0001\u0002 not sql",
    "homoglyph table": "select * from \u0435mp",
    "fullwidth table": "select * from \uff45\uff4d\uff50",
    "homoglyph function": "select \u0441urrent_setting('threads')",
    "dotless case": "select * from lab.staff.\u0130mp",
    "case folding": "SELECT NOTE FROM LAB.STAFF.EMP",
    "zero width": "select * from emp\u200b",
    "right to left": "select note \u202e from emp",
    "emoji alias": 'select note as "\U0001f512" from emp',
    "quote in name": 'select * from "em""p"',
    "newline in name": 'select * from "em\np"',
    "long name": f"select * from {'n' * 1000}",
    "unicode escape": "select U&'\\0041'",
    "escape string": "select e'\\x41'",
    "brackets 199": "select " + "(" * 199 + "1" + ")" * 199 + " as n",
    "brackets 200": "select " + "(" * 200 + "1" + ")" * 200 + " as n",
    "brackets 201": "select " + "(" * 201 + "1" + ")" * 201,
    "brackets in string": "select length('" + "(" * 5000 + "') as n",
    "brackets unclosed": "select " + "(" * 4000,
    "lists 201": "select " + "[" * 201 + "1" + "]" * 201,
    "text at cap": "select length('" + "x" * (200_000 - 22) + "') as n",
    "text over cap": "select length('" + "x" * (200_000 - 21) + "') as n",
    "nul": "select 'a\0b'",
    "nul at end": "select 1\0",
    "many unions": " union all ".join(["select 1"] * 150),
    "many ands": "select count(*) from emp where " + " and ".join(["true"] * 3000),
    "many nots": "select " + "not " * 400 + "true as n",
    "many minus": "select " + "- " * 400 + "1 as n",
    "duplicate columns": "select 1 as a, 2 as a, note as a from emp",
    "unnamed columns": "select 1, 1, '' from emp",
    "no columns": "select from emp",
    "order by constant": "select note from emp order by 1",
    "order by all": "select * from emp order by all",
    "distinct on": "select distinct on (tenant) note from emp",
    "interval": "select interval 1 day, date '2020-01-01' + 1",
    "big numbers": "select 170141183460469231731687303715884105727::hugeint, 1e308, 'nan'::double",
    "nested types": "select {'a': [note, badge], 'm': map {tenant: note}} from emp",
    "union type": "select union_value(k := note) from emp",
    "bit": "select '101'::bit",
    "uuid": "select uuid() is not null",
    "geometry": "select st_astext('POINT(1 2)'::geometry)",
    "variant": "select note::variant from emp",
    "range join": "select count(*) from range(3) r(x) join emp on true",
    "generate_series": "select * from generate_series(1, 3)",
    "pivot in": "pivot emp on tenant in ('a', 'b') using max(note)",
    "pivot columns": "select * from (pivot emp on tenant in ('a', 'b') using max(badge), count(*))",
    "unpivot columns": "unpivot emp on columns(*)",
    "unpivot nulls": "from emp unpivot include nulls (v for k in (tenant, note))",
    "from emp select": "from emp select note where tenant = 'b'",
    "using": "select * from emp join emp e2 using (tenant)",
    "asof self": "select a.note from emp a asof join emp b on a.note >= b.note",
    "prefix alias": "select n: note from emp",
    "trailing comma": "select note, from emp",
    "similar": "select note from emp where note similar to '.*'",
    "glob operator": "select note from emp where note glob '*'",
    "regexp": "select note from emp where note ~ 'SEC.*'",
    "slice": "select note[1:1] from emp",
    "is json": "select note from emp where json_valid(note)",
    "nextval quoted": "select \"nextval\"('s')",
    "currval": "select currval('s')",
    "setseed": "select setseed(0.5)",
    "sleep": "select sleep_ms(1)",
    "stats quoted": 'select "Stats"(note) from emp',
    "stats of masked": "select stats(badge) from emp",
    "icu_sort_key": "select icu_sort_key(note, 'noaccent') from emp",
    "create_sort_key": "select create_sort_key(note, 'asc') from emp",
    "write_file": "select write_blob('x', 'y')",
    "match against": "select fts_main_emp.match_bm25(note, 'x') from emp",
}
SHAPES = {**CASES, **ADAPTED, **OWN}


def test_every_shape_is_answered_over_visible_rows_or_refused(
    start: Callable[..., AbstractContextManager[Any]],
    tmp_path: Path,
    calling: Any,
    leaking: Any,
    refusal: type[Exception],
) -> None:
    """A reader behind a filter would read a hidden row, a masked value or a hidden name through an unusual query."""
    outcomes: dict[str, Any] = {}
    problems: list[str] = []
    with start(products=[_product(tmp_path)]) as server, calling(server, "analyst") as caller:
        for name, sql in SHAPES.items():
            ways = [_outcome(way, sql, refusal) for way in (caller.sql, caller.direct, caller.prepared)]
            outcomes[name] = _kept(ways[0])
            problems += [f"{name}: {way} differs from {ways[0]}" for way in ways[1:] if not _is_same(sql, way, ways[0])]
            for said in (*ways, _schema_outcome(caller.schema, sql, refusal)):
                problems += [f"{name}: {found!r} in {said}" for found in leaking(_spoken(said), sql, HIDDEN)]
            # A shape may hold the word itself; then only this one, which asks what is NOT visible, may give it back.
            told = ["SECRET" in str(row) for row in ways[0].get("rows", ())]
            problems += [f"{name}: {ways[0]}"] if any(told) and name != "except" else []
    assert not problems, "\n".join(problems)
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(outcomes, indent=1, ensure_ascii=True) + "\n")
    assert outcomes == json.loads(GOLDEN.read_text())


def test_the_shapes_are_all_there() -> None:
    """An emptied case file would make the test above pass over nothing."""
    assert len(CASES) == 100
    assert len(OWN) >= 200
    assert not CASES.keys() & OWN.keys()


def test_a_hidden_name_is_answered_like_one_that_nobody_ever_used(
    start: Callable[..., AbstractContextManager[Any]], tmp_path: Path, calling: Any, refusal: type[Exception]
) -> None:
    """A reader would learn that a port or column exists from an answer that differs from the one for a free name."""
    forms = (
        "select * from {port}",
        "select * from lab.staff.{port}",
        "select * from staff.{port} v",
        "with x as (from {port}) from x",
        "select {column} from emp",
        "select e.{column} from emp e",
        "select note from emp order by {column}",
        "select * exclude ({column}) from emp",
        "select columns('{column}') from emp",
        "select struct_extract(emp, '{column}') from emp",
        "select unnest(emp).{column} from emp",
    )
    with start(products=[_product(tmp_path)]) as server, calling(server, "analyst") as caller:
        for form in forms:
            hidden = _outcome(caller.sql, form.format(port="vault_zq", column="wage_zq"), refusal)
            free = _outcome(caller.sql, form.format(port="vault_qz", column="wage_qz"), refusal)
            assert "error" in hidden, form
            assert hidden == json.loads(json.dumps(free).replace("_qz", "_zq")), form
        for hidden_path, free_path in (("vault_zq", "vault_qz"), ("vault_zq@1", "vault_qz@1")):
            hidden = _outcome(lambda port: caller.path("lab", "staff", port), hidden_path, refusal)
            free = _outcome(lambda port: caller.path("lab", "staff", port), free_path, refusal)
            assert hidden == json.loads(json.dumps(free).replace("_qz", "_zq"))


def test_a_bound_value_opens_no_string(server: Any) -> None:
    """Spaces of Unicode once moved the place of a parameter into a string, whose content then ran ungated."""
    body = "1 AS a, ' , (SELECT string_agg(sql) FROM duckdb_views()) AS leak -- ' AS b, ? || '' AS c"
    for space in ("\u00a0", "\u2003", "\u3000", "\u200b"):
        shift = (body.index("?") - body.index("'")) // (len(space.encode()) - 1)
        for spaces in range(shift - 2, shift + 3):
            with server.adbc("site") as connection, connection.cursor() as cursor:
                cursor.execute("SELECT" + space * spaces + " " + body, parameters=("x",))
                assert cursor.fetchall() == [(1, body.split("'")[1], "x")]


def _product(folder: Path) -> Path:
    for file, text in FILES.items():
        path = folder / "staff" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "staff"


def _outcome(way: Callable[[str], pa.Table], sql: str, refusal: type[Exception]) -> dict[str, Any]:
    """Columns and rows (sorted, as text where JSON has no such value), or the error's line."""
    try:
        table = way(sql)
    except refusal as refused:
        return {"error": str(refused)}
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    plain = json.loads(json.dumps([list(row) for row in rows], default=str))
    return {"columns": table.column_names, "rows": sorted(plain, key=repr)}


def _is_same(sql: str, way: dict[str, Any], first: dict[str, Any]) -> bool:
    """Whether a way of asking gave what the first gave. What is no query has no rows to fetch in one call."""
    return way == first or ("error" in way and not is_query(sql))


def _kept(outcome: dict[str, Any]) -> dict[str, Any]:
    """The outcome as it is compared: without times, and of the engine's own long listings their size alone."""
    if len(outcome.get("rows", ())) > ROWS_KEPT_MAX:
        return {"columns": outcome["columns"], "is_long": True}
    kept: dict[str, Any] = json.loads(re.sub(r"read at [\d:T+-]+", "read at TIME", json.dumps(outcome)))
    return kept


def _schema_outcome(way: Callable[[str], pa.Schema], sql: str, refusal: type[Exception]) -> dict[str, Any]:
    try:
        return {"columns": str(way(sql))}
    except refusal as refused:
        return {"error": str(refused)}


def _spoken(outcome: dict[str, Any]) -> str:
    return json.dumps(outcome, ensure_ascii=False)
