"""A bounded map for hints: losing an entry costs time, never correctness."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Keeps the values used last, up to a bound. Safe to use from many threads."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """The value of the key; made outside the lock when absent. Of two made at once the first kept wins."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        made = make()
        with self._lock:
            value = self._entries.setdefault(key, made)
            self._entries.move_to_end(key)
            while len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)
        return value

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._entries

    def discard(self, is_stale: Callable[[K], bool]) -> list[V]:
        """Takes out the entries whose key is stale; what was taken out."""
        with self._lock:
            return [self._entries.pop(key) for key in [key for key in self._entries if is_stale(key)]]

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)
