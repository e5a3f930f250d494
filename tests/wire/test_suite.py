"""One set of assertions through every client: whoever comes with the driver they have gets the same answers.

``-k jdbc`` runs one client, ``-k types_out`` one check. Clients of this process run in the plain suite, the others with
``pytest -m clients``. A check that a client's API has no call for is no test of that client.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

# The checks register themselves.
from tests.wire import checks_metadata, checks_protocol, checks_queries, checks_types, checks_writes
from tests.wire.checks import CHECKS, runs
from tests.wire.clients import CLIENTS, running

if TYPE_CHECKING:
    from tests.wire.bench import Bench

MODULES = (checks_queries, checks_metadata, checks_writes, checks_types, checks_protocol)


@functools.cache
def _missing(name: str) -> str | None:
    return CLIENTS[name].made.missing()  # type: ignore[no-any-return]


def _cases() -> Iterator[Any]:  # Any: pytest's ParameterSet is not public
    for name, entry in running().items():
        marks = [pytest.mark.client] if entry.is_in_process else [pytest.mark.clients, pytest.mark.timeout(600)]
        for check in CHECKS.values():
            if runs(name, entry.can, check):
                yield pytest.param(name, check.name, id=f"{name}-{check.name}", marks=marks)


@pytest.mark.parametrize(("name", "check"), list(_cases()))
def test_through(name: str, check: str, bench: Bench) -> None:
    """What holds for one client holds for all of them; the check's own words say what."""
    if (reason := _missing(name)) is not None:
        pytest.skip(reason)
    bench.run(name, CHECKS[check])


def test_every_function_of_the_checks_is_registered() -> None:
    """A check without its decorator would never run."""
    found = {name.removeprefix("check_") for module in MODULES for name in vars(module) if name.startswith("check_")}
    assert found == CHECKS.keys()
