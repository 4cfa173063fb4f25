"""Reading a long ledger in pages of about the same weight: events count, not blocks.

A page begins small and grows while its answers are light. A page whose answer is heavy makes the next one smaller; one
whose answer came too late, or was too large to take, is asked for again with half as many blocks, and larger ones are
tried again only after a while.
"""

from __future__ import annotations

from dataclasses import dataclass

TARGET = 2_000  # events of a page: about 1.5 MB of JSON, and a fifth of a second of checking
FIRST = 8  # blocks of the first page: nobody knows yet how full they are
LARGEST = 2_000  # blocks of a page of empty ones
PATIENT = 16  # pages that go well before one is tried that is twice as wide as what failed
TOO_LARGE = -32005  # JSON-RPC's code for an answer that a node does not give because of its size


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reader of the ledger is: the newest block it has taken in, and the newest that the node has shown."""

    block: int
    newest: int

    @property
    def complete(self) -> bool:
        return self.block >= self.newest


class Pages:
    """How many blocks to ask for next."""

    def __init__(self) -> None:
        self.size = FIRST
        self._ceiling = LARGEST  # what lately went well, after something did not
        self._well = 0  # pages since then

    def end(self, first: int, newest: int) -> int:
        """The last block of the page that begins with `first`."""
        return min(newest, first + self.size - 1)

    def took(self, blocks: int, events: int) -> None:
        """A page was read: the next has about TARGET events, and at most twice as many blocks as this one."""
        self._well += 1
        if self._well % PATIENT == 0:
            self._ceiling = min(2 * self._ceiling, LARGEST)
        fitting = blocks * TARGET // max(1, events)
        self.size = max(1, min(2 * self.size, fitting, self._ceiling))

    def halve(self) -> bool:
        """A page was too much for the node or the line; False when it was one block already."""
        smaller, self.size = self.size > 1, max(1, self.size // 2)
        self._ceiling, self._well = self.size, 0
        return smaller
