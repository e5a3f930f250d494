"""Secrets of sources come from where the operator put them, and only from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightmesh.errors import ErrorCode, FlightmeshError
from flightmesh.sources.secrets import SECRET_BYTES_MAX, Secrets, has_secret


def test_variables_come_before_files(tmp_path: Path) -> None:
    """An operator who sets a variable means it, whatever file lies there; files lose the line break editors add."""
    (tmp_path / "PW").write_text("from file\n")
    (tmp_path / "USER").write_text("lab\n\n")
    secrets = Secrets({"FLIGHTMESH_SECRET_PW": "s3cret"}, tmp_path)
    assert secrets.fill("tms", "postgresql://${secret:USER}:${secret:PW}@h") == "postgresql://lab\n:s3cret@h"
    assert Secrets({}, tmp_path).fill("tms", "${secret:PW}") == "from file"
    assert secrets.fill("tms", "nothing $ {secret:PW} to fill") == "nothing $ {secret:PW} to fill"


def test_a_secret_is_not_filled_twice() -> None:
    """A password may look like a reference; it is a value and never read as one."""
    environment = {"FLIGHTMESH_SECRET_A": "${secret:B}\\1", "FLIGHTMESH_SECRET_B": "other"}
    assert Secrets(environment).fill("tms", "${secret:A}") == "${secret:B}\\1"


def test_products_cannot_read_the_rest_of_the_environment() -> None:
    """A manifest names ``PATH`` or the server's key: only variables with the prefix are secrets of sources."""
    with pytest.raises(FlightmeshError, match="the secret PATH is not there") as raised:
        Secrets({"PATH": "/usr/bin", "FLIGHTMESH_SIGNING_KEY": "k"}).fill("tms", "${secret:PATH}")
    assert raised.value.code is ErrorCode.INVALID
    assert "FLIGHTMESH_SECRET_PATH" in str(raised.value.hint)


@pytest.mark.parametrize("name", ["../key", "a/b", "", "a b", "1A", "A.B", "ä", "A" * 64, "A\n"])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    """A product must not read files beside the secrets folder."""
    (tmp_path / "key").write_text("k")
    (tmp_path / "secrets").mkdir()
    with pytest.raises(FlightmeshError, match="is not the name of a secret"):
        Secrets({}, tmp_path / "secrets").fill("tms", "${secret:" + name + "}")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (SECRET_BYTES_MAX + 1), None])
def test_what_cannot_be_a_secret_is_told_without_its_content(tmp_path: Path, content: bytes | None) -> None:
    """A folder, a binary or a huge file in a secret's place ends in a named error, not in a traceback or its bytes."""
    if content is None:
        (tmp_path / "PW").mkdir()
    else:
        (tmp_path / "PW").write_bytes(content)
    with pytest.raises(FlightmeshError, match="Source tms: the secret PW ") as raised:
        Secrets({}, tmp_path).fill("tms", "${secret:PW}")
    assert "xxxx" not in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_secrets_show_nothing_of_themselves(tmp_path: Path) -> None:
    """A log line with the object in it must not hold the environment."""
    assert "s3cret" not in repr(Secrets({"FLIGHTMESH_SECRET_PW": "s3cret"}, tmp_path))


def test_texts_with_secrets_are_known() -> None:
    """What holds a reference is not shown as an address."""
    assert has_secret("s3://${secret:BUCKET}/x")
    assert has_secret("${secret:}")
    assert not has_secret("${SECRET:x} $secret:x")
