"""When databases are read again for their snapshots: when it is time or somebody asks, and at no other start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from flightmesh.build.renewal import Renewal
from flightmesh.product.model import DataProduct


@dataclass
class _Table:
    """A table of a database, which has no hash of its content, or of a file, which has."""

    print: str | None = None

    def schema(self) -> pa.Schema:
        return pa.schema([])

    def read(self) -> pa.RecordBatchReader:
        raise AssertionError("a fingerprint reads nothing")

    def fingerprint(self) -> str | None:
        return self.print


class _Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    """A clock that tests set."""
    return _Clock()


def _product(every: str | None = "1h", **more: object) -> DataProduct:
    source = {"type": "postgres", "uri": "postgresql://h/d", "every": every, **more}
    manifest = {
        "flightmesh": "v1", "product": "lab.samples", "version": "1.0.0", "title": "S", "owner": {"team": "lab"},
        "sources": {"tms": {key: value for key, value in source.items() if value is not None}},
        "models": {"m": {"from": "tms.legs"}}, "ports": {"m": {"model": "m", "contract": "m.odcs.yaml"}},
    }  # fmt: skip
    return DataProduct.model_validate_json(json.dumps(manifest))


PATH = ("tms", "legs")


def test_a_file_is_known_by_its_content(clock: _Clock) -> None:
    """What has a hash is read when it changes and never because of a time."""
    assert Renewal(clock=clock).fingerprint(_product(), PATH, _Table("abc")) == "abc"


def test_a_snapshot_stays_until_its_time_is_over(clock: _Clock, tmp_path: Path) -> None:
    """Each reload, and each restart, would else read whole databases."""
    renewal = Renewal(tmp_path / "renewals.json", clock=clock)
    renewal.begin(is_forced=False)
    first = renewal.fingerprint(_product(), PATH, _Table())
    assert renewal.fingerprint(_product(), ("tms", "carriers"), _Table()) == first
    renewal.done("lab.samples")
    clock.now += 3_599
    again = Renewal(tmp_path / "renewals.json", clock=clock)
    again.begin(is_forced=False)
    assert again.fingerprint(_product(), PATH, _Table()) == first
    clock.now += 1
    second = again.fingerprint(_product(), PATH, _Table())
    assert second != first
    assert again.fingerprint(_product(), ("tms", "carriers"), _Table()) == second


def test_without_a_time_it_stays_until_asked(clock: _Clock) -> None:
    """``every`` left out means on demand: a year later it is the same snapshot, until somebody asks for a new one."""
    renewal, product = Renewal(clock=clock), _product(None)
    first = renewal.fingerprint(product, PATH, _Table())
    renewal.done("lab.samples")
    clock.now += 365 * 86_400
    renewal.begin(is_forced=False)
    assert renewal.fingerprint(product, PATH, _Table()) == first
    renewal.begin(is_forced=True)
    second = renewal.fingerprint(product, PATH, _Table())
    assert second != first
    assert renewal.fingerprint(product, PATH, _Table()) == second


def test_a_build_that_failed_is_tried_again(clock: _Clock) -> None:
    """A renewal that did not succeed must not count: the rows are still the old ones."""
    renewal = Renewal(clock=clock)
    first = renewal.fingerprint(_product(), PATH, _Table())
    renewal.done("lab.samples")
    clock.now += 3_600
    renewal.begin(is_forced=False)
    failed = renewal.fingerprint(_product(), PATH, _Table())
    clock.now += 15
    renewal.begin(is_forced=False)
    assert renewal.fingerprint(_product(), PATH, _Table()) not in (first, failed)


def test_another_address_is_another_snapshot(clock: _Clock) -> None:
    """What is read changes with the source's words; how patiently it is read does not."""
    renewal = Renewal(clock=clock)
    first = renewal.fingerprint(_product(), PATH, _Table())
    renewal.done("lab.samples")
    clock.now += 1
    patient = _product("2h", timeout="1s", retries=0, stale="serve")
    assert renewal.fingerprint(patient, PATH, _Table()) == first
    assert renewal.fingerprint(_product(uri="postgresql://other/d"), PATH, _Table()) != first


def test_products_are_kept_apart(clock: _Clock) -> None:
    """Two products on one database have snapshots of their own; one name may begin like another."""
    renewal, other = Renewal(clock=clock), _product().model_copy(update={"product": "lab.samples2"})
    first = renewal.fingerprint(_product(), PATH, _Table())
    renewal.fingerprint(other, PATH, _Table())
    renewal.done("lab.samples")
    clock.now += 10
    renewal.begin(is_forced=False)
    assert renewal.fingerprint(_product(), PATH, _Table()) == first
    assert renewal.fingerprint(other, PATH, _Table()) != first


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", "{", '{"lab.samples/tms": "soon abc"}', '{"lab.samples/tms": 5}', '{"lab.samples/tms": null}'],
)
def test_a_broken_file_costs_one_reading(clock: _Clock, tmp_path: Path, content: str) -> None:
    """A disk that was full must not keep a product from being served."""
    file = tmp_path / "renewals.json"
    file.write_text(content)
    renewal = Renewal(file, clock=clock)
    assert renewal.fingerprint(_product(), PATH, _Table()).startswith("taken:1000.000 ")
    renewal.done("lab.samples")
    assert set(json.loads(file.read_bytes())) == {"lab.samples/tms"}
