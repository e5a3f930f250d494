"""A reader over the tokens of one statement that has been parsed already: words, names, brackets and pieces of it.

It finds where the parts of a statement begin and end. Whether they may run is the gate's question: a piece is only
ever put into a SELECT that the gate then reads as a stranger's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flightmesh.sql.ast import Token, tokens

_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")


class Words:
    """The tokens of one statement, without its closing semicolons, and a place among them.

    ``at`` and all positions are indices of tokens; ``end`` is the one behind the last.
    """

    def __init__(self, text: str) -> None:
        self._data = text.encode()
        self.tokens = tokens(text)
        while self.tokens and self.tokens[-1].text == ";":
            self.tokens.pop()
        self.at = 0
        self.end = len(self.tokens)

    def word(self, ahead: int = 0) -> str:
        """The bare word here, or so many tokens ahead; empty when there is none."""
        token = self._token(self.at + ahead)
        return "" if token is None else token.word

    def sign(self, ahead: int = 0) -> str:
        """The token here as written, or so many tokens ahead; empty at the end."""
        token = self._token(self.at + ahead)
        return "" if token is None else token.text

    def take(self, *words: str) -> bool:
        """Steps over these words when they stand here, and says whether they did."""
        found = all(self.word(ahead) == word for ahead, word in enumerate(words))
        self.at += len(words) if found else 0
        return found

    def take_sign(self, sign: str) -> bool:
        """As ``take``, for one sign."""
        found = self.sign() == sign
        self.at += found
        return found

    def path(self) -> tuple[str, ...]:
        """The dotted name that begins here; steps over it."""
        parts = [self.name()]
        while self.take_sign("."):
            parts.append(self.name())
        return tuple(parts)

    def name(self) -> str:
        """The name that stands here, without its quotes; steps over it. Empty where no name is."""
        token = self._token(self.at)
        if token is None or not is_name(token):
            return ""
        self.at += 1
        return name(token)

    def piece(self, first: int, until: int) -> str:
        """The text of the tokens from ``first`` up to, not with, ``until``; a comment within it stays."""
        if first >= until:
            return ""
        return self._data[self.tokens[first].start : self.tokens[until - 1].end].decode()

    def rest(self) -> str:
        """The text from here on."""
        return self.piece(self.at, self.end)

    def outside(self, first: int, until: int) -> Iterator[int]:
        """The positions of the tokens that stand outside brackets; an opening bracket does, its closing one too."""
        depth = 0
        for index in range(first, until):
            sign = self.tokens[index].text
            depth -= sign in _CLOSING
            if depth == 0:
                yield index
            depth += sign in _OPENING

    def find(self, words: Iterable[str], first: int | None = None) -> int:
        """The position of the first of these words outside brackets; ``end`` when there is none."""
        wanted = frozenset(words)
        places = self.outside(self.at if first is None else first, self.end)
        return next((index for index in places if self.tokens[index].word in wanted), self.end)

    def closing(self, first: int) -> int:
        """The position of the bracket that closes the one at ``first``."""
        return next(index for index in self.outside(first, self.end) if self.tokens[index].text in _CLOSING)

    def parts(self, first: int, until: int) -> list[tuple[int, int]]:
        """The parts between the commas outside brackets, each from its first position up to that behind its last."""
        commas = [index for index in self.outside(first, until) if self.tokens[index].text == ","]
        return list(zip([first, *(comma + 1 for comma in commas)], [*commas, until], strict=True))

    def _token(self, index: int) -> Token | None:
        return self.tokens[index] if index < self.end else None


def is_name(token: Token) -> bool:
    """Whether the token may be a name: a bare or quoted word."""
    return bool(token.word) or token.text.startswith('"')


def name(token: Token) -> str:
    """The name that a token is, without its quotes."""
    return token.text if token.word else token.text[1:-1].replace('""', '"')
