"""Columns that probably tell of persons: by their names, and by what their values look like where a checksum or a
pattern decides.

Only proposals come from here; nothing is masked by a guess.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence

from flightmesh.build.proposal.facts import Personal
from flightmesh.build.proposal.units import name_parts

# The share of a column's values that must look alike before the column is called so.
SHARE_MIN = 0.6
_VALUES_MIN = 3

_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}")
_PHONE = re.compile(r"(?:\+|00)[1-9][0-9]{0,2}[ ./()-]{0,2}(?:\(?[0-9]{1,5}\)?[ ./-]?){1,5}[0-9]{2,4}")
_LOCAL_PHONE = re.compile(r"\(?[0-9]{2,4}\)?[ .-][0-9]{3,4}[ .-][0-9]{3,4}(?:[ .-][0-9]{2,4})?")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_DIGITS = re.compile(r"[0-9 -]+")
_SSN = re.compile(r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}")
_NINO = re.compile(r"(?![DFIQUV])[A-Z](?![DFIQUVO])[A-Z](?<!BG|GB|KN|NK|NT|TN|ZZ)[0-9]{6}[A-D]")

_TEXT = ("VARCHAR",)
_NUMBERS = ("BIGINT", "HUGEINT", "UBIGINT", "INTEGER", "DECIMAL")
_DATES = ("DATE", "TIMESTAMP", *_TEXT)

# Words of a name (all of one row must occur) to what they tell; types that such a column may have, None: any.
_NAMES: tuple[tuple[tuple[str, ...], str, tuple[str, ...] | None], ...] = (
    (("email",), "e-mail addresses", _TEXT),
    (("e", "mail"), "e-mail addresses", _TEXT),
    (("mail",), "e-mail addresses", _TEXT),
    (("phone",), "phone numbers", (*_TEXT, *_NUMBERS)),
    (("telephone",), "phone numbers", (*_TEXT, *_NUMBERS)),
    (("mobile",), "phone numbers", (*_TEXT, *_NUMBERS)),
    (("fax",), "phone numbers", (*_TEXT, *_NUMBERS)),
    (("msisdn",), "phone numbers", (*_TEXT, *_NUMBERS)),
    (("first", "name"), "names of persons", _TEXT),
    (("last", "name"), "names of persons", _TEXT),
    (("middle", "name"), "names of persons", _TEXT),
    (("full", "name"), "names of persons", _TEXT),
    (("given", "name"), "names of persons", _TEXT),
    (("family", "name"), "names of persons", _TEXT),
    (("maiden", "name"), "names of persons", _TEXT),
    (("contact", "name"), "names of persons", _TEXT),
    (("user", "name"), "names of persons", _TEXT),
    (("patient", "name"), "names of persons", _TEXT),
    (("firstname",), "names of persons", _TEXT),
    (("lastname",), "names of persons", _TEXT),
    (("fullname",), "names of persons", _TEXT),
    (("forename",), "names of persons", _TEXT),
    (("surname",), "names of persons", _TEXT),
    (("username",), "names of persons", _TEXT),
    (("street",), "postal addresses", _TEXT),
    (("address",), "postal addresses", _TEXT),
    (("addr",), "postal addresses", _TEXT),
    (("postcode",), "postal codes", None),
    (("zipcode",), "postal codes", None),
    (("postal", "code"), "postal codes", None),
    (("zip",), "postal codes", None),
    (("birth",), "dates of birth", None),
    (("birthday",), "dates of birth", None),
    (("birthdate",), "dates of birth", None),
    (("dob",), "dates of birth", _DATES),
    (("ssn",), "national identity numbers", None),
    (("social", "security"), "national identity numbers", None),
    (("national", "id"), "national identity numbers", None),
    (("nationalid",), "national identity numbers", None),
    (("nino",), "national identity numbers", None),
    (("cpr",), "national identity numbers", None),
    (("personnummer",), "national identity numbers", None),
    (("tax", "id"), "tax numbers", None),
    (("passport",), "passport numbers", None),
    (("licence", "number"), "licence numbers", None),
    (("license", "number"), "licence numbers", None),
    (("iban",), "bank accounts", _TEXT),
    (("account", "number"), "bank accounts", None),
    (("credit", "card"), "payment cards", None),
    (("creditcard",), "payment cards", None),
    (("card", "number"), "payment cards", None),
    (("ip",), "network addresses", _TEXT),
    (("ip", "address"), "network addresses", _TEXT),
    (("ipaddress",), "network addresses", _TEXT),
    (("gender",), "attributes of persons", None),
    (("ethnicity",), "attributes of persons", None),
    (("religion",), "attributes of persons", None),
)
# Tables whose ``name`` is the name of a person.
_PERSONS = frozenset(
    {
        "person", "user", "customer", "client", "patient", "employee", "member", "contact", "staff", "student",
        "teacher", "doctor", "passenger", "subscriber", "author", "driver", "guest", "visitor", "applicant",
        "candidate", "resident", "citizen",
    }
)  # fmt: skip


def personal_by_name(table: str, column: str, sql_type: str) -> Personal | None:
    """What the names of column and table tell."""
    parts = name_parts(column)
    for needed, kind, types in _NAMES:
        if set(needed) <= set(parts) and (types is None or sql_type.startswith(types)):
            return Personal(kind, "by its name")
    owners = {singular(part) for part in name_parts(table)}
    if parts[-1:] == ["name"] and sql_type.startswith(_TEXT) and owners & _PERSONS:
        return Personal("names of persons", f"by its name, in {table}")
    return None


def personal_by_values(values: Sequence[str]) -> Personal | None:
    """What most of the values are, by a pattern and where there is one by its checksum."""
    present = [value.strip() for value in values if value.strip()]
    if len(present) < _VALUES_MIN:
        return None
    for kind, how, looks in _LOOKS:
        share = sum(map(looks, present)) / len(present)
        if share >= SHARE_MIN:
            return Personal(kind, f"{how} in {share:.0%} of {len(present):,} values looked at")
    return None


def singular(word: str) -> str:
    """An English word without its plural ending, as far as that is plain."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word.removesuffix(ending) + instead
    if word == "people":
        return "person"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2 else word


def is_iban(text: str) -> bool:
    """Whether the text is an IBAN: its remainder by 97 is 1 (ISO 13616)."""
    compact = text.replace(" ", "").upper()
    if not _IBAN.fullmatch(compact):
        return False
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


def is_payment_card(text: str) -> bool:
    """Whether the text is the number of a payment card: 13 to 19 digits of a known network with Luhn's check digit."""
    digits = text.replace(" ", "").replace("-", "")
    if not _DIGITS.fullmatch(text) or not 13 <= len(digits) <= 19 or digits[0] not in "3456":
        return False
    doubled = [int(d) * (1 + index % 2) for index, d in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_ipv4(text: str) -> bool:
    """Whether the text is an IPv4 address in four decimal parts."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def is_national_id(text: str) -> bool:
    """Whether the text is a national identity number of a kind with a shape of its own or a checksum: US, UK, Spain,
    France, Sweden, the Netherlands with dots.
    """
    compact = re.sub(r"[ .-]", "", text).upper()
    return (
        bool(_SSN.fullmatch(text)) or bool(_NINO.fullmatch(compact)) or _is_dni(compact) or _is_nir(compact)
    ) or _is_personnummer(text)


def _is_dni(text: str) -> bool:
    found = re.fullmatch(r"([XYZ]?)([0-9]{7,8})([A-Z])", text)
    if found is None or len(found[1] + found[2]) != 8:
        return False
    number = int({"X": "0", "Y": "1", "Z": "2", "": ""}[found[1]] + found[2])
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == found[3]


def _is_nir(text: str) -> bool:
    if not re.fullmatch(r"[12][0-9]{2}(?:0[1-9]|1[0-2]|[2-9][0-9])[0-9]{10}", text):
        return False
    return 97 - int(text[:13]) % 97 == int(text[13:])


def _is_personnummer(text: str) -> bool:
    found = re.fullmatch(r"(?:19|20)?([0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))[-+]([0-9]{4})", text)
    if found is None:
        return False
    doubled = [int(d) * (2 - index % 2) for index, d in enumerate(found[1] + found[2])]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_phone(text: str) -> bool:
    digits = sum(char.isdigit() for char in text)
    return 8 <= digits <= 15 and bool(_PHONE.fullmatch(text) or _LOCAL_PHONE.fullmatch(text))


def _is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text) is not None


_LOOKS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("e-mail addresses", "the pattern of one", _is_email),
    ("bank accounts", "an IBAN with its checksum", is_iban),
    ("payment cards", "a card number with its check digit", is_payment_card),
    ("national identity numbers", "an identity number", is_national_id),
    ("network addresses", "an IPv4 address", is_ipv4),
    ("phone numbers", "the pattern of one", _is_phone),
)
