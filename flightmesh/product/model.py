"""The values of a data product: what a valid ``product.yaml`` says, as frozen types.

This room holds the vocabulary (ODPS words where they exist) and the shape of the author's file. It knows no engine, no
SQL parser and no disk layout beyond the product's own folder. ``manifest.py`` reads files into these types; nothing
else makes them from files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from flightmesh.names import nearest
from flightmesh.product.contract import DataContract
from flightmesh.product.document import Document
from flightmesh.product.problems import Problem

Status = Literal["draft", "active", "deprecated", "retired"]
Mode = Literal["snapshot", "live"]

# Where a key takes values of several shapes, the shape found decides which one was meant, so that an error speaks of
# that one alone. The tags are part of pydantic's error locations; no key of a file looks like them to a reader.


def _shape(value: object) -> str | None:
    shapes: dict[type, str] = {str: "<text>", tuple: "<list>", list: "<list>", dict: "<mapping>"}
    return "<mapping>" if isinstance(value, BaseModel) else shapes.get(type(value))


def _number(value: object) -> str | None:
    return {int: "<int>", float: "<float>"}.get(type(value))


def _scalar(value: object) -> str | None:
    return {str: "<text>", bool: "<bool>"}.get(type(value)) or _number(value)


def _rows(value: object) -> str | None:
    return "<text>" if value == "all" else "<int>" if type(value) is int else None


def _choice(of: Any, expected: str) -> Any:
    return Discriminator(of, custom_error_type="shape", custom_error_message=expected)


_Text = Annotated[str, Tag("<text>")]
_List = Annotated[tuple[str, ...], Tag("<list>")]
_Mapping = Annotated[Mapping[str, str], Tag("<mapping>")]
Names = Annotated[_Text | _List, _choice(_shape, "text or a list of texts")]
Columns = Annotated[_List | _Mapping, _choice(_shape, "a list of names or a mapping of new name to old name")]
Keys = Annotated[_Text | _List | _Mapping, _choice(_shape, "a name, a list of names or a mapping of names")]
Width = Annotated[
    Annotated[int, Field(gt=0), Tag("<int>")] | Annotated[float, Field(gt=0, allow_inf_nan=False), Tag("<float>")],
    _choice(_number, "a number"),
]
Constant = Annotated[
    _Text
    | Annotated[bool, Tag("<bool>")]
    | Annotated[int, Tag("<int>")]
    | Annotated[float, Field(allow_inf_nan=False), Tag("<float>")],
    _choice(_scalar, "text, a number, true or false"),
]
Direction = Literal["asc", "desc", "asc nulls first", "desc nulls first"]
Order = Annotated[
    _Text | _List | Annotated[Mapping[str, Direction], Tag("<mapping>")],
    _choice(_shape, "a name, a list of names or a mapping of names to asc or desc"),
]
Rows = Annotated[
    Annotated[int, Field(ge=0), Tag("<int>")] | Annotated[Literal["all"], Tag("<text>")],
    _choice(_rows, "a whole number or all"),
]
Values = Annotated[
    Annotated[tuple[Constant, ...], Tag("<list>")] | Annotated[Mapping[str, Constant], Tag("<mapping>")],
    _choice(_shape, "a list of values or a mapping of column name to value"),
]


def _null_is_a_word(value: object) -> object:
    # The author writes ``with: null``; YAML reads that as nothing.
    return "null" if value is None else value


# Where the key stands it says null, whose value YAML takes for none; without the key nothing is validated.
Fill = Annotated[Literal["null"] | None, BeforeValidator(_null_is_a_word)]


class Strict(BaseModel):
    """Base of every part of the manifest: closed (unknown keys are errors), strict in types, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_by_name=True, validate_by_alias=True)


class Owner(Strict):
    """Who answers for the product."""

    team: str = Field(description="The team that owns the product.")
    email: str | None = Field(default=None, description="Where the team reads mail.")
    escalation: str | None = Field(default=None, description="Where to turn when the team does not answer.")


class Source(Strict):
    """An existing system, read as it is."""

    type: Literal[
        "parquet", "csv", "json", "arrow", "sqlite", "postgres", "flightsql", "adbc", "delta", "iceberg", "flightmesh"
    ] = Field(description="The kind of the source.")
    path: str | None = Field(
        default=None,
        description="Files, SQLite, Delta, Iceberg: a file, a folder or a pattern (data/**/*.parquet) in the product's "
        "folder, or a URI of an object store (s3://bucket/prefix/*.parquet).",
    )
    uri: str | None = Field(default=None, description="Address of a database or server. Secrets as ${secret:NAME}.")
    driver: str | None = Field(default=None, description="adbc only: the name of its library or package.")
    schema_: str | None = Field(
        default=None,
        validation_alias="schema",
        serialization_alias="schema",
        description="Databases: the schema whose tables are meant; default the database's own.",
    )
    tables: tuple[str, ...] = Field(
        default=(), description="Databases: the tables to offer to the models, as source.table; default all."
    )
    options: Mapping[str, Constant] = Field(
        default={}, description="Options of the driver or the file system. Secrets as ${secret:NAME}."
    )
    version: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="delta, iceberg: the table's version or snapshot id to read; default the newest."
    )
    timestamp: str | None = Field(
        default=None, description="delta, iceberg: read the table as it was at this time (ISO 8601 with zone)."
    )
    types: Mapping[str, str] = Field(
        default={}, description="csv, json: column name to Arrow type name, where inference is wrong."
    )
    null_values: tuple[str, ...] = Field(default=("",), description="csv only: texts that mean NULL.")
    delimiter: str = Field(default=",", description="csv only: the column separator, one character.")
    mode: Mode = Field(
        default="snapshot", description="snapshot: read when the product is built; live: read at query time."
    )
    every: str | None = Field(default=None, description="How often a snapshot is renewed, for example 15m.")
    stale: Literal["refuse", "serve"] = Field(
        default="refuse",
        description="When a snapshot cannot be renewed: refuse reads, or serve the last one, marked stale.",
    )
    timeout: str = Field(
        default="4s",
        description="Databases, object stores: how long a read may wait for its next rows, for example 4s.",
    )
    connections: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4, description="Databases: most connections open at once."
    )
    retries: Annotated[int, Field(ge=0, le=5)] = Field(
        default=1, description="Databases, object stores: how often a read that failed at its start is tried again."
    )
    schema_drift: str | None = Field(default=None, description="What to do when the source's schema changes.")
    port: str | None = Field(default=None, description="flightmesh only: the port of the other product.")


class Join(Strict):
    """A join of a low-code model: rows of the other relation beside the rows of this one."""

    from_: str = Field(
        validation_alias="from", serialization_alias="from", description="The source table or model to join."
    )
    on: Keys = Field(
        description="Equal columns: a name, a list of names, or a mapping of this side's column to the other's."
    )
    take: Columns = Field(
        description="Columns to add: a list of names, or a mapping of new name to the other side's column."
    )
    how: Literal["left", "inner"] = Field(
        default="left", description="left keeps rows without a match; inner drops them."
    )


class Lookup(Strict):
    """A join that must find exactly one match for every row whose key is not NULL; the build names keys that fail."""

    from_: str = Field(
        validation_alias="from", serialization_alias="from", description="The source table or model to look up in."
    )
    on: Keys = Field(description="As in join.")
    take: Columns = Field(description="As in join.")


class Union(Strict):
    """Rows of other relations behind those of ``from``, columns by name. A list of relations stands for ``from``
    alone.
    """

    from_: tuple[str, ...] = Field(
        validation_alias="from", serialization_alias="from", description="The source tables or models to add, in order."
    )
    fill: Fill = Field(
        default=None, description="null: a column that a relation lacks is NULL there; default: it is a mistake."
    )
    distinct: bool = Field(default=False, description="Whether equal rows stay once.")
    label: str | None = Field(default=None, description="New column with the name of the relation a row came from.")


class Latest(Strict):
    """The row with the greatest order of each key; exactly one."""

    by: tuple[str, ...] = Field(default=(), description="Key columns; none makes one row of the whole.")
    order: Names = Field(
        description="Column that tells which row is the latest, and further ones for rows equal in it; NULL is least."
    )


class Unpivot(Strict):
    """Columns to rows: one row for each of the columns, beside all others."""

    columns: Columns = Field(description="Columns to turn into rows: a list, or a mapping of text in name to column.")
    name: str = Field(description="New column that holds which column a row came from.")
    value: str = Field(description="New column that holds its value.")
    keep_nulls: bool = Field(default=False, description="Whether a value that is NULL makes a row.")


class Frame(Strict):
    """Which rows a window measure sees, counted from each row in the window's order."""

    preceding: Rows = Field(default="all", description="Rows before: a number or all.")
    following: Rows = Field(default=0, description="Rows after: a number or all.")


class Window(Strict):
    """Measures over the rows around each row. Every row stays."""

    by: tuple[str, ...] = Field(default=(), description="Columns of the groups; none makes one group of the whole.")
    order: Order = Field(
        default=(),
        description="Order inside a group: columns, or a mapping of column to direction. Without it a measure sees the "
        "whole group.",
    )
    frame: Frame | None = Field(default=None, description="Default with an order: all rows up to this one.")
    measures: Mapping[str, str] = Field(
        description="New column to SQL expression; its calls of aggregate and window functions see the frame."
    )


class Rank(Strict):
    """A new column that numbers the rows of each group in an order."""

    name: str = Field(description="The new column.")
    by: tuple[str, ...] = Field(default=(), description="Columns of the groups; none makes one group of the whole.")
    order: Order = Field(description="Columns to rank by, or a mapping of column to direction; NULL comes last.")
    method: Literal["row_number", "rank", "dense_rank"] = Field(
        default="row_number",
        description="Equal rows: row_number counts on; rank gives one number, then skips; dense_rank does not skip.",
    )
    top: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Keep rows up to this number alone.")


class Aggregate(Strict):
    """Groups and measures of a low-code model."""

    by: tuple[str, ...] = Field(default=(), description="Columns to group by; none makes one row of the whole.")
    measures: Mapping[str, str] = Field(description="Name of the measure to its SQL expression.")


class Pivot(Strict):
    """Rows to columns: one row per group, and a column for each of the values and each measure."""

    on: str = Field(description="The column whose values become columns.")
    values: Values = Field(
        description="The values, which are the columns' names; or a mapping of column name to value. Other values are "
        "left out."
    )
    using: Mapping[str, str] = Field(
        description="Measures over the rows of a value, name to SQL expression. With several a column is named "
        "value_measure."
    )
    by: tuple[str, ...] = Field(default=(), description="Columns to group by; none makes one row of the whole.")


Appended = Annotated[
    _List | Annotated[Union, Tag("<mapping>")], _choice(_shape, "a list of relations or a mapping with from")
]


class Materialize(Strict):
    """How a model is kept."""

    as_: Literal["snapshot", "view"] = Field(
        default="snapshot", validation_alias="as", serialization_alias="as", description="Files, or computed when read."
    )
    incremental_by: str | None = Field(default=None, description="The column by which new rows are told from old ones.")
    keep: str | None = Field(default=None, description="How many versions stay, for example 30 versions.")


class Model(Strict):
    """One relation built from sources and other models: low-code (``from``), ``sql`` or ``python``; exactly one of the
    three.

    Low-code steps apply in this fixed order, whatever their order in the file: from, union, keep, cast, filter, derive,
    dedupe, latest, unpivot, join, lookup, window, rank, aggregate, pivot.
    """

    description: str | None = Field(default=None, description="What the model holds.")
    from_: str | None = Field(
        default=None,
        validation_alias="from",
        serialization_alias="from",
        description="Low-code: the source table or model to start from.",
    )
    union: Appended | None = Field(
        default=None, description="Low-code: relations whose rows are added: a list, or a mapping with more to say."
    )
    keep: Columns | None = Field(
        default=None,
        description="Low-code: columns to keep, a list of names or a mapping of new name to old; default all.",
    )
    cast: Mapping[str, str] = Field(default={}, description="Low-code: column name to SQL type.")
    filter: Names | None = Field(default=None, description="Low-code: SQL predicates; rows keep that pass all.")
    derive: Mapping[str, str] = Field(
        default={}, description="Low-code: new column to SQL expression over the columns so far."
    )
    dedupe: tuple[str, ...] = Field(default=(), description="Low-code: key columns; the first row of each key stays.")
    latest: Latest | None = Field(default=None, description="Low-code: the latest row of each key.")
    unpivot: Unpivot | None = Field(default=None, description="Low-code: columns to rows.")
    join: tuple[Join, ...] = Field(default=(), description="Low-code: joins, in order.")
    lookup: tuple[Lookup, ...] = Field(default=(), description="Low-code: look-ups, in order.")
    window: tuple[Window, ...] = Field(default=(), description="Low-code: measures over the rows around each row.")
    rank: tuple[Rank, ...] = Field(default=(), description="Low-code: numbers of rows in an order.")
    aggregate: Aggregate | None = Field(default=None, description="Low-code: groups and measures.")
    pivot: Pivot | None = Field(default=None, description="Low-code: rows to columns.")
    sql: str | None = Field(default=None, description="One SELECT in DuckDB's dialect over sources and models.")
    python: str | None = Field(default=None, description="path/to/file.py:function, LazyFrames in, LazyFrame out.")
    inputs: tuple[str, ...] = Field(
        default=(), description="python only: sources and models handed to the function, in order."
    )
    materialize: Materialize | None = Field(default=None, description="How the model is kept.")


class PortVersion(Strict):
    """A major version of a port."""

    current: bool = Field(default=False, description="Whether the port's plain name means this version.")
    model: str | None = Field(default=None, description="The model of an older version.")
    deprecated: str | None = Field(default=None, description="Since when consumers are asked to move on.")
    retire: str | None = Field(default=None, description="When the version goes.")
    notice: str | None = Field(default=None, description="What changed, for those who have to move.")


class Port(Strict):
    """What consumers may touch: a model under a contract. Everything else of a product is private."""

    model: str = Field(description="The model that the port shows.")
    contract: str = Field(description="The ODCS contract, a file relative to the product's folder.")
    versions: Mapping[str, PortVersion] = Field(default={}, description="Major versions of the port.")
    accelerate: Literal["auto", "arrow", "duckdb", "none"] = Field(
        default="auto", description="Which extra file is kept for speed."
    )
    ingest: Any = Field(default=None, description="Writable ports.")


class Grant(Strict):
    """Who may read a port. Without a grant a port does not exist for a principal."""

    grant: Literal["read", "run"] = Field(description="What is granted.")
    port: str | None = Field(default=None, description="The port, or * for all.")
    algorithm: str | None = Field(default=None, description="The algorithm, or * for all.")
    to: Names = Field(description='role:NAME, user:NAME, "*" (anyone signed in) or anonymous.')
    min_group: int | None = Field(default=None, description="Smallest group that a result may show.")


class RowFilter(Strict):
    """Which rows of a port a principal may see: a predicate over the port's columns; ``:user.name`` is the user's
    attribute.
    """

    rows: str = Field(description="SQL predicate over the columns of the port.")
    of: str = Field(description="The port.")
    for_: str | None = Field(
        default=None,
        validation_alias="for",
        serialization_alias="for",
        description="role:NAME: binds that role alone. Default: everybody.",
    )
    unless: Names = Field(default=(), description="role:NAME, or several: whoever holds one is free of the filter.")


class MaskBy(Strict):
    """A mask with a parameter; exactly one of the three."""

    band: Width | None = Field(default=None, description="Numbers: lower bound of the band of this width.")
    first: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Text: the first n characters.")
    constant: Constant | None = Field(default=None, description="This value in every row.")


def _mask(value: object) -> str | None:
    if isinstance(value, MaskBy | dict):
        return "<by>"
    return "<word>" if isinstance(value, str) else None


MaskWord = Literal["drop", "null", "hmac", "year", "month"]
MaskWith = Annotated[
    Annotated[MaskWord, Tag("<word>")] | Annotated[MaskBy, Tag("<by>")],
    _choice(_mask, "drop, null, hmac, year, month, or a mapping with one of band, first, constant"),
    BeforeValidator(_null_is_a_word),
]


class MaskRule(Strict):
    """Which columns are masked, by name or by tag, and how."""

    column: str | None = Field(default=None, description="The column's name. Either column or tag.")
    tag: str | None = Field(default=None, description="Every column that carries this tag in the contract.")
    with_: MaskWith = Field(validation_alias="with", serialization_alias="with", description="How it is masked.")


class ColumnMask(Strict):
    """How columns look to a principal. A mask never changes a column's type; ``drop`` takes the column away."""

    mask: MaskRule = Field(description="Which columns, and how.")
    of: str | None = Field(default=None, description="The port; without it every port of the product.")
    for_: str | None = Field(
        default=None,
        validation_alias="for",
        serialization_alias="for",
        description="role:NAME: binds that role alone. Default: everybody.",
    )
    unless: Names = Field(default=(), description="role:NAME, or several: whoever holds one is free of the mask.")


Policy = Grant | RowFilter | ColumnMask

POLICY_TAGS = {"grant": "<grant>", "rows": "<rows>", "mask": "<mask>"}
# Keys that tell which policy was meant when its first word is missing or misspelt.
_TELLING = {"to": "grant", "min_group": "grant", "column": "mask", "tag": "mask", "with": "mask"}


def _policy(value: object) -> str | None:
    if not isinstance(value, dict):
        kinds: dict[type, str] = {Grant: "<grant>", RowFilter: "<rows>", ColumnMask: "<mask>"}
        return kinds.get(type(value))
    keys = [str(key) for key in value]
    words = [word for word in POLICY_TAGS if word in keys]
    words += [word for key in keys if (word := nearest(key, POLICY_TAGS)) is not None]
    words += [_TELLING[key] for key in keys if key in _TELLING]
    return POLICY_TAGS[words[0]] if words else None


AnyPolicy = Annotated[
    Annotated[Grant, Tag("<grant>")] | Annotated[RowFilter, Tag("<rows>")] | Annotated[ColumnMask, Tag("<mask>")],
    _choice(_policy, "a mapping with one of grant, rows, mask"),
]


class DataProduct(Strict):
    """A whole ``product.yaml``."""

    flightmesh: Literal["v1"] = Field(description="Version of the manifest format.")
    product: str = Field(description="domain.name: Flight SQL catalogue and schema.")
    version: str = Field(description="Semantic version of the product.")
    status: Status = Field(default="active", description="Where the product stands in its life.")
    title: str = Field(description="One line for people.")
    description: str | None = Field(default=None, description="What the product is for.")
    grain: str | None = Field(default=None, description="What one row is, shown beside every count.")
    owner: Owner = Field(description="Who answers for the product.")
    tags: tuple[str, ...] = Field(default=(), description="Words to find the product by.")
    sources: Mapping[str, Source] = Field(description="Existing systems.")
    models: Mapping[str, Model] = Field(description="Relations built from the sources.")
    ports: Mapping[str, Port] = Field(description="What consumers may read.")
    policies: tuple[AnyPolicy, ...] = Field(default=(), description="Who may read what. Deny by default.")
    # Accepted by the schema, active in later versions: ``check`` says so plainly.
    quality: Any = Field(default=None, description="Checks on top of those in the contracts.")
    algorithms: Any = Field(default=None, description="Code that runs next to the data.")
    apps: Any = Field(default=None, description="Pages for people who do not write code.")
    exposures: Any = Field(default=None, description="Known consumers.")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A product as read from its folder: the manifest, its contracts by port, and the folder they came from.

    ``document`` tells where in the manifest a value stands; ``notices`` says what is accepted and not active, or worth
    a second look.
    """

    folder: Path
    product: DataProduct
    contracts: Mapping[str, DataContract]
    document: Document | None = field(default=None, repr=False, compare=False)
    notices: tuple[Problem, ...] = ()
