"""What ``--from`` names: files, which are copied into the product, databases, which stay where they are, and contracts.

Only names and sources come from here; rows are read elsewhere.
"""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa

from flightmesh.build.proposal.naming import free_name, plain_name
from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.product.model import Source
from flightmesh.product.schema import read_part
from flightmesh.sources.base import SourceHandle
from flightmesh.sources.kinds import open_source
from flightmesh.sources.secrets import VARIABLE_PREFIX, Secrets

COPY_BYTES_MAX = 1 << 30
TABLES_MAX = 500
DATA = "data"

_TYPES = {
    ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".arrow": "arrow", ".ipc": "arrow", ".feather": "arrow", ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite",
}  # fmt: skip
_COMPRESSED = {".gz", ".zst", ".bz2"}
_CONTRACT = {".yaml", ".yml"}
_SERVERS = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "grpc": "flightsql",
    "grpc+tcp": "flightsql",
    "grpc+tls": "flightsql",
}
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Input:
    """One source of the new product. ``spec`` is what the manifest says of it, ``origin`` what people call it.

    ``secret`` is the name of the secret that the manifest refers to, with its value for the time of drawing up.
    """

    name: str
    origin: str
    spec: Mapping[str, object]
    is_live: bool = False
    secret: tuple[str, str] | None = field(default=None, repr=False)

    def opened(self, folder: Path) -> SourceHandle:
        """The source's tables. INVALID or UNAVAILABLE as they raise it."""
        return open_source(folder, self.name, read_part(Source, dict(self.spec)), secrets=secrets_of([self]))

    def naming(self, key: str, value: object) -> Input:
        """The same with one more key in the manifest; an empty value leaves it out."""
        return replace(self, spec={**self.spec, key: value}) if value else self


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that was named: sources, whose files lie in the product's folder now, and contracts where they were."""

    inputs: tuple[Input, ...]
    contracts: tuple[Path, ...]


def secrets_of(inputs: Iterable[Input]) -> Secrets:
    """The secrets that were given on the command line; those of the environment and of no folder beside them."""
    given = {VARIABLE_PREFIX + name: value for name, value in (each.secret for each in inputs if each.secret)}
    return Secrets(environment=given) if given else Secrets()


def gather(texts: Iterable[str], folder: Path) -> Gathered:
    """The sources and contracts that the texts name; files are copied below ``folder``. INVALID or UNAVAILABLE with
    the text that names none.
    """
    inputs: list[Input] = []
    contracts: list[Path] = []
    files: list[Path] = []
    for text in texts:
        uri = _URI.match(text)
        if uri is not None:
            inputs.append(_server(text, uri[1].lower(), {each.name for each in inputs}))
            continue
        for path in _paths(text):
            if path.suffix.lower() in _CONTRACT:
                contracts += [path] if path not in contracts else []
            elif path not in files:
                files.append(path)
    _refuse_large(files)
    for path in files:
        inputs.append(_file(path, folder, {each.name for each in inputs}))
    return Gathered(tuple(inputs), tuple(contracts))


def stem_of(path: Path) -> str:
    """The file's name without the endings that tell its format."""
    name = path.name
    for endings in (_COMPRESSED, {*_TYPES, *_CONTRACT}, {".odcs"}):
        ending = Path(name).suffix
        if ending.lower() in endings:
            name = name.removesuffix(ending)
    return name


def type_of(path: Path) -> str | None:
    """The type of source that reads the file, by its name; None when none does."""
    name = path.name.lower()
    bare = name.removesuffix(Path(name).suffix) if Path(name).suffix in _COMPRESSED else name
    found = _TYPES.get(Path(bare).suffix)
    return found if bare == name or found in ("csv", "json") else None


def _paths(text: str) -> list[Path]:
    """The files behind a path: itself, those of a folder, those of a pattern."""
    path = Path(text)
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.is_file() and _is_known(each) and each.name[0] != ".")
        if not found:
            raise _refused(f"The folder {text} holds no file that can be read.")
        return [each.resolve() for each in found]
    if path.is_file():
        if not _is_known(path):
            raise _refused(f"The file {text} is of no known kind.")
        return [path.resolve()]
    matches = sorted(Path(each) for each in glob.glob(text, recursive=True))
    found = [each for each in matches if each.is_file() and _is_known(each)]
    if not found:
        raise FlightmeshError(ErrorCode.UNAVAILABLE, f"There is no file {text}.", hint=_hint())
    return [each.resolve() for each in found]


def _is_known(path: Path) -> bool:
    return type_of(path) is not None or path.suffix.lower() in _CONTRACT


def _refuse_large(files: Iterable[Path]) -> None:
    size = sum(path.stat().st_size for path in files)
    if size > COPY_BYTES_MAX:
        raise FlightmeshError(
            ErrorCode.INVALID,
            f"The files have {size:,} bytes; up to {COPY_BYTES_MAX:,} are copied into a product.",
            hint="Draw the product up from a part of them, then put the files into its data folder yourself.",
        )


def _file(path: Path, folder: Path, taken: set[str]) -> Input:
    """The source of a file, which is copied."""
    kind = type_of(path)
    assert kind is not None
    stem = stem_of(path)
    (folder / DATA).mkdir(exist_ok=True)
    ending = path.name.removeprefix(stem)
    target, number = folder / DATA / f"{plain_name(stem, 'table')}{ending.lower()}", 2
    while target.exists():
        target, number = target.with_name(f"{plain_name(stem, 'table')}_{number}{ending.lower()}"), number + 1
    try:
        shutil.copyfile(path, target)
    except OSError as error:
        raise FlightmeshError(ErrorCode.UNAVAILABLE, f"The file {path.name} cannot be copied.") from error
    spec: dict[str, object] = {"type": kind, "path": target.relative_to(folder).as_posix()}
    if kind == "csv" and (delimiter := _delimiter(target)) != ",":
        spec["delimiter"] = delimiter
    suffix = "db" if kind == "sqlite" else "file"
    return Input(free_name(plain_name(f"{stem}_{suffix}", "table_file"), taken), path.name, spec)


def _delimiter(path: Path) -> str:
    """The separator that occurs most often in the first line, outside of quotes."""
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            line = stream.read(_SNIFFED_BYTES).partition(b"\n")[0].decode("utf-8", "replace")
    except (OSError, pa.ArrowInvalid):
        return ","  # The source says what is wrong with the file.
    bare = re.sub(r'"[^"]*"', "", line)
    return max(_DELIMITERS, key=lambda char: (bare.count(char), -_DELIMITERS.index(char)))


def _server(uri: str, scheme: str, taken: set[str]) -> Input:
    """The source of a database. An address with a password becomes a secret."""
    if scheme not in _SERVERS:
        raise _refused(f"Addresses that begin with {scheme}:// cannot be drawn up.")
    try:
        address = urlsplit(uri)
        port = f":{address.port}" if address.port else ""
    except ValueError:
        raise _refused("The address of the database cannot be read.") from None
    kind = _SERVERS[scheme]
    path = unquote(address.path.strip("/"))
    name = free_name(plain_name(f"{path or address.hostname or kind}_db", "source_db"), taken)
    keys = {key.lower() for key, _ in parse_qsl(address.query)}
    secret = f"{name.upper()}_URI" if address.password or keys & {"password", "sslpassword", "token"} else None
    spec: dict[str, object] = {"type": kind, "uri": f"${{secret:{secret}}}" if secret else uri, "mode": "live"}
    # Not the host's user: who reads the README need not know how the server signs in.
    origin = f"{scheme}://{address.hostname or ''}{port}{'/' + path if path else ''}"
    return Input(name, origin, spec, is_live=True, secret=(secret, uri) if secret else None)


def _refused(fact: str) -> FlightmeshError:
    return FlightmeshError(ErrorCode.INVALID, fact, hint=_hint())


def _hint() -> str:
    endings = ", ".join(_TYPES)
    return f"Give a file ({endings}, .odcs.yaml), a folder or pattern of files, postgresql://... or grpc://host:port."
