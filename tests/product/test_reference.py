"""``flightmesh.product.reference``: what editors and readers are told is what the loader does."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs

from flightmesh.product.document import parse, read
from flightmesh.product.inactive import ACTIVE_SOURCES
from flightmesh.product.reference import json_schema, reference_markdown, sources_markdown
from flightmesh.product.schema import keys, places
from flightmesh.product.source_checks import keys_of


def test_the_schema_for_editors_accepts_what_the_loader_accepts(product_yaml: str) -> None:
    """An editor would underline a manifest that is right."""
    validator = jsonschema_rs.validator_for(json_schema())
    example, _ = read(Path(__file__).parent / "worked_example", "product.yaml")
    document, _ = parse(product_yaml.replace("{band: 5}", "null").encode(), "f")
    assert example is not None
    assert document is not None
    assert [error.message for error in validator.iter_errors(example.value)] == []
    assert [error.message for error in validator.iter_errors(document.value)] == []
    assert not validator.is_valid({**document.value, "titel": "x"})
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_the_reference_names_every_key() -> None:
    """A key would exist that no page tells of."""
    page = reference_markdown()
    assert all(f"\n| `{key}` |" in page for kind in places().values() for key in keys(kind))
    assert "\n| `every` | text |  | yes |" in page
    assert "\n| `incremental_by` | text |  | not yet |" in page
    assert "`sqlite`, `postgres`," in page


def test_the_page_of_sources_names_every_active_kind() -> None:
    """A kind would exist that no page tells of; or a page would offer keys that are refused."""
    page = sources_markdown()
    for kind in ACTIVE_SOURCES:
        section = page.split(f"\n## {kind}\n", 1)[1].split("\n## ", 1)[0]
        assert [f"| `{key}` |" in section for key in keys_of(kind)] == [True] * len(keys_of(kind))
    assert "| `path` |" not in page.split("\n## postgres\n", 1)[1].split("\n## ", 1)[0]


def test_every_key_has_a_meaning() -> None:
    """The page would hold a key without a word on it."""
    assert [
        line for line in reference_markdown().splitlines() if line.startswith("| `") and line.endswith("|  |")
    ] == []
