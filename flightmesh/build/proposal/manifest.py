"""``product.yaml`` of a new product: sources, a model and a port for each table, the wide model, policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flightmesh.build.proposal.contracts import FILL_IN, PII
from flightmesh.build.proposal.emit import block, flow, remark
from flightmesh.build.proposal.facts import Table, Wide, words
from flightmesh.build.proposal.inputs import Input
from flightmesh.names import ProductName

_MASK = '{mask: {tag: pii, with: null}, unless: "role:steward"}'


@dataclass(frozen=True, slots=True)
class About:
    """What only people know of a product; None is left to be filled in."""

    title: str | None = None
    team: str | None = None
    email: str | None = None


def manifest_text(
    name: ProductName,
    about: About,
    inputs: Sequence[Input],
    tables: Sequence[Table],
    wide: Wide | None,
    *,
    is_accepted: bool,
) -> str:
    """The manifest. ``is_accepted`` makes the proposed mask of personal data real."""
    sections = [
        list(_head(name, about, [each.origin for each in inputs])),
        ["sources:", *_sources(inputs)],
        ["models:", *_models(tables, wide)],
        ["ports:", *_ports(tables, wide)],
        ["policies:", *_policies(tables, is_accepted=is_accepted)],
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def contract_file(port: str) -> str:
    """The file of a port's contract, relative to the product's folder."""
    return f"contracts/{port}.odcs.yaml"


def wide_model(wide: Wide, tables: Mapping[str, Table]) -> dict[str, object]:
    """The wide model as low-code."""
    joins = [
        {"from": _relation(tables[join.port]), "on": _keys(join.on), "take": dict(join.take)} for join in wide.joins
    ]
    return {"from": _relation(tables[wide.fact]), "join": joins}


def _relation(table: Table) -> str:
    """What other models read: the source's table where the model shows it as it is, so that a narrowed read of the
    wide model is a narrowed read of the source; else the model.
    """
    relation = ".".join(table.source)
    return relation if dict(table.model) == {"from": relation} else table.port


def _keys(on: Mapping[str, str]) -> object:
    if all(this == other for this, other in on.items()):
        return next(iter(on)) if len(on) == 1 else list(on)
    return dict(on)


def _head(name: ProductName, about: About, origins: Sequence[str]) -> Iterator[str]:
    yield "# Drawn up by `flightmesh init`: a beginning, not a verdict. `flightmesh check` says what an edit breaks."
    head = {
        "flightmesh": "v1",
        "product": str(name),
        "version": "0.1.0",
        "status": "draft",
        "title": about.title or f"{FILL_IN} one line about {name}",
        "description": f"{FILL_IN} what this product is for. It was drawn up from {words(origins)}.",
        "owner": {"team": about.team or f"{FILL_IN} the team that answers for it"}
        | ({"email": about.email} if about.email else {}),
    }
    yield from block(head)


def _sources(inputs: Sequence[Input]) -> Iterator[str]:
    for each in inputs:
        yield f"  {each.name}: {remark(each.origin)}"
        yield from block(each.spec, 4)


def _models(tables: Sequence[Table], wide: Wide | None) -> Iterator[str]:
    for table in tables:
        yield from _short(table.port, table.model)
    if wide is not None:
        yield ""
        yield f"  # As many rows as {wide.fact}, each with those that its foreign keys lead to."
        yield f"  {wide.port}:"
        yield from block(wide_model(wide, {table.port: table for table in tables}), 4)


def _ports(tables: Sequence[Table], wide: Wide | None) -> Iterator[str]:
    for port in [*(table.port for table in tables), *([wide.port] if wide else [])]:
        yield from _short(port, {"model": port, "contract": contract_file(port)})


def _short(name: str, value: Mapping[str, object]) -> Iterator[str]:
    yield from block({name: value}, 2)


def _policies(tables: Sequence[Table], *, is_accepted: bool) -> Iterator[str]:
    yield "  # Everybody may read everything. Narrow it before others can reach the server."
    yield f"  - {flow({'grant': 'read', 'port': '*', 'to': ['*', 'anonymous']})}"
    if not any(column.personal for table in tables for column in table.columns):
        return
    if is_accepted:
        yield f"  # Columns tagged {PII} in the contracts are NULL for everybody but stewards."
        yield f"  - {_MASK}"
        return
    yield f"  # Proposed: columns tagged {PII} become NULL for everybody but stewards. The tags are proposed in the"
    yield "  # contracts; take the # away there first, then here."
    yield f"  # - {_MASK}"
