"""Tables of sources as lineage names them: the same table has one name everywhere, and no secret is in it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from flightmesh.product.model import Source
from flightmesh.sources.naming import Dataset, dataset

LEGS = ("tms", "legs")


def _postgres(uri: str, **more: str) -> dict[str, object]:
    return {"type": "postgres", "uri": uri, **more}


def _dataset(path: tuple[str, ...], keys: Mapping[str, object]) -> Dataset:
    return dataset("lab.samples", path[0], Source.model_validate(keys), path)


@pytest.mark.parametrize(
    ("keys", "path", "namespace", "name"),
    [
        (_postgres("postgresql://u:pw@db.lab:6543/tms"), LEGS, "postgres://db.lab:6543", "tms.public.legs"),
        (_postgres("postgresql://db.lab/tms", schema="ops"), LEGS, "postgres://db.lab:5432", "tms.ops.legs"),
        (_postgres("postgresql://${secret:U}:${secret:PW}@db/tms"), LEGS, "postgres://db:5432", "tms.public.legs"),
        (_postgres("${secret:URI}"), LEGS, "flightmesh:lab.samples", "tms.legs"),
        (_postgres("postgresql://u@${secret:HOST}/tms"), LEGS, "flightmesh:lab.samples", "tms.legs"),
        (_postgres("postgresql://db/${secret:DB}"), LEGS, "postgres://db:5432", "public.legs"),
        (_postgres("postgresql://db:port/tms"), LEGS, "flightmesh:lab.samples", "tms.legs"),
        ({"type": "flightsql", "uri": "grpc+tls://mesh:8815"}, ("stock", "a.b.c"), "grpc+tls://mesh:8815", "a.b.c"),
        ({"type": "parquet", "path": "s3://iot/logger/*.parquet"}, ("logger",), "s3://iot", "logger/*.parquet"),
        ({"type": "parquet", "path": "s3://key:secret@iot/x.parquet"}, ("logger",), "s3://iot", "x.parquet"),
        ({"type": "parquet", "path": "data/x.parquet"}, ("x",), "flightmesh:lab.samples", "x:data/x.parquet"),
        ({"type": "sqlite", "path": "data/t.sqlite"}, LEGS, "flightmesh:lab.samples", "tms.legs:data/t.sqlite"),
        ({"type": "parquet", "path": "s3://io[t/x.parquet"}, ("x",), "flightmesh:lab.samples", "x:s3://io[t/x.parquet"),
    ],
)  # fmt: skip
def test_names(keys: Mapping[str, object], path: tuple[str, ...], namespace: str, name: str) -> None:
    """Two products on one table must name it alike for lineage to join them; users and passwords are left out."""
    assert _dataset(path, keys) == Dataset(namespace, name)


def test_no_password_in_any_name() -> None:
    """Whatever the address looks like, what stands before the @ does not come out."""
    for uri in ("postgresql://u:p%40ss@h/d", "postgresql://u:hunter2@h:1/d", "postgresql://hunter2@h/d"):
        found = _dataset(LEGS, _postgres(uri))
        assert "hunter2" not in str(found)
        assert "p%40ss" not in str(found)
