"""``flightmesh.product.source_checks``: the mistakes are in ``golden/live_sources.txt``. Here is what is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flightmesh.product.manifest import examine
from flightmesh.product.model import Source
from flightmesh.product.source_checks import is_listed_at_build

Make = Callable[[Mapping[str, str]], Path]


@pytest.mark.parametrize(
    "source",
    [
        '{type: postgres, uri: "postgresql://u@h/d", mode: live, schema: s, options: {password: "${secret:PW}"}}',
        "{type: postgres, uri: 'host=h dbname=d', every: 15m, stale: serve, timeout: 10m}",
        '{type: postgres, uri: "${secret:TMS}", connections: 8, retries: 0}',
        '{type: flightsql, uri: "grpc+tls://h:1", options: {token: "${secret:T}"}}',
        "{type: adbc, driver: adbc_driver_snowflake, options: {dialect: postgres}}",
        '{type: delta, path: "s3://bucket/t", timestamp: "2026-01-31T12:00:00Z"}',
        '{type: csv, path: "data/*.csv"}',
    ],
)
def test_what_is_right_is_no_problem(make_product: Make, product_yaml: str, source: str) -> None:
    """An author would be told to mend what is right."""
    text = product_yaml.replace("sources:\n", f"sources:\n  more: {source}\n", 1)
    assert [str(problem) for problem in examine(make_product({"product.yaml": text})).problems] == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{type: adbc, driver: d, options: {driver: /x.so}}", "options.driver is not for a manifest to give."),
        ("{type: flightsql, uri: 'grpc://h', options: {profile: x}}", "options.profile is not for a manifest to give."),
        ("{type: adbc, driver: d, uri: 'profile://x'}", "uri names a profile, a file of the machine."),
        ("{type: adbc, driver: adbc_driver_sqlite}", "driver: adbc_driver_sqlite opens any file of the machine."),
    ],
)
def test_a_manifest_does_not_choose_what_is_loaded(
    make_product: Make, product_yaml: str, source: str, problem: str
) -> None:
    """An author would learn of it when the product is served, without the place."""
    text = product_yaml.replace("sources:\n", f"sources:\n  more: {source}\n", 1)
    (found,) = examine(make_product({"product.yaml": text})).problems
    assert f"sources.more.{problem}" in str(found)


def test_only_a_database_lists_its_own_tables() -> None:
    """A model that reads tms.legs would be refused before the database was asked."""
    assert is_listed_at_build(Source(type="postgres"))
    assert not is_listed_at_build(Source(type="postgres", tables=("a",)))
    assert not is_listed_at_build(Source(type="csv"))


@pytest.mark.parametrize(
    ("uri", "is_open"),
    [
        ("postgresql://u:hunter2@h/d", True),
        ("postgresql://${secret:U}:hunter2@h/d", True),
        ("snowflake://u:hunter2@h/d", True),
        ("host=h password=hunter2", True),
        ("postgresql://u@h/d?password=hunter2", True),
        ("postgresql://u:${secret:PW}@h/d", False),
        ("host=h password=${secret:PW} dbname=d", False),
        ("host=h password='${secret:PW}'", False),
        ("postgresql://u@h:5432/d?options=a:b@c", False),
        ("${secret:TMS}", False),
    ],
)
def test_a_password_in_the_open_is_noticed_and_not_told(
    make_product: Make, product_yaml: str, uri: str, is_open: bool
) -> None:
    """It would go into version control without a word; or be printed by the check that warns of it."""
    kind = "adbc, driver: adbc_driver_x" if "snowflake" in uri else "postgres"
    text = product_yaml.replace("sources:\n", f'sources:\n  more: {{type: {kind}, uri: "{uri}"}}\n', 1)
    found = examine(make_product({"product.yaml": text}))
    assert found.problems == ()
    told = [str(notice) for notice in found.notices if "password" in str(notice)]
    assert ["sources.more.uri holds a password. Write ${secret:NAME}" in notice for notice in told] == [True] * is_open
    assert "hunter2" not in "".join(told)
