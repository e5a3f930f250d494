"""Sessions and their temporary tables as somebody else would like to use them: to read another's rows, to get around a
filter, to write where nobody may.

The product is that of the shapes: an analyst may read one port, filtered, masked and without one column; a steward
all; nobody else anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from flightmesh.flightsql import messages as m
from flightmesh.flightsql.codec import encode, pack
from tests.conftest import ServedBy, serving
from tests.faults.sessions import Session, ingest, open_session
from tests.security.test_shapes import CASES, FILES, HIDDEN, OWN

USERS = ("steward", "analyst", "site", "nobody", None)
# The whole of it is hidden from everybody without a role.
HIDDEN_FROM: dict[str | None, tuple[str, ...]] = {
    "analyst": HIDDEN,
    **dict.fromkeys(("site", "nobody", None), (*HIDDEN, "staff", "badge", "lab-emp", "tenant")),
}
VISIBLE = [{"tenant": "a", "note": "ok", "badge": "masked"}]
# What a victim's table holds: the words that no other session may ever be told.
VICTIM = ("VICTIM_CANARY", "column_zq", "victim_zq")
# Questions about what there is; {0} is a name that the asker may not know.
CATALOGUE = (
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SHOW DATABASES",
    "SHOW SCHEMAS",
    "FROM (SHOW ALL TABLES)",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM information_schema.columns",
    "SELECT * FROM information_schema.schemata",
    "SELECT * FROM information_schema.views",
    "SELECT * FROM information_schema.table_constraints",
    "SELECT * FROM information_schema.key_column_usage",
    "SELECT * FROM information_schema.referential_constraints",
    "SELECT * FROM system.information_schema.tables",
    "SELECT * FROM duckdb_tables()",
    "SELECT * FROM duckdb_views()",
    "SELECT * FROM duckdb_columns()",
    "SELECT * FROM duckdb_constraints()",
    "SELECT * FROM duckdb_schemas()",
    "SELECT * FROM duckdb_databases()",
    "SELECT * FROM duckdb_indexes()",
    "SELECT * FROM duckdb_sequences()",
    "SELECT * FROM duckdb_dependencies()",
    "SELECT * FROM duckdb_temporary_files()",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_prepared_statements()",
    "SELECT * FROM duckdb_logs",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM pg_catalog.pg_tables",
    "SELECT * FROM pg_catalog.pg_views",
    "SELECT * FROM pg_catalog.pg_attribute",
    "SELECT * FROM pg_catalog.pg_namespace",
    "SELECT * FROM pg_catalog.pg_description",
    "SELECT * FROM pg_catalog.pg_constraint",
    "SELECT * FROM pg_catalog.pg_type",
    "SELECT * FROM pg_tables",
    "SELECT * FROM sqlite_master",
    "SELECT name, sql FROM sqlite_schema",
    "PRAGMA show_tables",
    "PRAGMA table_info('{0}')",
    "PRAGMA database_list",
    "SELECT * FROM pragma_table_info('{0}')",
    "SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%zq%'",
    "SELECT column_name FROM duckdb_columns() WHERE table_name = '{0}'",
    "SELECT count(*) FROM pg_class WHERE relname = '{0}'",
)
NAMED = (
    "SELECT * FROM {0}",
    "SELECT * FROM temp.{0}",
    "SELECT * FROM temp.main.{0}",
    "SELECT * FROM main.{0}",
    "SELECT * FROM memory.main.{0}",
    "SELECT * FROM memory.temp.{0}",
    "SELECT * FROM pg_temp.{0}",
    'SELECT * FROM "temp.main.{0}"',
    "TABLE {0}",
    "FROM query_table('{0}')",
    "DESCRIBE {0}",
    "DESCRIBE temp.main.{0}",
    "DESCRIBE SELECT * FROM {0}",
    "SUMMARIZE {0}",
    "SUMMARIZE temp.main.{0}",
    "SHOW {0}",
    "EXPLAIN SELECT * FROM {0}",
    "SELECT * FROM (DESCRIBE {0})",
    "CREATE TEMP TABLE copied AS SELECT * FROM temp.main.{0}",
    "INSERT INTO {0} VALUES (1)",
    "INSERT INTO temp.main.{0} SELECT 1",
    "UPDATE {0} SET column_zy = 'x'",
    "DELETE FROM {0}",
    "DROP TABLE {0}",
    "DROP TABLE temp.main.{0}",
)


@dataclass(frozen=True)
class Member:
    """One session of a user; refusals are raised as the room's own exception, after their form was checked."""

    user: str | None
    session: Session
    caller: Any

    def sql(self, text: str) -> pa.Table:
        return self.caller.sql(text)

    def rows(self, text: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.sql(text).to_pylist()
        return found

    def update(self, text: str, transaction: bytes | None = None) -> int:
        written: int = self.caller.call(lambda: self.session.update(text, transaction))
        return written

    def put(self, table: str, mode: str = "create", **columns: Sequence[Any]) -> int:
        return self.send(ingest_to(table, mode), pa.table(columns))

    def send(self, descriptor: fl.FlightDescriptor, rows: pa.Table) -> int:
        written: int = self.caller.call(lambda: self.session.put(descriptor, rows.schema, rows.to_batches()))
        return written

    def end(self, transaction: bytes, commits: bool) -> None:
        self.caller.call(lambda: self.session.end(transaction, commits=commits))


def ingest_to(table: str, mode: str = "create") -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(ingest(table, mode))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedBy]:
    """The product of the shapes in a server of its own."""
    folder = tmp_path_factory.mktemp("sessions")
    for file, text in FILES.items():
        path = folder / "staff" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with serving(folder / "served", products=[folder / "staff"]) as started:
        yield started


@pytest.fixture
def join(served: ServedBy, calling: Any) -> Iterator[Callable[..., Member]]:
    """Opens a session of a user: ``join("analyst")``; with ``token`` a session that there is. Closed at the end."""
    with ExitStack() as opened:

        def enter(user: str | None, token: str | None = None, **headers: str) -> Member:
            token = token or open_session(served.uri, None if user is None else served.tokens[user])
            session = opened.enter_context(Session.of(served.uri, token))
            caller = opened.enter_context(calling(served, user))
            more = [(name.encode(), value.encode()) for name, value in headers.items()]
            options = fl.FlightCallOptions(headers=[(b"authorization", b"Bearer " + token.encode()), *more])
            return Member(user, session, type(caller)(caller.client, options))

        yield enter


def _outcome(refusal: type[Exception], call: Callable[..., Any], *arguments: Any) -> str:
    """All that the caller is told: columns, types and rows, or the refusal."""
    try:
        answer = call(*arguments)
    except refusal as refused:
        return f"refused: {refused}"
    if isinstance(answer, pa.Table):
        return f"{answer.schema}\n{json.dumps(answer.to_pylist(), default=str)}"
    return str(answer)


def _is_refused(refusal: type[Exception], code: str, call: Callable[..., Any], *arguments: Any) -> None:
    told = _outcome(refusal, call, *arguments)
    assert told.startswith(f"refused: {code}: "), told


# -------------------------------------------------------------------------------------------------- others' own tables


@pytest.fixture
def victim(join: Callable[..., Member]) -> Member:
    """An analyst's session with a table that nobody else may know of."""
    member = join("analyst")
    assert member.put("victim_zq", column_zq=["VICTIM_CANARY_1", "VICTIM_CANARY_2"]) == 2
    return member


def _strangers(join: Callable[..., Member]) -> list[Member]:
    return [join(user) for user in ("analyst", "steward", "nobody", None)]


def test_no_statement_reaches_another_sessions_table(
    join: Callable[..., Member], victim: Member, refusal: type[Exception], leaking: Any
) -> None:
    """A colleague, an administrator or a stranger would read, describe, count or empty what somebody brought."""
    problems = []
    for stranger in _strangers(join):
        for form in (*NAMED, *CATALOGUE):
            hidden, free = (form.format(name) for name in ("victim_zq", "victim_zy"))
            for way in (stranger.sql, stranger.update, stranger.caller.schema, stranger.caller.prepared):
                told = _outcome(refusal, way, hidden)
                problems += [f"{stranger.user}: {form}: {word} in {told}" for word in leaking(told, hidden, VICTIM)]
                if form not in NAMED:
                    continue
                expected = _outcome(refusal, way, free)
                if told != expected.replace("_zy", "_zq"):
                    problems.append(f"{stranger.user}: {form}: {told}\nnot as for a name that nobody uses: {expected}")
    assert problems == []
    assert [row["column_zq"] for row in victim.rows("SELECT * FROM victim_zq")] == [
        "VICTIM_CANARY_1",
        "VICTIM_CANARY_2",
    ]


def test_no_metadata_tells_of_another_sessions_table(
    join: Callable[..., Member], victim: Member, refusal: type[Exception], leaking: Any
) -> None:
    """The tree of tables in a colleague's database tool would show what others have brought; one's own it shows."""
    commands = (
        m.CommandGetTables(include_schema=True),
        m.CommandGetTables("temp", "main", "victim%", ("TABLE", "LOCAL TEMPORARY", "VIEW"), include_schema=True),
        m.CommandGetDbSchemas(),
        m.CommandGetCatalogs(),
        m.CommandGetPrimaryKeys("temp", "main", "victim_zq"),
    )
    for stranger in _strangers(join):
        for command in commands:
            told = _outcome(refusal, stranger.caller.command, command)
            assert leaking(told, "", VICTIM) == [], command
        for path in (("temp", "main", "victim_zq"), ("victim_zq",), ("temp.main.victim_zq",)):
            _is_refused(refusal, "not_found", stranger.caller.path, *path)
        assert all(b"victim" not in info.descriptor.serialize() for info in stranger.caller.flights())
        assert leaking(str(stranger.caller.act("catalog.list")), "", VICTIM) == []
        assert leaking(str(stranger.caller.act("query.list")), "", VICTIM) == []
    assert "victim_zq" in str(victim.caller.command(commands[0]).to_pylist())


def test_tickets_and_handles_serve_their_user_alone(
    join: Callable[..., Member], victim: Member, refusal: type[Exception]
) -> None:
    """Whoever finds a ticket in a log would read the table behind it.

    By design a ticket is a paper of its user's: another session of the same user reads with it what the session reads
    for which it was made out. Drivers that fetch over a second connection need that.
    """
    ticket = victim.session.ticket(m.CommandStatementQuery("SELECT column_zq FROM victim_zq"))
    handle = victim.session.prepare("SELECT column_zq FROM victim_zq")
    for user in ("steward", "nobody", None):
        stranger = join(user)
        _is_refused(refusal, "unauthenticated", stranger.caller.fetch, ticket)
        _is_refused(refusal, "unauthenticated", stranger.caller.command, m.CommandPreparedStatementQuery(handle))
        update = fl.FlightDescriptor.for_command(pack(m.CommandPreparedStatementUpdate(handle)))
        _is_refused(refusal, "unauthenticated", stranger.send, update, pa.table({}))
    assert join("analyst").caller.fetch(ticket)["column_zq"].to_pylist() == ["VICTIM_CANARY_1", "VICTIM_CANARY_2"]
    victim.session.close_session()
    _is_refused(refusal, "not_found", join("analyst").caller.fetch, ticket)


def test_transactions_are_the_sessions_own(
    join: Callable[..., Member], victim: Member, refusal: type[Exception]
) -> None:
    """Whoever knows a transaction's id would see its uncommitted rows, add to them, commit or undo them."""
    transaction = victim.session.begin()
    victim.update("CREATE TEMP TABLE pending AS SELECT 'VICTIM_CANARY_3' AS column_zq", transaction)
    shown = m.CommandStatementQuery("SELECT * FROM pending", transaction)
    for stranger in _strangers(join):
        for call, *arguments in (
            (stranger.caller.command, shown),
            (stranger.update, "INSERT INTO pending VALUES ('x')", transaction),
            (stranger.update, "CREATE TEMP TABLE theirs AS SELECT 1 AS a", transaction),
            (stranger.end, transaction, True),
        ):
            told = _outcome(refusal, call, *arguments)
            assert told.startswith("refused: "), told
            assert "VICTIM_CANARY" not in told
        # A rollback of what is unknown is quietly fine; it must do nothing.
        _outcome(refusal, stranger.end, transaction, False)
        _is_refused(refusal, "not_found", stranger.sql, "SELECT * FROM theirs")
    assert victim.caller.command(shown)["column_zq"].to_pylist() == ["VICTIM_CANARY_3"]
    victim.session.end(transaction, commits=True)
    assert victim.rows("SELECT * FROM pending") == [{"column_zq": "VICTIM_CANARY_3"}]


def test_a_cookie_of_another_user_is_of_no_use(
    served: ServedBy, join: Callable[..., Member], victim: Member, refusal: type[Exception]
) -> None:
    """A cookie found elsewhere would open another's session to one's own credentials, or to none."""
    token = victim.session.token
    for user in ("steward", "site", "nobody", None):
        # With the credentials of the user, so that the cookie could name the session.
        credentials = {} if user is None else {"authorization": f"Bearer {served.tokens[user]}"}
        for value in (token, f'"{token}"', f"x; arrow_flight_session_id={token}", token + "A", token[:-3]):
            headers = {**credentials, "cookie": f"arrow_flight_session_id={value}"}
            options = fl.FlightCallOptions(headers=[(name.encode(), text.encode()) for name, text in headers.items()])
            stranger = type(victim.caller)(victim.caller.client, options)
            _is_refused(refusal, "not_found", stranger.sql, "SELECT * FROM victim_zq")
            stranger.act("CloseSession", encode(m.CloseSessionRequest()))
    assert victim.sql("SELECT * FROM victim_zq").num_rows == 2
    # The own cookie does name the session: this is what it is for.
    headers = {"authorization": f"Bearer {served.tokens['analyst']}", "cookie": f"arrow_flight_session_id={token}"}
    options = fl.FlightCallOptions(headers=[(name.encode(), text.encode()) for name, text in headers.items()])
    again = type(victim.caller)(victim.caller.client, options)
    assert again.sql("SELECT * FROM victim_zq").num_rows == 2


def test_nobodys_sessions_are_not_one(join: Callable[..., Member], refusal: type[Exception]) -> None:
    """All who come without credentials have one name; what one of them brings is not for the others."""
    one, other = join(None), join(None)
    one.put("victim_zq", column_zq=["VICTIM_CANARY"])
    for form in NAMED[:4]:
        _is_refused(refusal, "not_found", other.sql, form.format("victim_zq"))
    other.put("victim_zq", column_zq=["mine"])
    other.session.close_session()
    assert one.rows("SELECT * FROM victim_zq") == [{"column_zq": "VICTIM_CANARY"}]


# --------------------------------------------------------------------------------------------------- around the policy


def test_catalogue_questions_tell_nothing_hidden(
    join: Callable[..., Member], refusal: type[Exception], leaking: Any
) -> None:
    """SHOW, DESCRIBE, information_schema and the engine's own tables would list what policies hide."""
    questions = (*CATALOGUE, *(form for form in NAMED if "DESC" in form or "SUMM" in form or "SHOW" in form))
    names = ("emp", "lab.staff.emp", "vault_zq", "lab.staff.vault_zq", "lab.staff.wage_zq")
    problems = []
    for user, hidden in HIDDEN_FROM.items():
        member = join(user)
        for sql in dict.fromkeys(form.format(name) for form in questions for name in names):
            for way in (member.sql, member.caller.schema, member.caller.prepared):
                told = _outcome(refusal, way, sql)
                problems += [f"{user}: {sql}: {word!r} in {told[:600]}" for word in leaking(told, sql, hidden)]
        for command in (
            m.CommandGetTables(include_schema=True),
            m.CommandGetDbSchemas(),
            m.CommandGetCatalogs(),
            m.CommandGetPrimaryKeys("lab", "staff", "vault_zq"),
            m.CommandGetSqlInfo(),
        ):
            told = str(member.caller.command(command).to_pylist())
            problems += [f"{user}: {command}: {word!r}" for word in hidden if word in told]
    assert problems == []


def test_summaries_are_of_visible_rows(join: Callable[..., Member], refusal: type[Exception]) -> None:
    """The smallest and largest value of a column are values too."""
    analyst = join("analyst")
    summary = {row["column_name"]: row for row in analyst.rows("SUMMARIZE lab.staff.emp")}
    assert set(summary) == {"tenant", "note", "badge"}
    assert (summary["note"]["min"], summary["note"]["max"], summary["note"]["count"]) == ("ok", "ok", 1)
    assert (summary["badge"]["min"], summary["badge"]["max"]) == ("masked", "masked")
    _is_refused(refusal, "not_found", join("nobody").sql, "SUMMARIZE lab.staff.emp")


def test_own_tables_hold_what_the_policy_lets_through(join: Callable[..., Member], refusal: type[Exception]) -> None:
    """A copy is made by the caller's rights: hidden rows, masked values and dropped columns are in no copy."""
    analyst = join("analyst")
    analyst.update("CREATE TEMP TABLE copied AS SELECT * FROM lab.staff.emp")
    assert analyst.rows("SELECT * FROM copied") == VISIBLE
    analyst.update("CREATE TEMP TABLE filled (tenant VARCHAR, note VARCHAR, badge VARCHAR)")
    for sql, written in (
        ("INSERT INTO filled SELECT * FROM lab.staff.emp", 1),
        ("INSERT INTO filled BY NAME SELECT badge, note, tenant FROM emp", 1),
        ("INSERT INTO filled (note) SELECT note FROM emp UNION ALL SELECT badge FROM emp", 2),
        ("INSERT INTO filled WITH e AS (FROM lab.staff.emp) FROM e", 1),
        ("INSERT INTO filled SELECT 'x', (SELECT string_agg(note) FROM emp), (SELECT max(badge) FROM emp)", 1),
    ):
        assert analyst.update(sql) == written, sql
    analyst.update("UPDATE filled SET note = (SELECT string_agg(note || badge) FROM lab.staff.emp) WHERE tenant = 'x'")
    analyst.update("DELETE FROM filled WHERE note IN (SELECT note FROM lab.staff.emp WHERE tenant = 'b')")
    told = str(analyst.rows("SELECT * FROM filled"))
    assert [word for word in HIDDEN if word in told] == []
    assert analyst.sql("SELECT * FROM filled").num_rows == 6
    for sql in (
        "CREATE TEMP TABLE stolen AS SELECT wage_zq FROM lab.staff.emp",
        "CREATE TEMP TABLE stolen AS SELECT * FROM lab.staff.vault_zq",
        "INSERT INTO filled (note) SELECT code FROM vault_zq",
        "UPDATE filled SET note = (SELECT max(wage_zq) FROM lab.staff.emp)",
        "DELETE FROM filled WHERE EXISTS (FROM vault_zq)",
        "CREATE TEMP TABLE stolen AS SELECT * FROM duckdb_logs()",
        "CREATE TEMP TABLE stolen AS SELECT * FROM read_csv('/etc/passwd')",
        "INSERT INTO filled (note) SELECT content FROM read_text('/etc/passwd')",
    ):
        told = _outcome(refusal, analyst.update, sql)
        assert told.startswith(("refused: invalid", "refused: not_found")), f"{sql}: {told}"
        assert analyst.session.rows("stolen") is None
    assert join("steward").sql("SELECT * FROM lab.staff.emp").num_rows == 2


SHADOWS = (
    *("emp", "EMP", "vault_zq", "lab.staff.emp", "staff.emp", "lab", "staff", "main", "temp", "memory", "system"),
    *("duckdb_tables", "duckdb_views", "pg_class", "pg_tables", "tables", "columns", "information_schema.tables"),
    *("sqlite_master", "information_schema", "pg_catalog", "range", "query", "read_csv", "generate_series"),
)


def test_a_table_of_a_ports_name_changes_the_own_session_alone(
    join: Callable[..., Member], refusal: type[Exception]
) -> None:
    """A table called like a port would take the port's place for others, or a row filter's for oneself."""
    analyst, other, steward = join("analyst"), join("analyst"), join("steward")
    own = pa.table({"tenant": ["own"], "note": ["own"], "badge": ["own"], "wage_zq": [1]})
    for name in SHADOWS:
        told = _outcome(refusal, analyst.send, ingest_to(name), own)
        assert told == "1" or told.startswith("refused: invalid"), f"{name}: {told}"
        # By its full name the port stays the port, with its filter.
        assert analyst.rows("SELECT * FROM lab.staff.emp") == VISIBLE, name
        assert analyst.rows("SELECT count(*) AS n FROM lab.staff.emp WHERE tenant <> 'a'") == [{"n": 0}], name
        _is_refused(refusal, "not_found", analyst.sql, "SELECT * FROM lab.staff.vault_zq")
        _is_refused(refusal, "invalid", analyst.sql, "SELECT wage_zq FROM lab.staff.emp")
        assert other.rows("SELECT * FROM emp") == VISIBLE, name
        assert steward.sql("SELECT * FROM emp").num_rows == 2, name
        assert analyst.caller.path("lab", "staff", "emp").to_pylist() == VISIBLE, name
    assert analyst.rows("SELECT * FROM temp.main.emp") == [
        {"tenant": "own", "note": "own", "badge": "own", "wage_zq": 1}
    ]


def test_the_engine_in_between_is_not_shadowed(join: Callable[..., Member]) -> None:
    """Names of the server's own inside, guessed: the queries over ports keep their meaning."""
    analyst = join("analyst")
    for name in ("given", "e", "v", "base", "data", "source", "t", "result", "explained", "counted", "rows", "c0"):
        analyst.put(name, tenant=["b"], note=["own"], badge=["own"])
        assert analyst.rows("SELECT * FROM lab.staff.emp") == VISIBLE, name
        assert analyst.rows("WITH given AS (FROM emp) SELECT tenant FROM given") == [{"tenant": "a"}], name
        analyst.update("CREATE OR REPLACE TEMP TABLE filled AS SELECT * FROM emp")
        analyst.update("INSERT INTO filled SELECT * FROM emp")
        analyst.update("UPDATE filled SET note = 'changed'")
        assert analyst.rows("SELECT DISTINCT * FROM filled") == [{**VISIBLE[0], "note": "changed"}], name


NAMES = (
    *(
        'a"b',
        '"',
        '""',
        "a.b",
        "a.b.c.d",
        ".",
        "..",
        "a b",
        " ",
        "'",
        "';--",
        "--",
        "/*",
        "\\",
        "%",
        "_",
        "?",
        "$1",
        "@",
    ),
    *(
        "select",
        "SELECT",
        "table",
        "from",
        "null",
        "true",
        "default",
        "1",
        "-1",
        "1e5",
        "*",
        "()",
        ";",
        "a;b",
        "\n",
        "\t",
    ),
    *("\u00e9", "e\u0301", "\U0001f512", "\u202e", "\u200b", "\u0130", "\u00df", "\ufeff", "\u4e2d\u6587", "\uff45"),
    *(
        "x" * 255,
        "\u00e9" * 127,
        "\U0001f512" * 63,
        "a" * 127 + '"' * 127,
        "../../x",
        "/etc/passwd",
        "con",
        "{}",
        "{0}",
    ),
)


@pytest.mark.parametrize("chunk", range(3))
def test_every_name_is_a_name(join: Callable[..., Member], refusal: type[Exception], chunk: int) -> None:
    """A name of a file, a sheet or a person, as it is; or, ending a string in the server's own SQL, a way in."""
    analyst = join("analyst")
    for number, name in enumerate(NAMES[chunk::3]):
        quoted = '"' + name.replace('"', '""') + '"'
        assert analyst.put(name, n=[number]) == 1, name
        assert analyst.rows(f"SELECT * FROM {quoted}") == [{"n": number}], name
        assert analyst.rows(f"SELECT * FROM temp.main.{quoted}") == [{"n": number}], name
        assert analyst.update(f"INSERT INTO {quoted} SELECT n + 1 FROM {quoted}") == 1, name
        assert analyst.rows(f"SELECT count(*) AS n FROM {quoted}") == [{"n": 2}], name
        listed = analyst.caller.command(m.CommandGetTables("temp", "main"))
        assert listed["table_name"].to_pylist() == [name]
        assert analyst.rows("SELECT * FROM lab.staff.emp") == VISIBLE, name
        assert analyst.caller.path("temp", "main", name).num_rows == 2, name
        analyst.update(f"DROP TABLE {quoted}")
        _is_refused(refusal, "not_found", analyst.sql, f"SELECT * FROM {quoted}")


def test_names_that_cannot_be_are_refused(join: Callable[..., Member], refusal: type[Exception]) -> None:
    """Empty, too long, or with a NUL: told, and nothing is there."""
    analyst = join("analyst")
    for name in ("", "x" * 256, "\u00e9" * 128, "a\0b", "\0", "x" * 100_000):
        _is_refused(refusal, "invalid", analyst.send, ingest_to(name), pa.table({"n": [1]}))
    assert analyst.caller.command(m.CommandGetTables("temp", "main")).num_rows == 0


def test_the_shapes_in_a_session_with_tables(
    join: Callable[..., Member], refusal: type[Exception], leaking: Any
) -> None:
    """Own tables beside a filtered port open no way around its filter, whatever the shape of the query."""
    plain, beside, shadowed = join("analyst"), join("analyst"), join("analyst")
    for member, names in ((beside, ("own_table", "other")), (shadowed, ("emp", "x", "e"))):
        for name in names:
            member.put(name, tenant=["own"], note=["own"], badge=["own"])
    problems = []
    for name, sql in {**CASES, **OWN}.items():
        told = [_outcome(refusal, who.sql, sql) for who in (plain, beside, shadowed)]
        for text in told:
            problems += [f"{name}: {word!r} in {text}" for word in leaking(text, sql, HIDDEN)]
        if told[0] != told[1] and "own_table" not in told[1]:
            problems.append(f"{name}: {told[1]} instead of {told[0]}")
    assert problems == []


WRITES = (
    "INSERT INTO {0} SELECT * FROM {0}",
    "INSERT INTO {0} VALUES ('c', 'x', 'y')",
    "INSERT OR REPLACE INTO {0} VALUES ('c', 'x', 'y')",
    "INSERT INTO {0} DEFAULT VALUES",
    "UPDATE {0} SET note = 'x'",
    "DELETE FROM {0}",
    "TRUNCATE {0}",
    "TRUNCATE TABLE {0}",
    "DROP TABLE {0}",
    "DROP VIEW {0}",
    "ALTER TABLE {0} ADD COLUMN x INTEGER",
    "ALTER TABLE {0} RENAME TO y",
    "ALTER VIEW {0} RENAME TO y",
    "CREATE OR REPLACE TABLE {0} AS SELECT 1 AS a",
    "CREATE TABLE {0} AS SELECT 1 AS a",
    "CREATE OR REPLACE VIEW {0} AS SELECT 1 AS a",
    "CREATE OR REPLACE TEMP TABLE lab.staff.emp AS SELECT 1 AS a",
    "CREATE OR REPLACE TEMP VIEW {0} AS SELECT 1 AS a",
    "CREATE INDEX i ON {0} (note)",
    "COMMENT ON TABLE {0} IS 'x'",
    "COPY {0} FROM '/etc/passwd'",
    "COPY {0} TO '/dev/null'",
    "MERGE INTO {0} USING {0} AS s ON TRUE WHEN MATCHED THEN DELETE",
    "CREATE SCHEMA lab.other",
    "CREATE SECURE VIEW v AS SELECT * FROM {0}",
    "CREATE MACRO f() AS TABLE SELECT * FROM {0}",
    "CREATE SEQUENCE s",
    "CREATE TYPE t AS ENUM ('a')",
    "ATTACH ':memory:' AS m",
    "DETACH lab",
    "USE system",
    "EXPORT DATABASE '/dev/shm/x'",
    "VACUUM",
    "CHECKPOINT",
    "ANALYZE",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "SET memory_limit = '1GB'",
    "RESET ALL",
    "PRAGMA enable_profiling",
    "CALL force_checkpoint()",
)


def test_ports_cannot_be_written(join: Callable[..., Member], refusal: type[Exception], leaking: Any) -> None:
    """Whoever may read a port, a steward too, could change it for all others."""
    steward = join("steward")
    before = steward.sql("SELECT * FROM lab.staff.emp ORDER BY ALL").to_pylist()
    for user in USERS:
        member = join(user)
        for form in WRITES:
            for target in ("lab.staff.emp", "staff.emp"):
                sql = form.format(target)
                for way in (member.update, member.sql, member.caller.prepared):
                    told = _outcome(refusal, way, sql)
                    expected = ("refused: invalid", "refused: not_found", "refused: unsupported")
                    assert told.startswith(expected), f"{user}: {sql}: {told}"
                    assert leaking(told, sql, HIDDEN_FROM.get(user, ())) == [], f"{user}: {sql}: {told}"
        rows = pa.table({"tenant": ["c"], "note": ["x"], "badge": ["y"]})
        definition = m.TableDefinitionOptions(m.TableNotExistOption(1), m.TableExistsOption(3))
        for descriptor in (
            fl.FlightDescriptor.for_path("lab", "staff", "emp"),
            fl.FlightDescriptor.for_path("lab.staff.emp"),
            _ingest(definition, "emp", "staff", "lab", temporary=True),
            _ingest(definition, "emp", "staff", "lab", temporary=False),
            _ingest(definition, "emp", None, None, temporary=False),
        ):
            _is_refused(refusal, "invalid", member.send, descriptor, rows)
    assert steward.sql("SELECT * FROM lab.staff.emp ORDER BY ALL").to_pylist() == before
    assert len(before) == 2


def test_a_drop_of_a_port_takes_no_table_of_ones_own(join: Callable[..., Member], refusal: type[Exception]) -> None:
    """A script that begins with DROP TABLE IF EXISTS names a port by mistake: it is told, and loses nothing of its own
    that happens to have the port's last name.
    """
    analyst = join("analyst")
    analyst.put("emp", n=[1])
    for path in ("lab.staff.emp", "staff.emp", "nowhere.at.emp"):
        _outcome(refusal, analyst.update, f"DROP TABLE IF EXISTS {path}")
        assert analyst.rows("SELECT * FROM temp.main.emp") == [{"n": 1}], f"DROP TABLE IF EXISTS {path}"
    _is_refused(refusal, "invalid", analyst.update, "DROP TABLE IF EXISTS lab.staff.emp")


def _ingest(
    definition: m.TableDefinitionOptions, table: str, schema: str | None, catalog: str | None, *, temporary: bool
) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(
        pack(m.CommandStatementIngest(definition, table, schema, catalog, temporary=temporary))
    )
