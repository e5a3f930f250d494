"""What a manifest may not ask of ADBC's driver manager, which would load code or read files of the machine for it."""

from __future__ import annotations

from collections.abc import Iterable

# The manager takes these for itself, wherever they come from: libraries to load, functions in them to call, files and
# folders to find either in, and addresses that stand for such a file.
_RESERVED = frozenset(
    {
        *("driver", "entrypoint", "load_flags", "init_func", "uri", "profile"),
        *("additional_manifest_search_path_list", "additional_profile_search_path_list"),
    }
)
_PROFILE = "profile:"


def reserved(options: Iterable[str]) -> str | None:
    """The first of the options that is not the driver's but its manager's; None when all are the driver's."""
    return next((name for name in options if name.strip().lower() in _RESERVED), None)


def is_profile(uri: str | None) -> bool:
    """Whether the address is a file of the machine that says which driver to load."""
    return uri is not None and uri.strip().lower().startswith(_PROFILE)


def is_sqlite(driver: str | None) -> bool:
    """Whether the driver opens any file that an address names, and makes it where there is none."""
    return driver is not None and "sqlite" in driver.lower()
