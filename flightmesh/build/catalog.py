"""A whole catalogue from the products' folders: what loads is served, what fails answers why."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flightmesh.build.identity import bundle_id, generation_id
from flightmesh.build.pipeline import BuildBounds, Progress, SourceFailed, build_product
from flightmesh.catalog.snapshot import ProductSnapshot, Snapshot, Unavailable
from flightmesh.catalog.store import Store
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.names import ProductName
from flightmesh.product.manifest import MANIFEST, Examination, examine
from flightmesh.product.model import Bundle, DataProduct
from flightmesh.product.problems import ProductProblems

_log = logging.getLogger("flightmesh.build")
# Failures of a source that may be over the next time.
_PASSING = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.DEADLINE, ErrorCode.EXHAUSTED})
_NAME = re.compile(rb"^product:\s*[\"']?([a-z0-9_]+\.[a-z0-9_]+)", re.MULTILINE)


def find_products(paths: Iterable[Path]) -> list[Path]:
    """The folders that are products, or lie one level below the paths and are; sorted within each path, each once.

    INVALID for a path that is no folder or holds no product.
    """
    found: dict[Path, None] = {}
    for path in paths:
        inside = [path] if (path / MANIFEST).is_file() else sorted(m.parent for m in path.glob(f"*/{MANIFEST}"))
        if not inside:
            fact = "holds no product" if path.is_dir() else "is not a folder"
            raise FlightmeshError(
                ErrorCode.INVALID, f"{path} {fact}.", hint=f"A product is a folder with a {MANIFEST}."
            )
        found |= dict.fromkeys(folder.resolve() for folder in inside)
    return list(found)


def load_catalog(
    folders: Sequence[Path],
    store: Store,
    progress: Progress,
    *,
    previous: Snapshot | None = None,
    bounds: BuildBounds | None = None,
    leave_out: Callable[[str, str], object] = lambda _folder, _reason: None,
) -> Snapshot:
    """The next generation, not yet published: every product that loads, and every other one with the reason.

    Everything that is wrong is logged. ``leave_out`` is told of each folder, by its name and with the reason, whose
    product's name cannot be told: no generation can hold it.
    ``previous`` lends its manifest to a product whose own cannot be read now, so that it stays hidden from whom it was
    hidden. Call it, and publish, within ``store.building()``.
    """
    found = [examine(folder) for folder in folders]
    names = [_name_of(examination) for examination in found]
    twice = {name for name, count in Counter(names).items() if count > 1}
    products: dict[ProductName, ProductSnapshot] = {}
    unavailable: dict[ProductName, Unavailable] = {}
    for examination, name in zip(found, names, strict=True):
        if name is None:
            refusal = _refusal(examination)
            _warn(f"{examination.folder} is left out", refusal.problems)
            leave_out(examination.folder.name, refusal.message)
            continue
        outcome = (
            _Failure(
                "Several folders define this product.", (f"{examination.folder} is one of several folders of it.",)
            )
            if name in twice
            else _load(examination, store, progress, bounds, previous.products.get(name) if previous else None)
        )
        if isinstance(outcome, _Failure):
            before = _still_good(previous, name, outcome)
            if before is not None:
                _warn(f"{name} stays as it was", outcome.details)
                products[name] = before
                continue
            _warn(f"{name} is unavailable", outcome.details)
            manifest = examination.product or _manifest_before(previous, name)
            unavailable[name] = Unavailable(name, outcome.reason, manifest, is_passing=outcome.is_passing)
        else:
            products[name] = outcome
    ids = {
        str(name): (product.bundle_id, product.snapshot_id + (" stale" if product.stale else ""))
        for name, product in products.items()
    }
    reasons = {str(name): failure.reason for name, failure in unavailable.items()}
    return Snapshot(generation_id(ids, reasons), products, unavailable)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a product cannot be served: the reason for clients; the details, which may quote data, for the operator.

    ``bundle`` is what its authors wrote, where that could be read; ``source`` the source that failed, ``is_passing``
    whether trying again may help.
    """

    reason: str
    details: tuple[object, ...]
    bundle: Bundle | None = None
    source: str | None = None
    is_passing: bool = False


def _warn(fact: str, details: Iterable[object]) -> None:
    for detail in details:
        _log.warning("%s: %s", fact, detail)


def _load(
    found: Examination,
    store: Store,
    progress: Progress,
    bounds: BuildBounds | None,
    before: ProductSnapshot | None,
) -> ProductSnapshot | _Failure:
    bundle = None
    try:
        if found.problems or found.product is None:
            raise _refusal(found)
        bundle = Bundle(found.folder, found.product, found.contracts, found.document, found.notices)
        return build_product(bundle, state=store.state, progress=progress, bounds=bounds, before=before)
    except ProductProblems as problems:
        return _Failure(problems.message, problems.problems, bundle)
    except FlightmeshError as error:
        source = error.source if isinstance(error, SourceFailed) else None
        return _Failure(error.message, (error,), bundle, source, is_passing=error.code in _PASSING)
    except OSError as error:
        _log.exception("a product cannot be loaded")
        return _Failure("A file could not be read or written.", (error.strerror,))
    except Exception:
        # A door: whatever is wrong with one product, the others must be served.
        _log.exception("a product cannot be loaded")
        return _Failure("Loading it failed inside the server.", ("Loading it failed inside the server; see above.",))


def _still_good(previous: Snapshot | None, name: ProductName, failure: _Failure) -> ProductSnapshot | None:
    """What was served before, where its authors changed nothing and a source is to blame; None otherwise.

    A live source is not needed until somebody reads, and each read names what is wrong with it. A snapshot may be
    served on, marked stale, where its source says so. What is not the failure of one source is then the doing of any
    that has changed.
    """
    before = previous.products.get(name) if previous is not None else None
    if before is None or failure.bundle is None or before.bundle_id != bundle_id(failure.bundle):
        return None
    sources = failure.bundle.product.sources
    blamed = [sources[failure.source]] if failure.source is not None else list(sources.values())
    if any(source.mode == "snapshot" and source.stale == "refuse" for source in blamed):
        return None
    return before if all(source.mode == "live" for source in blamed) else replace(before, stale=failure.reason)


def _refusal(found: Examination) -> ProductProblems:
    return ProductProblems(found.problems)


def _name_of(found: Examination) -> ProductName | None:
    """The product's name, also where the manifest as a whole cannot be read; None when it cannot be told."""
    text: object = found.document.value.get("product") if found.document is not None else None
    if found.document is None:
        try:
            match = _NAME.search((found.folder / MANIFEST).read_bytes())
        except OSError:
            return None
        text = match[1].decode() if match else None
    try:
        return ProductName.parse(text) if isinstance(text, str) else None
    except FlightmeshError:
        return None


def _manifest_before(previous: Snapshot | None, name: ProductName) -> DataProduct | None:
    if previous is None:
        return None
    if name in previous.products:
        return previous.products[name].product
    return previous.unavailable[name].product if name in previous.unavailable else None
