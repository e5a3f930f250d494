"""The private half of a Surface: what of a product is computed when it is read, under names that nobody can guess.

A live product's tables, the relations kept for it and its models become views of a database of their own; the public
secure views stand on them. Text alone is written here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from flightmesh.catalog.snapshot import LiveModel, LivePart, ProductSnapshot, Relation
from flightmesh.engine.base import LiveScan, PolarsModel, PolarsScan, Scan
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import fold, folded, quote
from flightmesh.sources.registry import SourceRef
from flightmesh.sql.compose import compose

# What inlining may grow to before a statement is no longer worth pushing whole.
INLINED_CHARACTERS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Private:
    """The private database of one product in one instance: how it is made, which scans it reads, and which of them a
    model may come to read.
    """

    alias: str
    ddl: tuple[str, ...]
    scans: Mapping[str, Scan]
    needs: Mapping[str, tuple[str, ...]]

    def relation(self, model: str) -> str:
        """The model's view, in SQL."""
        return ".".join(map(quote, _place(self.alias, (model,))))


def private(product: ProductSnapshot, data_alias: str | None, secret: str) -> Private:
    """The private database of a live product. ``data_alias`` is the name of the attached file with what was kept.

    Names follow from ``secret``: a plan names scans, and may be made anew while its instance stays.
    """
    assert product.live is not None
    maker = _Maker(product, product.live, _hidden("live", secret, str(product.name)), data_alias, secret)
    maker.make()
    return Private(maker.alias, tuple(maker.ddl), maker.scans, {model: tuple(n) for model, n in maker.needs.items()})


@dataclass(slots=True)
class _Maker:
    """Private under construction. ``needs`` are the scans behind each relation by its folded path."""

    product: ProductSnapshot
    live: LivePart
    alias: str
    data_alias: str | None
    secret: str
    ddl: list[str] = field(default_factory=list)
    scans: dict[str, Scan] = field(default_factory=dict)
    behind: dict[Relation, dict[str, None]] = field(default_factory=dict)
    needs: dict[str, dict[str, None]] = field(default_factory=dict)

    def make(self) -> None:
        relations = [*self.live.tables, *self.live.kept]
        schemas = dict.fromkeys(_place(self.alias, path)[1] for path in relations if len(path) > 1)
        self.ddl += [f"ATTACH ':memory:' AS {quote(self.alias)}"]
        self.ddl += [f"CREATE SCHEMA {quote(self.alias)}.{quote(schema)}" for schema in schemas]
        for path, table in self.live.tables.items():
            source = SourceRef(str(self.product.name), path[0], self.live.folder, self.product.product.sources[path[0]])
            self.scan(path, LiveScan(table.schema, source, path))
        for path, kept in self.live.kept.items():
            assert self.data_alias is not None
            self.view(path, f"SELECT * FROM {quote(self.data_alias)}.main.{quote(kept)}")
            self.behind[folded(path)] = {}
        for model in self.live.models:
            self.model(model)

    def model(self, model: LiveModel) -> None:
        path = (model.name,)
        found = {scan: None for read in model.reads for scan in self.behind[folded(read)]}
        if model.python is not None:
            assert model.schema is not None
            file, _, function = model.python.rpartition(":")
            inputs = tuple(".".join(map(quote, _place(self.alias, read))) for read in model.reads)
            code = PolarsModel(model.name, self.live.folder, file, function)
            self.scan(path, PolarsScan(model.schema, code, inputs))
            found |= self.behind[folded(path)]
        else:
            assert model.sql is not None
            self.view(path, compose(model.sql, {folded(read): _place(self.alias, read) for read in model.reads}))
        self.behind[folded(path)] = self.needs[model.name] = found

    def scan(self, path: Relation, scan: Scan) -> None:
        name = _hidden("scan", self.secret, str(self.product.name), *path)
        self.scans[name] = scan
        self.behind[folded(path)] = {name: None}
        self.view(path, f"SELECT * FROM temp.main.{quote(name)}")

    def view(self, path: Relation, query: str) -> None:
        self.ddl.append(f"CREATE VIEW {'.'.join(map(quote, _place(self.alias, path)))} AS {query}")


def inlined(live: LivePart, model: str) -> str:
    """The model as one SELECT over tables of live sources alone, which stand under their paths behind ``live``.

    UNSUPPORTED, with the reason, where that is not possible.
    """
    texts: dict[Relation, str | Relation] = {path: remote_path(path) for path in live.tables}
    known = {folded(path): text for path, text in texts.items()}
    for entry in live.models:
        if entry.sql is None:
            known[folded((entry.name,))] = ""
            continue
        parts = {folded(read): known.get(folded(read), "") for read in entry.reads}
        # What reads rows that were kept, or a Polars model, is computed here.
        known[(fold(entry.name),)] = "" if "" in parts.values() else compose(entry.sql, parts)
        if len(known[(fold(entry.name),)]) > INLINED_CHARACTERS_MAX:
            raise FlightmeshError(ErrorCode.UNSUPPORTED, "the models behind it are too long as one statement")
    text = known[(fold(model),)]
    if not isinstance(text, str) or not text:
        raise FlightmeshError(ErrorCode.UNSUPPORTED, "a model behind it reads more than tables of live databases")
    return text


def remote_path(path: Relation) -> Relation:
    """The name of a live table in an inlined statement."""
    return ("live", path[0], ".".join(path[1:]))


def _hidden(kind: str, *parts: str) -> str:
    """A name that nobody can guess who does not know the parts."""
    return f"{kind}_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"


def _place(alias: str, path: Relation) -> Relation:
    """The three-part name of a relation in the private database."""
    return (alias, "main", path[0]) if len(path) == 1 else (alias, path[0], ".".join(path[1:]))
