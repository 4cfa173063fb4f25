"""Requests that can be read in two ways are refused before the application sees them (RFC 9112).

The server's parser takes a folded header line, a line that ends in LF alone, and a length beside a
transfer coding, and reads each in one way; a proxy before it may read the other, and take a part of
the body for a request of somebody else (request smuggling). Two lengths, and names with a space
behind them, it refuses itself.
"""

from __future__ import annotations

import re

import h11

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_AMBIGUOUS = re.compile(rb"(?<!\r)\n|\n[ \t]")


class StrictHttp(h11.Connection):
    """The server's reading of one connection. What it refuses is answered 400, and the connection is
    closed.
    """

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            received = self.trailing_data[0]
            end = _END_OF_HEAD.search(received)
            if _AMBIGUOUS.search(received, 0, end.end() if end else len(received)):
                raise h11.RemoteProtocolError("a header line is folded, or ends in LF alone")
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("a length and a transfer coding")
        return event
