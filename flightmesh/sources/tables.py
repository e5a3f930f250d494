"""The tables of a database by path: opened when looked up, listed only when somebody goes through them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from flightmesh.sources.base import Path

Table = TypeVar("Table")


class Tables(Mapping[Path, Table], Generic[Table]):
    """The tables that the manifest names; without names all that ``listed`` gives, asked once for each walk through.

    Looking a table up reaches out to nothing: without names in the manifest, whether there is one shows when it is
    asked for its schema.
    """

    def __init__(
        self, source: str, named: tuple[str, ...], listed: Callable[[], list[str]], opened: Callable[[str], Table]
    ) -> None:
        self.opened: dict[Path, Table] = {}
        self._source = source
        self._named = named
        self._listed = listed
        self._open = opened
        self._lock = threading.Lock()

    def __getitem__(self, path: Path) -> Table:
        if len(path) != 2 or path[0] != self._source or (self._named and path[1] not in self._named):
            raise KeyError(path)
        with self._lock:
            if path not in self.opened:
                self.opened[path] = self._open(path[1])
            return self.opened[path]

    def __iter__(self) -> Iterator[Path]:
        return iter([(self._source, name) for name in self._named or self._listed()])

    def __len__(self) -> int:
        return len(self._named or self._listed())
