"""Where the short names of a statement are looked up: the session's defaults and its own temporary tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flightmesh.engine.base import Temporary
from flightmesh.names import fold

# Where DuckDB keeps temporary tables; ``temp.t`` and ``temp.main.t`` are their longer names.
CATALOG, SCHEMA = "temp", "main"


@dataclass(frozen=True, slots=True)
class Scope:
    """The default catalogue and schema, and the temporary tables by their folded names."""

    catalog: str | None = None
    schema: str | None = None
    temporaries: Mapping[str, Temporary] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str | None, ...]:
        """Equal keys give a text the same meaning."""
        if not self.temporaries:
            return (self.catalog, self.schema)
        return (self.catalog, self.schema, *sorted(table.version for table in self.temporaries.values()))

    def temporary(self, path: tuple[str, ...]) -> Temporary | None:
        """The temporary table that the written path names."""
        *before, name = map(fold, path)
        return self.temporaries.get(name) if before in ([], [CATALOG], [CATALOG, SCHEMA]) else None


def path_of(table: Temporary) -> tuple[str, str, str]:
    """The full path of a temporary table."""
    return (CATALOG, SCHEMA, table.name)


PUBLIC = Scope()
"""No defaults and no tables of one's own."""
