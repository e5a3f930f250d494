"""The catalogue as one principal sees it: what is hidden does not exist, what failed says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from tests.service.conftest import Bench


def test_tables_are_those_of_the_policy(bench: Bench) -> None:
    """Every listing, and so every tool, shows what may be read and nothing else, ordered by name."""

    def names(*roles: str) -> list[str]:
        return [str(table.name) for table in bench.products.tables(bench.session(*roles))]

    assert names() == ["lab.readings.points"]
    assert names("visitor") == ["lab.readings.points"]
    assert names("analyst") == ["lab.readings.points", "lab.readings.secrets"]


def test_descriptions_carry_schema_and_contract(bench: Bench) -> None:
    """The schema is that of SELECT *; key and comments are the contract's."""
    (described,) = bench.products.described(bench.session())
    assert described.schema == pa.schema([("n", pa.int64()), ("v", pa.int64())])
    assert described.table.primary_key == ("n",)
    number, value = described.table.columns
    assert (number.is_nullable, value.is_nullable) == (False, True)
    assert value.contract is not None
    assert (value.contract.description, value.contract.classification) == ("What was read.", "public")


def test_descriptions_follow_a_reload(bench: Bench) -> None:
    """They are kept by what is shown: a new state is described anew."""
    session = bench.session()
    before = bench.products.described(session)
    assert bench.products.described(session) is before
    bench.write(1)
    bench.reload()
    assert bench.products.described(session) is not before


def test_cards(bench: Bench) -> None:
    """A product in a few lines, with the ports that this reader sees."""
    (card,) = bench.products.cards(bench.session())
    assert (str(card.name), card.title, card.version) == ("lab.readings", "Readings of a laboratory", "1.2.0")
    assert (card.owner, card.unavailable) == ("lab", None)
    assert [table.name.table for table in card.tables] == ["points"]
    (full,) = bench.products.cards(bench.session("analyst"))
    assert [table.name.table for table in full.tables] == ["points", "secrets"]


def test_a_product_that_failed_to_load_has_a_card_with_the_reason(bench: Bench) -> None:
    """Its readers learn why it is gone; when it loads again the reason is gone."""
    (bench.folder / "raw.csv").write_text("n\n1\n")
    bench.reload()
    (card,) = bench.products.cards(bench.session())
    assert card.status == "unavailable"
    assert card.unavailable
    assert str(bench.folder) not in card.unavailable
    assert card.tables == ()
    assert bench.products.tables(bench.session()) == ()
    bench.write(1, 2)
    bench.reload()
    (card,) = bench.products.cards(bench.session())
    assert card.unavailable is None
