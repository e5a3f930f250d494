"""flightmesh: governed data products over Arrow Flight SQL.

Nothing inside the package imports this module; importing it loads no engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flightmesh.errors import ErrorCode, FlightmeshError

if TYPE_CHECKING:
    from flightmesh.client import Client, connect

__version__ = "0.1.0"
__all__ = ["Client", "ErrorCode", "FlightmeshError", "__version__", "connect"]


def __getattr__(name: str) -> object:
    """The client's names, loaded when first used (PEP 562)."""
    if name in ("Client", "connect"):
        from flightmesh import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
