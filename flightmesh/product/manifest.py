"""Reads a product's folder: ``product.yaml`` and the contracts that it names, into frozen values or a complete list of
problems.

This is the only way from files to a ``Bundle``. It reads text below the folder and nothing else: no data, no network,
no code is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from flightmesh.product.checks import check, check_contract
from flightmesh.product.contract import DataContract, load_contract
from flightmesh.product.document import Document, read
from flightmesh.product.draft import Draft, draft
from flightmesh.product.inactive import inactive, unservable
from flightmesh.product.model import Bundle, DataProduct, Source
from flightmesh.product.paths import outside
from flightmesh.product.policy_checks import check_policies, policy_notices
from flightmesh.product.problems import Problem, ProductProblems, in_order
from flightmesh.product.schema import validate
from flightmesh.product.source_checks import source_notices

MANIFEST = "product.yaml"


@dataclass(frozen=True, slots=True)
class Examination:
    """What is known of a folder: as much of the product as could be read, what is wrong, and what is worth knowing.

    ``product`` is None when the manifest's shape is wrong; ``contracts`` holds those that could be read, by port.
    """

    folder: Path
    product: DataProduct | None
    contracts: Mapping[str, DataContract]
    document: Document | None
    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...]


def load_bundle(folder: Path) -> Bundle:
    """The product in the folder. ``ProductProblems`` with all problems of all files when it cannot be served."""
    found = examine(folder)
    if found.problems or found.product is None:
        raise ProductProblems(found.problems)
    return Bundle(folder, found.product, found.contracts, found.document, found.notices)


def examine(folder: Path) -> Examination:
    """Everything that can be said about the product in the folder without reading data. Never raises for what an author
    wrote.
    """
    document, problems = read(folder, MANIFEST)
    if document is None:
        return Examination(folder, None, {}, None, in_order(problems), ())
    product, shape = validate(document)
    # A value that YAML itself could not take has been told of; what stands for it need not fit.
    told = {(problem.line, problem.column) for problem in problems}
    shape = [problem for problem in shape if (problem.line, problem.column) not in told]
    parts = draft(folder, document)
    contracts, in_contracts = _contracts(parts)
    problems += [*shape, *check(parts), *unservable(document, _source_types()), *in_contracts]
    problems += check_policies(parts, contracts)
    notices = [*inactive(document), *source_notices(parts), *policy_notices(parts), *_declared_quality(contracts)]
    return Examination(folder, product, contracts, document, in_order(problems), in_order(notices))


def _source_types() -> tuple[str, ...]:
    return get_args(Source.model_fields["type"].annotation)


def _contracts(parts: Draft) -> tuple[dict[str, DataContract], list[Problem]]:
    """The contracts that can be relied on, by port, and what is wrong with the others. Missing files are the manifest's
    problem.
    """
    found: dict[str, DataContract] = {}
    problems: list[Problem] = []
    for name, port in (parts.ports or {}).items():
        if port is None or outside(parts.folder, port.contract) or not (parts.folder / port.contract).is_file():
            continue
        contract, wrong = load_contract(port.contract, parts.folder)
        problems += wrong
        if contract is not None:
            problems += check_contract(parts, name, contract)
            found[name] = contract
    return found, problems


def _declared_quality(contracts: Mapping[str, DataContract]) -> Iterator[Problem]:
    """One notice for the whole product, at the first contract that declares checks."""
    for contract in contracts.values():
        if contract.has_quality_rules and contract.document is not None:
            message = "The contract's quality rules are declared and not enforced yet."
            yield contract.document.problem(["schema", 0], message, "This holds for every contract of the product.")
            return
