"""Steps of low-code models together; each alone is a golden construct, in ``test_lowcode.py``."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tests.build.test_lowcode import run


def test_rows_keep_their_order_through_every_step_that_loses_it() -> None:
    """Two builds from equal files would publish rows in different orders, so that snapshots could not be compared."""
    n = 50_000
    many = pa.table({"n": range(n), "key": [(i * 7_919) % 1_013 for i in range(n)]})
    few = pa.table({"n": range(0, n, 500), "key": range(0, n // 500)})
    model: dict[str, Any] = {
        "from": "few",
        "union": ("few",),
        "dedupe": ("n",),
        "join": ({"from": "many", "on": "key", "take": {"other": "n"}},),
        "window": ({"by": ("key",), "order": "other", "measures": {"before": "lag(other)"}},),
        "rank": ({"name": "place", "by": ("key",), "order": {"other": "desc"}},),
    }
    tables: dict[tuple[str, ...], pa.Table] = {("many",): many, ("few",): few}
    matches: dict[int, list[int]] = {}
    for other, key in zip(*map(pa.ChunkedArray.to_pylist, (many["n"], many["key"])), strict=True):
        matches.setdefault(key, []).append(other)
    expected = []
    for index in range(n // 500):
        found = matches[index]
        for place, other in enumerate(found):
            before = found[place - 1] if place else None
            rest = {"other": other, "before": before, "place": len(found) - place}
            expected.append({"n": index * 500, "key": index, **rest})
    assert run(model, tables) == expected
    live = run(model, tables, is_live=True)
    assert sorted(map(str, live)) == sorted(map(str, expected))


def test_columns_named_like_the_helpers_are_the_authors() -> None:
    """A column called _row or _place would break the model, or be taken for the number of the row."""
    table = pa.table({"_row": [3, 1, 3], "_place": ["a", "b", "c"]})
    model = {"from": "t", "dedupe": ("_row",), "rank": ({"name": "_row_", "order": "_place"},)}
    assert run(model, {("t",): table}) == [
        {"_row": 3, "_place": "a", "_row_": 1},
        {"_row": 1, "_place": "b", "_row_": 2},
    ]


def test_union_may_repeat_a_name_only_of_relations() -> None:
    """Rows twice on purpose, and blocks that need the same name, must not clash."""
    model = {"from": "shops", "union": {"from": ("stalls", "shops"), "distinct": True}, "dedupe": ("city", "shop")}
    for is_live in (False, True):
        rows = run({**model, "unpivot": {"columns": ("city",), "name": "k", "value": "v"}}, is_live=is_live)
        assert sorted(row["shop"] for row in rows) == ["Markt", "Nord", "Süd", "West"]
