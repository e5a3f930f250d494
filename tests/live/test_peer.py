"""A second flightmesh as a source: the policies of both sides hold, statements cross whole, lineage names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flightmesh.errors import FlightmeshError
from tests.conftest import ServedBy
from tests.live.conftest import Live, live_server, write_product

COLUMNS = {
    "age": "BIGINT",
    "arm_name": "VARCHAR",
    "symptom": "BIGINT",
    "days": "BIGINT",
    "cens": "BIGINT",
}
NAME = "clinic.copy.patients"


@pytest.fixture(scope="module")
def peer(server: ServedBy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A product over the bundled trial, read live as the upstream's analyst, who sees ages in bands of 5."""
    folder = tmp_path_factory.mktemp("peer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIGHTMESH_SECRET_PEER_TOKEN", server.tokens["analyst"])
        product = write_product(
            folder / "copy",
            "clinic.copy",
            f"""
            peer:
              type: flightsql
              uri: "{server.uri}"
              schema: clinical.trials
              tables: [patients]
              mode: live
              timeout: 20s
              options: {{token: "${{secret:PEER_TOKEN}}"}}
            """,
            "patients: {from: peer.patients, keep: [age, arm_name, symptom, days, cens]}",
            {"patients": COLUMNS},
            policies="""
            - {grant: read, port: patients, to: ["*", anonymous]}
            - {rows: "symptom = 0", of: patients}
            - {mask: {column: days, with: {band: 100}}, of: patients}
            """,
        )
        with live_server(folder, product) as served:
            assert not served.application.ready.unavailable
            yield served


def _upstream(server: ServedBy, sql: str, user: str) -> list[tuple[object, ...]]:
    with server.adbc(user) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[object, ...]] = cursor.fetchall()
        return rows


def test_the_policies_of_both_sides_hold(peer: Live, server: ServedBy) -> None:
    """A second server in between would be a way around the first one's masks, or around its own."""
    wanted = _upstream(
        server,
        "SELECT age // 5 * 5, days // 100 * 100, count(*) FROM clinical.trials.patients WHERE symptom = 0 "
        "GROUP BY ALL ORDER BY ALL",
        "steward",
    )
    found = peer.table(f"SELECT age, days, count(*) AS n FROM {NAME} GROUP BY ALL ORDER BY ALL")
    assert list(zip(*(column.to_pylist() for column in found.columns), strict=True)) == wanted
    assert peer.rows(f"SELECT count(*) AS n FROM {NAME} WHERE symptom = 1") == [{"n": 0}]
    assert {row["age"] % 5 for row in peer.rows(f"SELECT age FROM {NAME}")} == {0}  # type: ignore[operator]


def test_what_the_upstream_hides_does_not_exist(peer: Live) -> None:
    """The trial's patient number is dropped for the analyst; nobody downstream may name it."""
    with pytest.raises(FlightmeshError, match="pidnum"):
        peer.rows(f"SELECT pidnum FROM {NAME}")


def test_pushdown_crosses(peer: Live, server: ServedBy) -> None:
    """Two thousand patients would cross the network for one number."""
    sql = f"SELECT arm_name, count(*) AS n, sum(cens) AS events FROM {NAME} WHERE age >= 40 GROUP BY 1 ORDER BY 1"
    explained = peer.client.sql(sql).explain()
    assert explained.pushed_whole
    assert explained.reason is None
    wanted = _upstream(
        server,
        "SELECT arm_name, count(*), sum(cens) FROM clinical.trials.patients "
        "WHERE age // 5 * 5 >= 40 AND symptom = 0 GROUP BY 1 ORDER BY 1",
        "steward",
    )
    assert [tuple(row.values()) for row in peer.rows(sql)] == wanted


def test_a_filter_crosses_where_the_statement_cannot(peer: Live) -> None:
    """A statement that also reads other things must not fetch the whole table."""
    sql = f"SELECT p.arm_name, r.i FROM {NAME} p, range(2) r(i) WHERE p.cens = 1 AND p.age = 40"
    explained = peer.client.sql(sql).explain()
    rows = peer.rows(sql)
    assert rows
    assert len(rows) == 2 * peer.rows(f"SELECT count(*) AS n FROM {NAME} WHERE cens = 1 AND age = 40")[0]["n"]  # type: ignore[operator]
    assert len(explained.sources) == 1


def test_lineage_names_the_upstream(peer: Live, server: ServedBy) -> None:
    """Whoever asks where a port comes from must be sent on to the right server and table."""
    (product,) = peer.client.products()
    (port,) = product.ports
    assert port.is_live
    (dataset,) = port.upstream
    assert (dataset.namespace, dataset.name) == (server.uri, "clinical.trials.patients")
    (relation,) = peer.client.sql(f"SELECT age FROM {NAME}").explain().relations
    assert relation.upstream == port.upstream


def test_the_token_is_in_no_text(peer: Live, server: ServedBy, tmp_path: Path) -> None:
    """The credential of a product is nobody else's."""
    shown = [str(peer.client.products()), str(peer.client.sql(f"SELECT * FROM {NAME}").explain())]
    with pytest.raises(FlightmeshError) as refused:
        peer.rows(f"SELECT CAST(arm_name AS INTEGER) FROM {NAME}")
    for text in [*shown, str(refused.value)]:
        assert server.tokens["analyst"] not in text
