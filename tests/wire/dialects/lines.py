"""How the suite and a bridge of this folder speak: the protocol of ``tests.wire.bridge``, with the values of Python
that JSON lacks as ``{"": [type, text]}``. Used at both ends.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

_TAG = ""
_WRITTEN: Mapping[type, Callable[[Any], str]] = {
    bytes: lambda value: base64.b64encode(value).decode(),
    Decimal: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
}
_READ: Mapping[str, Callable[[str], Any]] = {
    "bytes": base64.b64decode,
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
}


def tagged(value: Any) -> Any:
    """The value as JSON has it; of a type that is not known here, the text that a user is shown."""
    if isinstance(value, Mapping):
        return {key: tagged(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [tagged(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    written = _WRITTEN.get(type(value))
    return str(value) if written is None else {_TAG: [type(value).__name__, written(value)]}


def untagged(value: Any) -> Any:
    """The value that ``tagged`` was given, tuples as lists."""
    if isinstance(value, list):
        return [untagged(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if list(value) != [_TAG]:
        return {key: untagged(item) for key, item in value.items()}
    name, text = value[_TAG]
    return _READ[name](text)


def answer(start: Callable[[], object], refusals: tuple[type[Exception], ...]) -> None:
    """Starts the bridge and answers requests from standard input by its methods until it ends. Whatever else the
    process prints goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    bridge = start()
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps({"id": request["id"], **_answered(bridge, refusals, request)}) + "\n")
        answers.flush()


def _answered(bridge: object, refusals: tuple[type[Exception], ...], request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": tagged(getattr(bridge, request["op"])(**untagged(request["arguments"])))}
    except refusals as error:
        return {"refused": str(error)}
    except Exception:  # the other end of the line is told of mistakes of ours
        return {"broken": traceback.format_exc()}
