"""The numbers on the wire are the standard's: a renumbered member would cancel where a client asked to commit."""

from __future__ import annotations

from enum import IntEnum

import pytest

from flightmesh.flightsql import enums

# FlightSql.proto and Flight.proto.
NUMBERS: dict[type[IntEnum], list[str]] = {
    enums.EndTransaction: ["UNSPECIFIED", "COMMIT", "ROLLBACK"],
    enums.EndSavepoint: ["UNSPECIFIED", "RELEASE", "ROLLBACK"],
    enums.TableNotExistOption: ["UNSPECIFIED", "CREATE", "FAIL"],
    enums.TableExistsOption: ["UNSPECIFIED", "FAIL", "APPEND", "REPLACE"],
    enums.CancelResult: ["UNSPECIFIED", "CANCELLED", "CANCELLING", "NOT_CANCELLABLE"],
    enums.CancelStatus: ["UNSPECIFIED", "CANCELLED", "CANCELLING", "NOT_CANCELLABLE"],
    enums.SessionOptionErrorValue: ["UNSPECIFIED", "INVALID_NAME", "INVALID_VALUE", "ERROR"],
    enums.CloseSessionStatus: ["UNSPECIFIED", "CLOSED", "CLOSING", "NOT_CLOSEABLE"],
}


@pytest.mark.parametrize("cls", NUMBERS, ids=lambda cls: cls.__name__)
def test_members_have_the_standards_numbers(cls: type[IntEnum]) -> None:
    """Members count from 0 in the standard's order, and 0 is the one that no request may use."""
    endings = NUMBERS[cls]
    members = sorted(cls, key=int)
    assert [int(member) for member in members] == list(range(len(endings)))
    assert all(member.name.endswith(ending) for member, ending in zip(members, endings, strict=True))


def test_every_enumeration_is_checked() -> None:
    """A new enumeration without numbers above would go out unchecked."""
    found = {value for value in vars(enums).values() if isinstance(value, type) and issubclass(value, IntEnum)}
    assert found - {IntEnum} == set(NUMBERS)
