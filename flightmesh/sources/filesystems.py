"""Where the files of a source lie: the product's folder or an object store, and which of them its path means.

A path names a file, a folder or a pattern (``data/**/*.parquet``). Folders named ``key=value`` on the way to a file are
its partitions. Listing is all that happens here: no file is opened. Every request to a store has a bound, so that a
store that is down or silent is an error within the source's timeout and not a wait.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as arrow_fs

from flightmesh.errors import FlightmeshError
from flightmesh.names import did_you_mean
from flightmesh.product.durations import EXAMPLES, seconds
from flightmesh.product.model import Source
from flightmesh.sources.base import invalid, unavailable
from flightmesh.sources.files import File, confined, fingerprint, inside
from flightmesh.sources.secrets import Secrets

# A store that takes no connection within this time is down.
CONNECT_S = 1.0
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

_WILD = re.compile(r"[*?\[]")
_AWS_WORD = re.compile(r"AWS Error ([A-Z_]+)")


@dataclass(frozen=True, slots=True)
class Store:
    """A file system; ``name`` tells it from others and is empty for the machine's own. ``options`` are those that the
    author gave, with their secrets.
    """

    name: str
    filesystem: arrow_fs.FileSystem = field(compare=False, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)  # Any: text, number or truth

    @property
    def is_local(self) -> bool:
        """Whether the files lie in the product's folder."""
        return not self.name


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a source in one state: a key for what was computed from its content.

    ``name`` is relative to the product's folder or the bucket and is all that messages may show; ``key`` is the path
    in the store.
    """

    name: str
    store: Store
    key: str
    size: int
    mtime_ns: int
    inode: int = 0

    @property
    def partitions(self) -> dict[str, str | None]:
        """The values in the names of the folders, None for NULL; empty when there are none."""
        pairs = [folder.split("=", 1) for folder in self.name.split("/")[:-1] if "=" in folder]
        return {unquote(key): None if value == NULL_PARTITION else unquote(value) for key, value in pairs}


@dataclass(frozen=True, slots=True)
class Place:
    """What the path of a source means. ``prefix`` comes before ``path`` in the store and is never shown."""

    source: str
    store: Store
    prefix: str
    path: str
    suffixes: tuple[str, ...]

    def parts(self) -> tuple[Part, ...]:
        """The files by name; UNAVAILABLE when there is none or they cannot be listed."""
        try:
            found = sorted(self._found(), key=lambda part: part.name)
        except FileNotFoundError:
            found = []
        except (OSError, pa.ArrowException) as error:
            raise unreachable(self.source, self.store, self.path, error) from error
        if not found:
            raise unavailable(self.source, self._missing())
        return tuple(found)

    def fingerprint(self, parts: tuple[Part, ...]) -> str:
        """A hash of the content and the partitions; in an object store, which would have to be read for that, of what
        its listing says of each file.
        """
        if self.store.is_local:
            content = fingerprint(self.source, tuple(File(Path(part.key), part.name) for part in parts))
            values = [part.partitions for part in parts]
            return hashlib.sha256(f"{content}{values}".encode()).hexdigest() if any(values) else content
        states = [(part.name, part.size, part.mtime_ns) for part in parts]
        return hashlib.sha256(repr(states).encode()).hexdigest()

    def _missing(self) -> str:
        if _WILD.search(self.path):
            return f"no file matches {self.path}."
        if self.store.is_local and Path(self.prefix, self.path).is_dir():
            return f"the folder {self.path} has no file that ends in {' or '.join(self.suffixes)}."
        return f"the file {self.path} is missing."

    def _found(self) -> Iterator[Part]:
        if self.store.is_local:
            return self._in_folder()
        return self._in_store()

    def _in_folder(self) -> Iterator[Part]:
        whole = Path(self.prefix, self.path)
        self.confined(self.path)
        if whole.is_file():
            return iter((self._file(self.path),))
        base, wanted = self._wanted(whole.is_dir())
        self.confined(base)
        names = (name for name in _walk(self.prefix, base) if wanted(name))
        return (self._file(name) for name in names)

    def confined(self, name: str) -> Path:
        """What a name in the product's folder leads to; INVALID when that lies outside of the folder."""
        return confined(Path(self.prefix), self.source, name)

    def confine_all(self) -> None:
        """INVALID when anything below the path leads out of the product's folder, for libraries that follow links."""
        waiting, seen = [self.confined(self.path)], set[Path]()
        while waiting:
            folder = waiting.pop()
            seen.add(folder)
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = os.path.relpath(entry.path, os.path.realpath(self.prefix))
                    real = self.confined(name) if entry.is_symlink() else Path(entry.path)
                    if entry.is_dir() and real not in seen:
                        waiting.append(real)

    def _file(self, name: str) -> Part:
        path = os.path.join(self.prefix, name)
        if os.path.islink(path):  # The folders on the way are none: the walk does not follow them.
            self.confined(name)
        status = os.stat(path)
        return Part(name, self.store, path, status.st_size, status.st_mtime_ns, status.st_ino)

    def _in_store(self) -> Iterator[Part]:
        is_folder = False
        if not _WILD.search(self.path):
            found = self.store.filesystem.get_file_info(self.prefix + self.path)
            if found.type == arrow_fs.FileType.File:
                return iter((self._object(found),))
            is_folder = True
        base, wanted = self._wanted(is_folder)
        selector = arrow_fs.FileSelector(f"{self.prefix}{base}".rstrip("/"), recursive=True, allow_not_found=True)
        listed = self.store.filesystem.get_file_info(selector)
        objects = (self._object(info) for info in listed if info.type == arrow_fs.FileType.File)
        return (part for part in objects if wanted(part.name))

    def _object(self, info: arrow_fs.FileInfo) -> Part:
        return Part(info.path.removeprefix(self.prefix), self.store, info.path, info.size, info.mtime_ns or 0)

    def _wanted(self, is_folder: bool) -> tuple[str, Callable[[str], bool]]:
        """The folder to list, and which of the names in it are meant."""
        if is_folder:
            folder = self.path.rstrip("/").removeprefix(".")  # "." is the product's folder itself.
            shown = re.compile((re.escape(folder) + "/" if folder else "") + r"(?:[^/._][^/]*/)*[^/._][^/]*")
            return folder, lambda name: name.lower().endswith(self.suffixes) and bool(shown.fullmatch(name))
        wild = _WILD.search(self.path)
        if not wild:
            return self.path, lambda name: name == self.path
        pattern = _pattern(self.path)
        return self.path[: wild.start()].rpartition("/")[0], lambda name: bool(pattern.fullmatch(name))


def open_place(folder: Path, source: str, spec: Source, secrets: Secrets, suffixes: tuple[str, ...] = ()) -> Place:
    """What the path of the source means; INVALID for paths out of the folder and for options that are wrong."""
    if spec.path is None:
        raise invalid(source, f"a source of type {spec.type} needs a path.")
    address = urlsplit(spec.path) if "://" in spec.path else None
    if address is None or address.scheme == "file":
        if spec.options:
            raise invalid(source, "options are for object stores; the path is in the product's folder.")
        path = spec.path if address is None else _of_file_uri(folder, unquote(address.path))
        local = inside(source, path, spec.path)
        return Place(source, Store("", arrow_fs.LocalFileSystem()), str(folder), local, suffixes)
    scheme, rest = spec.path.split("://", 1)
    opener = STORES.get(scheme)
    if opener is None:
        raise invalid(source, f"files cannot be read from {scheme}://.", f"Use {', '.join(STORES)}, or a path.")
    bucket, _, key = rest.partition("/")
    if not bucket or "@" in bucket:
        raise invalid(source, f"the path is not {scheme}://bucket/key.", "Give credentials under options:.")
    options = _filled(source, spec.options, secrets, opener.options)
    store = Store(_identity(scheme, options), _opened(source, opener, options, spec), options)
    return Place(source, store, f"{bucket}/", key, suffixes)


def unreachable(source: str, store: Store, name: str, error: Exception) -> FlightmeshError:
    """UNAVAILABLE for a failed read; a store's own word for the reason goes into the hint, its address nowhere."""
    if store.is_local:
        return unavailable(source, f"the file {name} cannot be read.")
    word = _AWS_WORD.search(str(error))
    hint = f"The store's word is {word[1]}." if word else None
    return unavailable(source, f"{name or 'the bucket'} cannot be read from the object store.", hint)


def timeout_s(source: str, spec: Source) -> float:
    """The source's timeout in seconds; INVALID when it is none."""
    found = seconds(spec.timeout)
    if found is None:
        raise invalid(source, f"{spec.timeout!r} is no timeout.", EXAMPLES)
    return found


def _of_file_uri(folder: Path, path: str) -> str:
    """The path relative to the folder; an absolute one, which is refused later, when it lies outside."""
    resolved = Path(os.path.normpath(path))
    for root in (folder.absolute(), folder.resolve()):
        if resolved.is_relative_to(root):
            return resolved.relative_to(root).as_posix()
    return str(resolved)


def _walk(root: str, base: str) -> Iterator[str]:
    """The names of all files below, relative to the root. Links to folders are not followed: they may be circles."""
    for folder, _, names in os.walk(os.path.join(root, base)):
        relative = Path(os.path.relpath(folder, root))
        yield from ((relative / name).as_posix() for name in names if os.path.isfile(os.path.join(folder, name)))


def _pattern(path: str) -> re.Pattern[str]:
    """The pattern as a regular expression: ``*`` within a folder, ``**`` across folders; neither finds names that
    begin with a dot or an underscore, which hold no data by convention.
    """
    pieces = {"**/": r"(?:[^/._][^/]*/)*", "*": r"[^/]*", "?": r"[^/]"}
    tokens = re.findall(r"\*\*/|\*+|\?|\[!?\]?[^\]/]*\]|[^*?\[]+|\[", path)
    text = ""
    for at, token in enumerate(tokens):
        starts = at == 0 or tokens[at - 1].endswith("/")
        if token.startswith("*") and token != "**/":
            text += (r"(?![._])" if starts else "") + pieces["*"]
        elif token in pieces:
            text += pieces[token]
        elif len(token) > 1 and token[0] == "[":
            chosen = re.sub(r"([\\^&|~])", r"\\\1", token[1:-1])
            text += f"[^/{chosen[1:]}]" if chosen[0] == "!" else f"[{chosen}]"
        else:
            text += re.escape(token)
    return re.compile(text)


# --- Object stores ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoreKind:
    """How a kind of store is opened, and which options it knows."""

    options: tuple[str, ...]
    open: Callable[[dict[str, Any], float, int], arrow_fs.FileSystem]  # Any: what authors write


def _s3(options: dict[str, Any], timeout: float, attempts: int) -> arrow_fs.FileSystem:
    # Without these the library would look for the server's own credentials and region, on the network too.
    options.setdefault("region", "us-east-1")
    if "access_key" not in options:
        options["anonymous"] = True
    options.setdefault("connect_timeout", min(CONNECT_S, timeout))
    options.setdefault("request_timeout", patience_s(timeout, attempts))
    retry = arrow_fs.AwsStandardS3RetryStrategy(max_attempts=attempts)
    return arrow_fs.S3FileSystem(retry_strategy=retry, background_writes=False, **options)


def _google(options: dict[str, Any], timeout: float, attempts: int) -> arrow_fs.FileSystem:
    # Google's storage speaks S3 too, with HMAC keys. pyarrow's own file system for it waits for ever on a server that
    # takes connections and does not answer.
    return _s3({"endpoint_override": "storage.googleapis.com", "region": "auto"} | options, timeout, attempts)


def patience_s(timeout: float, attempts: int) -> float:
    """Seconds of silence after which one of so many attempts is given up. Whole ones: the library rounds down."""
    return float(max(1, int(timeout / attempts - 0.5)))


_OPTIONS = (
    *("access_key", "secret_key", "session_token", "anonymous", "region", "scheme", "endpoint_override"),
    *("connect_timeout", "request_timeout", "force_virtual_addressing"),
)
_GOOGLE = StoreKind(_OPTIONS, _google)
STORES: Mapping[str, StoreKind] = {"s3": StoreKind(_OPTIONS, _s3), "gs": _GOOGLE, "gcs": _GOOGLE}


def _filled(source: str, given: Mapping[str, Any], secrets: Secrets, known: tuple[str, ...]) -> dict[str, Any]:
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"Known are {', '.join(known)}."
            raise invalid(source, f"the object store has no option {name}.", hint)
    return {k: secrets.fill(source, v) if isinstance(v, str) else v for k, v in given.items()}


def _opened(source: str, opener: StoreKind, options: dict[str, Any], spec: Source) -> arrow_fs.FileSystem:
    try:
        return opener.open(dict(options), timeout_s(source, spec), spec.retries + 1)
    except (TypeError, ValueError, OSError, pa.ArrowException) as error:
        # The library's text may quote a value, and a value may be a secret.
        raise invalid(source, "the options of the object store do not go together.") from error


def _identity(scheme: str, options: Mapping[str, Any]) -> str:
    """What tells the store from others: a hash, since the options hold secrets."""
    return f"{scheme}:{hashlib.sha256(repr(sorted(options.items())).encode()).hexdigest()}"
