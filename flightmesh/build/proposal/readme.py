"""README of a new product: what it serves, what was guessed, what is left to people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flightmesh.build.proposal.contracts import FILL_IN, PII
from flightmesh.build.proposal.facts import Link, Table, Wide, words
from flightmesh.build.proposal.inputs import Input
from flightmesh.names import ProductName
from flightmesh.sources.secrets import VARIABLE_PREFIX


def readme_text(
    name: ProductName,
    inputs: Sequence[Input],
    tables: Sequence[Table],
    wide: Wide | None,
    notes: Sequence[str],
    *,
    is_accepted: bool,
) -> str:
    """The README in Markdown."""
    parts = [
        [f"# {name}", "", f"{FILL_IN} what this product is for, and for whom."],
        list(_sources(inputs)),
        list(_ports(tables, wide)),
        list(_serving(name, inputs, tables)),
        list(_personal(tables, wide, is_accepted=is_accepted)),
        list(_links(tables)),
        list(_left(notes, wide)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def rows_text(table: Table) -> str:
    """How many rows the table has, as far as they were read."""
    return f"{table.rows:,}" if table.is_whole else f"at least {table.rows:,}"


def variables(inputs: Sequence[Input]) -> list[str]:
    """The environment variables that the server needs for the product."""
    return [VARIABLE_PREFIX + each.secret[0] for each in inputs if each.secret]


def _sources(inputs: Sequence[Input]) -> Iterator[str]:
    yield "## Where it comes from"
    yield ""
    for each in inputs:
        where = "read when somebody asks, never copied" if each.is_live else f"copied to `{each.spec['path']}`"
        yield f"- `{each.name}`: {_cell(each.origin)}, {where}"


def _ports(tables: Sequence[Table], wide: Wide | None) -> Iterator[str]:
    yield "## Ports"
    yield ""
    yield "| port | rows | columns | key | leads to |"
    yield "|---|---|---|---|---|"
    for table in tables:
        key = ", ".join(f"`{_cell(column)}`" for column in table.key)
        if table.likely_key:
            key = f"not promised; probably {', '.join(f'`{_cell(column)}`' for column in table.likely_key)}"
        ports = ", ".join(dict.fromkeys(f"`{link.port}`" for link in table.links))
        yield f"| `{table.port}` | {rows_text(table)} | {len(table.columns)} | {key or 'none found'} | {ports} |"
    if wide is not None:
        fact = next(table for table in tables if table.port == wide.fact)
        joined = ", ".join(dict.fromkeys(f"`{join.port}`" for join in wide.joins))
        width = len(fact.columns) + sum(len(join.take) for join in wide.joins)
        key = ", ".join(f"`{_cell(column)}`" for column in fact.key) or "none found"
        yield f"| `{wide.port}` | as `{wide.fact}` | {width} | {key} | holds {joined} |"
    sampled = [table.port for table in tables if not table.is_whole]
    if sampled:
        listed = words(f"`{port}`" for port in sampled)
        yield ""
        yield f"Of {listed} only the first rows were read: counts and guesses for them rest on those rows."


def _serving(name: ProductName, inputs: Sequence[Input], tables: Sequence[Table]) -> Iterator[str]:
    yield "## Serve it"
    yield ""
    needed = variables(inputs)
    if needed:
        yield "The address of the database holds a password, so it stands in no file. Set before `check` and `serve`:"
        yield ""
    yield "```sh"
    yield from (f"export {variable}=..." for variable in needed)
    yield "flightmesh check ."
    yield "flightmesh serve --products ."
    yield f"flightmesh query 'SELECT count(*) FROM {name}.{tables[0].port}'"
    yield "```"


def _personal(tables: Sequence[Table], wide: Wide | None, *, is_accepted: bool) -> Iterator[str]:
    found = [(table, column) for table in tables for column in table.columns if column.personal]
    if not found:
        return
    yield "## Probably personal data"
    yield ""
    if is_accepted:
        yield f"These columns carry the tag `{PII}` and are NULL for everybody without the role `steward`:"
    else:
        yield (
            f"Nothing is masked yet. To mask these columns, take away the `#` before `tags: [{PII}]` in the contracts "
            "and before the mask in `product.yaml`:"
        )
    yield ""
    for table, column in found:
        assert column.personal is not None
        yield f"- `{table.port}.{_cell(column.name)}`: {column.personal.kind}, {column.personal.reason}"
    if wide is not None and {table.port for table, _ in found} & {wide.fact, *(join.port for join in wide.joins)}:
        yield ""
        yield f"Where `{wide.port}` shows one of them, its contract says so as well."


def _links(tables: Sequence[Table]) -> Iterator[str]:
    guessed = [(table, link) for table in tables for link in table.links if not link.is_declared]
    near = [(table, link) for table in tables for link in table.near]
    if not guessed and not near:
        return
    yield "## Links that were found in the rows"
    yield ""
    for table, link in guessed:
        yield f"- {_link(table, link)}: every value is there"
    for table, link in near:
        yield f"- {_link(table, link)}: {link.found:.1%} of its values are there, so it was not followed; a `join` can"


def _link(table: Table, link: Link) -> str:
    columns = ", ".join(map(_cell, link.columns))
    return f"`{table.port}` ({columns}) to `{link.port}` ({', '.join(map(_cell, link.referenced))})"


def _left(notes: Sequence[str], wide: Wide | None) -> Iterator[str]:
    left = [*notes]
    if wide is not None:
        left += [f"{wide.port} leaves out {each}." for each in wide.left_out]
    yield "## Left to you"
    yield ""
    yield f'- Search for "{FILL_IN}" in `product.yaml` and `contracts/`.'
    yield "- Say in `policies:` who may read what."
    yield from (f"- {_cell(each)}" for each in left)


def _cell(text: str) -> str:
    """The text within a line or a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("`", "'")
