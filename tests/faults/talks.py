"""Where an exchange begins and ends in the bytes that two programs send each other."""

from typing import Protocol

SYNC = b"S\x00\x00\x00\x04"  # PostgreSQL protocol 3: the client asks for what it sent to be done, and committed
QUERY, READY = b"Q", b"Z"
HEADER = 5


class Talk(Protocol):
    """One connection's."""

    def asks(self, piece: bytes) -> bool:
        """Whether the client's bytes ask for something to be done."""

    def answers(self, piece: bytes) -> bool:
        """Whether the server's bytes, with those before, are a whole answer."""


class HttpTalk:
    """A request begins an exchange, the first bytes of the answer end it: from there on the server has done its part."""

    def asks(self, _piece: bytes) -> bool:
        return True

    def answers(self, _piece: bytes) -> bool:
        return True


class PostgresTalk:
    """A Sync or a Query begins an exchange, ReadyForQuery ends it. Logging in and preparing a statement are none."""

    def __init__(self) -> None:
        self._rest = b""
        self._in = False  # logged in

    def asks(self, piece: bytes) -> bool:
        return self._in and (piece.endswith(SYNC) or piece[:1] == QUERY)

    def answers(self, piece: bytes) -> bool:
        if piece == b"N" and not self._rest:  # no TLS here
            return False
        self._rest += piece
        last = b""
        while len(self._rest) >= HEADER:
            end = 1 + int.from_bytes(self._rest[1:HEADER])
            if len(self._rest) < end:
                return False
            last, self._rest = self._rest[:1], self._rest[end:]
        self._in = self._in or last == READY
        return last == READY and not self._rest
