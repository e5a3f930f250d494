"""Probably personal data: what is found, and what is left in peace."""

from __future__ import annotations

import pytest

from flightmesh.build.proposal.personal import (
    is_iban,
    is_ipv4,
    is_national_id,
    is_payment_card,
    personal_by_name,
    personal_by_values,
    singular,
)


@pytest.mark.parametrize(
    ("table", "column", "sql_type", "kind"),
    [
        ("customers", "email", "VARCHAR", "e-mail addresses"),
        ("customers", "EMailAddress", "VARCHAR", "e-mail addresses"),
        ("t", "mobile_phone", "BIGINT", "phone numbers"),
        ("t", "lastName", "VARCHAR", "names of persons"),
        ("customers", "name", "VARCHAR", "names of persons"),
        ("people", "name", "VARCHAR", "names of persons"),
        ("t", "date_of_birth", "DATE", "dates of birth"),
        ("t", "ssn", "VARCHAR", "national identity numbers"),
        ("t", "passport_no", "VARCHAR", "passport numbers"),
        ("t", "client_ip", "VARCHAR", "network addresses"),
        ("t", "street", "VARCHAR", "postal addresses"),
    ],
)
def test_names_tell_of_persons(table: str, column: str, sql_type: str, kind: str) -> None:
    """What is not proposed here is served to everybody by an author who did not think of it."""
    found = personal_by_name(table, column, sql_type)
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    ("table", "column", "sql_type"),
    [
        ("airports", "name", "VARCHAR"),
        ("t", "email_count", "BIGINT"),
        ("t", "shipmode", "VARCHAR"),
        ("t", "description", "VARCHAR"),
        ("t", "tip", "VARCHAR"),
        ("t", "zipped", "BOOLEAN"),
    ],
)
def test_other_names_do_not(table: str, column: str, sql_type: str) -> None:
    """Proposals that are mostly wrong are not read."""
    assert personal_by_name(table, column, sql_type) is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["ada@example.org", "grace@mail.example.com", "x@example.org"], "e-mail addresses"),
        (["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606"], "bank accounts"),
        (["4111111111111111", "5500 0000 0000 0004", "3400-0000-0000-009"], "payment cards"),
        (["192.168.0.1", "10.0.0.255", "8.8.8.8"], "network addresses"),
        (["+49 30 1234567", "+44 20 7946 0958", "+1 212-555-0199"], "phone numbers"),
        (["078-05-1120", "219-09-9999", "457-55-5462"], "national identity numbers"),
        (["12345678Z", "X1234567L", "00000000T"], "national identity numbers"),
    ],
)
def test_values_tell_of_persons(values: list[str], kind: str) -> None:
    """A column called ref1 may hold bank accounts."""
    found = personal_by_values(values)
    assert found is not None
    assert found.kind == kind
    assert "3 values" in found.reason


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["ada@example.org", "n/a"],
        ["4111111111111112", "5500000000000005", "340000000000008"],
        ["2024-01-01", "2024-01-02", "2024-01-03"],
        ["300.1.1.1", "1.2.3", "1.2.3.4.5"],
        ["N104UW", "N10575", "N105UW"],
        ["GB82WEST12345698765433", "DE89370400440532013001", "FR1420041010050500013M02607"],
    ],
)
def test_other_values_do_not(values: list[str]) -> None:
    """Numbers without their checksum are numbers."""
    assert personal_by_values(values) is None


def test_checksums() -> None:
    """Worked examples of the standards themselves."""
    assert is_iban("GB82 WEST 1234 5698 7654 32")
    assert not is_iban("GB82 WEST 1234 5698 7654 33")
    assert is_payment_card("4111 1111 1111 1111")
    assert not is_payment_card("4111 1111 1111 1121")
    assert is_ipv4("127.0.0.1")
    assert not is_ipv4("127.0.0.256")
    assert is_national_id("811228-9874")
    assert not is_national_id("811228-9875")
    assert is_national_id("255081416802538")
    assert not is_national_id("255081416802539")


def test_singular() -> None:
    """Keys are named after one row of the table they point to."""
    words = ["customers", "categories", "addresses", "status", "boxes", "people", "class"]
    assert list(map(singular, words)) == ["customer", "category", "address", "status", "box", "person", "class"]
