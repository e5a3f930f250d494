"""The exception that crosses every room must survive pickling and say fact and help in this order."""

from __future__ import annotations

import pickle

from flightmesh.errors import ErrorCode, FlightmeshError


def test_the_text_is_the_fact_and_then_the_help() -> None:
    """Clients and the command line print this text; the help must not come before the fact, or stand alone."""
    assert str(FlightmeshError(ErrorCode.INVALID, "It is wrong.", hint="Mend it.")) == "It is wrong. Mend it."
    assert str(FlightmeshError(ErrorCode.INVALID, "It is wrong.")) == "It is wrong."


def test_an_error_of_a_worker_process_arrives_whole() -> None:
    """Models run in processes of their own; an error that lost its code on the way would leave as INTERNAL."""
    sent = FlightmeshError(ErrorCode.NOT_FOUND, "There is none.", hint="Look elsewhere.")
    got = pickle.loads(pickle.dumps(sent))
    assert (got.code, got.message, got.hint) == (sent.code, sent.message, sent.hint)


def test_codes_are_words_for_scripts() -> None:
    """Scripts match on these words: renaming one breaks them."""
    assert {code.value for code in ErrorCode} == {
        "invalid",
        "not_found",
        "unauthenticated",
        "permission_denied",
        "unsupported",
        "unavailable",
        "exhausted",
        "deadline",
        "cancelled",
        "internal",
    }
