"""Live low-code models as statements for PostgreSQL: each golden construct is pushed whole, or refused for a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from flightmesh.build.lowcode import STEPS, lowcode_sql
from flightmesh.config import Limits
from flightmesh.product.model import Model
from tests.build.test_lowcode import CONSTRUCTS, TABLES, columns, golden
from tests.postgres import Postgres
from tests.sql.both_engines import BothEngines, both_engines

# Constructs that stay here, and why.
_REFUSED = {
    "derive": "upper has no proven equal",
    "every_step": "unpivot in FROM",
    "pivot_of_numbers": "list has no proven equal",
    "pivot_several_measures": "round of DOUBLE and INTEGER has no proven equal",
    "unpivot": "unpivot in FROM",
    "unpivot_after_dedupe": "unpivot in FROM",
    "unpivot_with_nulls": "unpivot in FROM",
    "window_last_known": "arg_max has no proven equal",
}
# What these use beyond the golden constructs is proven in words of its own. Texts sort by bytes: the database's own
# order has "ä" before "B".
_LETTERS = pa.table(
    {
        "id": [1, 2, 3, 4, 5, 6, 7],
        "letter": ["a", "B", "ä", "Z", "z", None, "a"],
        "group": ["x", "x", "x", "y", "y", "y", "X"],
        "cents": [1, 5, 3, 4, None, 4, 2],
    }
)
_MODELS: dict[str, dict[str, Any]] = {
    "keep": {"keep": {"Id": "id", "select": "letter"}},
    "cast": {"cast": {"id": "DOUBLE", "cents": "VARCHAR"}},
    "filter": {"filter": ("letter > 'B' OR letter IS NULL", "\"group\" <> 'X'")},
    "derive": {"derive": {"a": "cents * 2", "b": "a + 1", "c": "coalesce(letter, '?') || '!'"}},
    "dedupe": {"dedupe": ("group",)},
    "dedupe whole": {"keep": ("letter",), "dedupe": ("letter",)},
    "latest by text": {"latest": {"by": ("group",), "order": ("letter",)}},
    "latest of all by text": {"latest": {"order": ("letter", "cents")}},
    "rank by text": {"rank": ({"name": "place", "by": ("group",), "order": {"letter": "desc"}, "top": 2},)},
    "rank nulls first": {
        "rank": ({"name": "place", "order": {"letter": "asc nulls first"}, "method": "dense_rank"},),
    },
    "window by text": {
        "window": (
            {
                "by": ("group",),
                "order": "letter",
                "measures": {"before": "lag(letter)", "so_far": "sum(cents)", "least": "min(letter)"},
            },
            {"order": {"letter": "desc"}, "frame": {"preceding": 1, "following": "all"}, "measures": {"n": "count(*)"}},
            {"by": ("group",), "measures": {"share": "cents / sum(cents)"}},
        )
    },
    "join by text": {"join": ({"from": "other", "on": {"letter": "name"}, "take": ("worth",)},)},
    "inner join": {"join": ({"from": "other", "on": {"letter": "name"}, "take": ("worth",), "how": "inner"},)},
    "lookup": {"lookup": ({"from": "other", "on": {"letter": "name"}, "take": {"value": "worth"}},)},
    "union filled": {"union": {"from": ("other",), "fill": None, "label": "origin"}},
    "union distinct": {"keep": ("letter", "group"), "union": {"from": ("letters",), "distinct": True}},
    "aggregate by text": {
        "aggregate": {
            "by": ("letter",),
            "measures": {
                "n": "count(*)",
                "kinds": 'count(DISTINCT "group")',
                "most": 'max("group")',
                "known": "count(*) FILTER (WHERE cents IS NOT NULL)",
                "mean": "sum(cents) / count(cents)",
            },
        }
    },
    "aggregate whole": {"filter": "id < 0", "aggregate": {"measures": {"n": "count(*)", "total": "sum(cents)"}}},
    "pivot": {
        "pivot": {
            "on": "letter",
            "values": ("a", "B", "no \\ 'such"),
            "using": {"n": "count(*)", "total": "sum(cents)"},
            "by": ("group",),
        }
    },
    "pivot of numbers": {"pivot": {"on": "cents", "values": {"one": 1, "four": 4}, "using": {"n": "max(letter)"}}},
}

_ALL = {
    **TABLES,
    ("letters",): _LETTERS,
    ("other",): pa.table({"name": ["a", "Z", "ä", None], "worth": [10, 20, 30, 40]}),
}


@pytest.fixture(scope="module")
def engines(postgres: Postgres) -> Iterator[BothEngines]:
    """The tables of the golden constructs, in both engines."""
    with both_engines(postgres, "lowcode", {path[-1]: table for path, table in _ALL.items()}) as found:
        found.duck.execute("CREATE SCHEMA reference; CREATE VIEW reference.airlines AS FROM main.airlines")
        known = {table.path[-1]: table for table in found.tables}
        yield replace(found, tables=tuple(replace(known[path[-1]], path=path) for path in _ALL))


def _live(model: Model) -> str:
    return lowcode_sql("m", model, columns(_ALL), limits=Limits(), is_live=True).sql


def test_every_step_is_tried() -> None:
    """A step could be added that answers otherwise where it is pushed."""
    tried = {key for model in _MODELS.values() for key in model}
    assert tried | {"unpivot"} == {"union", *STEPS}


@pytest.mark.parametrize("name", _MODELS)
def test_a_step_over_letters_of_every_kind_is_pushed_whole_and_answers_alike(engines: BothEngines, name: str) -> None:
    """The latest row, a rank or a running total would follow the database's own order of letters."""
    outcome = engines.compare(_live(Model.model_validate({"from": "letters", **_MODELS[name]})))
    assert outcome.kind == "equal", outcome


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_golden_construct_is_pushed_whole_and_answers_alike(engines: BothEngines, name: str) -> None:
    """A live model would move whole tables, or give other rows than the page of low-code says."""
    outcome = engines.compare(_live(golden(name).model))
    if name in _REFUSED:
        assert outcome.kind == "refused"
        assert _REFUSED[name] in outcome.reason
    else:
        assert outcome.kind == "equal", outcome
