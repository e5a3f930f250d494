"""``flightmesh.product.document``: YAML 1.2 with places, and no way to break the reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from flightmesh.product.document import BYTES_MAX, parse, read
from flightmesh.product.manifest import MANIFEST, load_bundle
from flightmesh.product.problems import ProductProblems

YAMLISH = st.text(
    st.one_of(st.sampled_from("{}[],:-?&*!|>'\"%@`#\\ \n\tuUxn0~<=.e+"), st.characters(codec="utf-8")), max_size=60
)


def test_scalars_are_those_of_yaml_1_2() -> None:
    """`on:` would become true and a date an object, as in YAML 1.1."""
    text = "{a: on, b: 2026-09-01, c: 1e-9, d: 1.10, e: 0o17, f: ~, g: yes, h: 'true', i: true, j: 010, k: !!str 5}"
    document, problems = parse(text.encode(), "f")
    assert document is not None
    assert not problems
    assert document.value == {
        "a": "on", "b": "2026-09-01", "c": 1e-9, "d": 1.1, "e": 15, "f": None,
        "g": "yes", "h": "true", "i": True, "j": 10, "k": "5",
    }  # fmt: skip
    assert document.text(["d"]) == "1.10"


def test_escapes_of_json_are_characters() -> None:
    """A contract written as JSON with an emoji in it kept the whole server from starting."""
    document, problems = parse(b'{"a": "\\ud83d\\ude00", "\\ud83d\\ude00": 1}', "f")
    assert document is not None
    assert (document.value, problems) == ({"a": "\U0001f600", "\U0001f600": 1}, [])


def test_places_of_keys_values_and_what_is_missing() -> None:
    """Problems would point at the wrong line."""
    document, _ = parse(b"a: 1\nb:\n- x\n- c: y\n  d:\n", "f")
    assert document is not None
    marks = [document.mark(["b", 1, "c"]), document.mark(["b", 1, "c"], key=True), document.mark(["b", 1, "d"])]
    assert [(mark.line, mark.column) for mark in marks] == [(4, 6), (4, 3), (5, 3)]
    assert document.mark(["b", 1, "e"]) == document.mark(["b", 1], key=True)
    assert document.find(["b", 7]) is None


def test_the_marks_of_a_part_are_all_places_in_it() -> None:
    """A mistake inside of a model would not be known to be the model's, and be told again."""
    document, _ = parse(b"a: 1\nb:\n  x:\n  - c: y\nd: 2\n", "f")
    assert document is not None
    assert {(mark.line, mark.column) for mark in document.marks(["b"])} == {(2, 1), (3, 3), (4, 3), (4, 5), (4, 8)}
    assert document.marks(["no", "such"]) == frozenset()


def test_an_alias_is_the_value_of_its_anchor() -> None:
    """Contracts written by other tools repeat parts by alias."""
    document, problems = parse(b"a: &x {k: [1]}\nb: *x\n", "f")
    assert document is not None
    assert (document.value["b"], problems) == ({"k": [1]}, [])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: 1\nb: \xff\n", "f:2:4: The byte 0xFF is not UTF-8. Save the file as UTF-8."),
        (b"a: \x00", "f:1:4: The character U+0000 may not stand in YAML."),
        (b"a: " + b"[" * 60, "f:1:53: The file nests deeper than 50 levels."),
        (b"#" * (BYTES_MAX + 1), "f:1:1: The file is larger than 1,000,000 bytes. Keep data out of it."),
        (b'a: "\\ud83d"', "f:1:4: An escape stands for half of a character. Write the character itself."),
        (b"a: &x [*x]", "f:1:8: The alias *x stands inside of what it names."),
        (b"a: !!binary x", "f:1:4: The tag tag:yaml.org,2002:binary is not allowed. Write the value without a tag."),
    ],
)
def test_hostile_files_are_refused_in_plain_words(data: bytes, expected: str) -> None:
    """One file could stop the server, or be answered with a traceback."""
    document, problems = parse(data, "f")
    assert document is None
    assert [str(problem) for problem in problems] == [expected]


def test_a_file_that_is_missing_and_one_that_is_a_folder(tmp_path: Path) -> None:
    """An OSError with a path of the server would reach the author's screen, and a client's."""
    (tmp_path / "folder").mkdir()
    assert [str(problem) for problem in read(tmp_path, "no.yaml")[1]] == ["no.yaml:1:1: The file is missing."]
    assert [str(problem) for problem in read(tmp_path, "folder")[1]] == ["folder:1:1: The file cannot be read."]


@given(YAMLISH)
@example('a: "\\U99999999"')
@example("%YAML 9.1\n---\na: b")
@example("&a *a")
@example("? [a]\n: b")
@settings(max_examples=400, deadline=None)
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text gives a mapping, or problems, and a problem's place lies in the file."""
    document, problems = parse(text.encode(), "f")
    assert document is not None or problems
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    assert all(1 <= problem.line <= lines + 1 and problem.column >= 1 for problem in problems)


@given(st.one_of(YAMLISH, st.binary(max_size=60)), st.integers(0, 700), st.integers(0, 30))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_to_a_manifest_breaks_the_loader(
    tmp_path: Path, product_yaml: str, damage: str | bytes, at: int, cut: int
) -> None:
    """A manifest with any damage loads, or is refused with problems, and nothing else happens."""
    whole = product_yaml.encode()
    inserted = damage.encode() if isinstance(damage, str) else damage
    (tmp_path / MANIFEST).write_bytes(whole[:at] + inserted + whole[at + cut :])
    with pytest.raises(ProductProblems) as caught:  # the files that it names are not there
        load_bundle(tmp_path)
    assert caught.value.problems
