"""Holds the house to its plan: homes of libraries, types made in one place, sizes, mirrors, true documents.

The floors themselves are import-linter contracts in ``pyproject.toml``; here is what those cannot say. Everything is
read from the source text, nothing is imported but in a process of its own.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "flightmesh"
TESTS = ROOT / "tests"

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc", "data", "process"}
# The last two are called by docs/generate.py alone.
ENTRY_POINTS = {
    "flightmesh",
    "flightmesh.__main__",
    "flightmesh.cli",
    "flightmesh.cli.reference",
    "flightmesh.product.reference",
}
HEAVY = ("adbc_driver_manager", "duckdb", "numba", "pandas", "polars", "pyarrow", "sqlglot")

# Arrow is the language between the rooms; the words and the product's vocabulary do without it. The catalog has it for
# the columns of live tables alone.
KERNELS = ("algorithms", "flightsql", "sql")
ARROW_ROOMS = (*KERNELS, "catalog", "sources", "engine", "planner", "build", "service", "flight", "client", "cli")

# Library, or part of one, and the rooms or modules that may import it. The longest match decides.
HOMES: dict[str, tuple[str, ...]] = {
    "_duckdb": ("engine.twin",),
    "adbc_driver_flightsql": ("sources", "engine.remote"),
    "adbc_driver_manager": ("sources", "engine.remote"),
    "adbc_driver_postgresql": ("sources", "engine.remote"),
    "adbc_driver_sqlite": ("sources", "engine.remote"),
    "click": ("cli",),
    "deltalake": ("sources.delta",),
    "duckdb": (
        "engine.duckdb",
        "engine.intake",
        "engine.live",
        "engine.rehearsal",
        "engine.twin",
        "engine.workshop",
        "sql.ast",
        "client",
    ),
    "google.protobuf": ("flightsql",),
    "jsonschema_rs": ("product",),
    "msgspec": ("catalog", "flight", "flightsql", "service", "sql"),
    "numba": ("algorithms.kernels",),
    "numpy": ("algorithms",),
    "open_data_contract_standard": ("product",),
    "pandas": ("client",),
    "polars": ("engine.polars", "engine.polars_code", "engine.polars_worker", "client"),
    "pyarrow": ARROW_ROOMS,
    "pyarrow.flight": ("flight", "engine.remote", "client"),
    "pydantic": ("product",),
    "pyiceberg": ("sources.iceberg",),
    "rich": ("cli",),
    "ruamel": ("product",),
    "sqlglot": ("sql",),
    "starlette": ("gateway",),
    "tomlkit": ("config", "service.accounts"),
    "typer": ("cli",),
    "uvloop": ("gateway",),
}

# Values that prove something, and the one module that may make them.
MAKERS = {"Guarded": "flightmesh.planner.guard", "Plan": "flightmesh.planner.route"}

# Modules without a test file of their own, each with the reason.
WITHOUT_MIRROR = {
    "flightmesh": "lazy exports only; imported below in a process of its own",
    "flightmesh.__main__": "one call; every test of the command line goes through it",
    "flightmesh.catalog.snapshot": "values without behaviour",
}

# Folders and hosts of one workplace. None may stand in a file that strangers clone.
OF_ONE_MACHINE = re.compile(
    r"(?<![\w.}$~-])/(?:work|root|farm|tmp/w)(?![\w-])"
    r"|pypi\.org|pythonhosted\.org|crates\.io|npmjs\.org|proxy\.golang\.org|repo1?\.maven|deb\.debian\.org"
)


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by dotted name, packages under their own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    """The syntax tree of the module."""
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Dotted names the module imports, anywhere in its text; ``from a import b`` gives ``a`` and ``a.b``."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_below(name: str, *prefixes: str) -> bool:
    """Whether the dotted name is one of the prefixes or lies inside one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def home_of(imported: str) -> tuple[str, ...] | None:
    """Where the imported library may be used; None for a library that has no home yet."""
    matches = [library for library in HOMES if is_below(imported, library)]
    return HOMES[max(matches, key=len)] if matches else None


def is_ours_or_standard(imported: str) -> bool:
    """Whether the name belongs to this package or to the standard library."""
    first = imported.partition(".")[0]
    return first == "flightmesh" or first in sys.stdlib_module_names


def test_each_library_stays_in_its_home() -> None:
    """A library used outside its home could not be replaced, bounded or kept away from hostile input in one place."""
    strays = []
    for module in modules():
        for imported in imports(module):
            # `google` is a namespace that many distributions share: only its parts can be judged.
            if is_ours_or_standard(imported) or imported == "google":
                continue
            home = home_of(imported)
            if home is None or not is_below(module, *(f"flightmesh.{room}" for room in home)):
                strays.append(f"{module} imports {imported}: allowed in {home or 'no room'}")
    assert strays == []


def test_nothing_inside_imports_the_root() -> None:
    """The root exports the public names lazily; a module that imported it would close a circle."""
    assert [module for module in modules() if "flightmesh" in set(imports(module)) and module != "flightmesh"] == []


def test_policy_values_are_made_in_one_place() -> None:
    """Whoever could write ``Guarded(`` elsewhere could skip the row filter and the mask."""
    strays = []
    for module in modules():
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Call):
                made = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
                if MAKERS.get(str(made), module) != module:
                    strays.append(f"{module}:{node.lineno} makes {made}")
    assert strays == []


def test_files_and_functions_stay_readable() -> None:
    """A reader is lost in longer ones."""
    too_long = []
    for module, path in modules().items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES_MAX:
            too_long.append(f"{module}: {lines} lines")
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    too_long.append(f"{module}.{node.name}: {length} lines")
    assert too_long == []


def test_names_say_what_a_module_holds() -> None:
    """A module called utils has no reason to refuse anything."""
    assert [module for module in modules() if FORBIDDEN_NAMES & set(module.split("."))] == []


def test_every_folder_is_a_package() -> None:
    """A folder without ``__init__.py`` is invisible to import-linter, so the floors would not hold there."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_module_says_what_it_is_for() -> None:
    """The first docstring is where the next engineer learns what the room must not do."""
    assert [module for module in modules() if not ast.get_docstring(tree(module))] == []


def mirror(module: str) -> Path:
    """The test file of the module: the same path below ``tests``, and ``test_init.py`` for a package's own code."""
    parts = module.split(".")[1:]
    if modules()[module].name == "__init__.py":
        parts.append("init")
    return TESTS.joinpath(*parts[:-1], f"test_{parts[-1]}.py")


def has_code(module: str) -> bool:
    """Whether the module holds anything but its docstring and, in a package's own file, names it passes on."""
    passed_on = (ast.Import, ast.ImportFrom) if modules()[module].name == "__init__.py" else ()
    body = [node for node in tree(module).body[1:] if not isinstance(node, passed_on)]
    return any("__all__" not in ast.unparse(node) for node in body)


def test_every_module_has_its_test_file() -> None:
    """A module without a mirror is one whose breaking nobody notices first."""
    missing = [m for m in modules() if has_code(m) and m not in WITHOUT_MIRROR and not mirror(m).is_file()]
    assert missing == []


def test_exceptions_to_the_mirror_are_still_needed() -> None:
    """An exception that outlived its module would excuse the next one of that name."""
    assert [m for m in WITHOUT_MIRROR if m not in modules() or mirror(m).is_file()] == []


def references(module: str) -> Iterator[str]:
    """Modules this one imports or, as the lazy exports do, names in a string; with the packages around them."""
    strings = (n.value for n in ast.walk(tree(module)) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    for name in {*imports(module), *strings} & modules().keys():
        parts = name.split(".")
        yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def test_no_module_is_dead() -> None:
    """Code that no entry point reaches is read, linted and carried along for nothing."""
    reached: set[str] = set()
    waiting = ENTRY_POINTS & modules().keys()
    while waiting:
        reached |= waiting
        waiting = {name for module in waiting for name in references(module)} - reached
    assert sorted(modules().keys() - reached) == []


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Path and text of every file that is tracked or about to be; files that are not UTF-8 text are left out."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in content[:8192]:
            yield name, content.decode("utf-8", errors="replace")


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    """A path or host of one workplace breaks for everybody who clones the repository."""
    found = []
    for name, text in tracked_texts():
        found += [f"{name}: {match.group()}" for match in OF_ONE_MACHINE.finditer(text)]
    assert found == []


def test_importing_the_package_imports_no_engine() -> None:
    """A script that only wants the error class should not wait a second for engines to load."""
    code = f"import sys, flightmesh; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def documented_modules() -> set[str]:
    """The modules in the list of rooms of ``docs/architecture.md``, by dotted name."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listing = text.split("## The rooms", 1)[1].split("```")[1]
    found: set[str] = set()
    folders: list[tuple[int, str]] = []
    for indent, name in re.findall(r"^( *)([\w/]+(?:\.py|/))(?=\s|$)", listing, flags=re.MULTILINE):
        while folders and folders[-1][0] >= len(indent):
            folders.pop()
        dotted = ".".join([folder for _, folder in folders] + [name.removesuffix(".py").strip("/").replace("/", ".")])
        if name.endswith("/"):
            folders.append((len(indent), dotted.rpartition(".")[2]))
        else:
            found.add(dotted.removesuffix(".__init__"))
    return found


def test_the_documented_rooms_are_the_rooms() -> None:
    """A plan that lists rooms which do not exist, or omits one, misleads whoever looks for a place to build."""
    existing = {module for module in modules() if has_code(module)}
    assert documented_modules() == existing


def test_no_folder_of_tests_is_passed_over(pytestconfig: pytest.Config) -> None:
    """pytest leaves out folders by their names ("build" by default): the tests of a whole room would never run."""
    passed_over = pytestconfig.getini("norecursedirs")
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    names = {part for folder in folders for part in folder.relative_to(ROOT).parts}
    assert [name for name in sorted(names) if any(fnmatch(name, pattern) for pattern in passed_over)] == []
