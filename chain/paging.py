"""Page sizes for reading a long ledger: pages have about the same number of events, not of blocks.

A page begins small and grows while its answers are light. A page whose answer is heavy makes the
next one smaller; one whose answer came too late, or was too large to take, is asked for again with
half as many blocks, and larger ones are tried again only after a while.
"""

from __future__ import annotations

from dataclasses import dataclass

TARGET = 2_000  # events of a page: about 1.5 MB of JSON, and a fifth of a second of checking
FIRST = 8  # blocks of the first page: their number of events is unknown
LARGEST = 2_000  # blocks of a page of empty ones
RETRY_AFTER = 16  # successful pages before the largest size is doubled again
TOO_LARGE = -32005  # JSON-RPC's code for a response that is too large for the node


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a reader of the ledger: the newest block it has read, and the newest that the
    node has shown.
    """

    block: int
    newest: int

    @property
    def complete(self) -> bool:
        return self.block >= self.newest


class Pages:
    """Decides how many blocks to request next."""

    def __init__(self) -> None:
        self.size = FIRST
        self._ceiling = LARGEST  # the largest size after a failure
        self._successes = 0  # pages since then

    def end(self, first: int, newest: int) -> int:
        """The last block of the page that begins with `first`."""
        return min(newest, first + self.size - 1)

    def took(self, blocks: int, events: int) -> None:
        """Record a page: the next has about TARGET events, and at most twice as many blocks as this
        one.
        """
        self._successes += 1
        if self._successes % RETRY_AFTER == 0:
            self._ceiling = min(2 * self._ceiling, LARGEST)
        fitting = blocks * TARGET // max(1, events)
        self.size = max(1, min(2 * self.size, fitting, self._ceiling))

    def halve(self) -> bool:
        """Halve the size after a page that was too much for node or connection; False if it was one
        block already.
        """
        smaller, self.size = self.size > 1, max(1, self.size // 2)
        self._ceiling, self._successes = self.size, 0
        return smaller
