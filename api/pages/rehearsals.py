"""Rehearsals on the pages: how often and how many at once, and one as its page shows it.

The API's machine computes them, so they are small: made-up people, one process of a rehearsal,
confined as a worker's and ended at its bound. Each API process counts for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from api.http.problems import TooMany
from api.http.rate_limit import RateLimit
from api.operate.settings import Settings
from api.pages import labels as words
from api.pages import result_view
from api.worker.rehearsal import Bounds, rehearse_here
from governance.rules.encoding import canonical_json, strict_json

PEOPLE = 60  # made-up, half of them with the outcome: the fewest with which the usual curves appear
SECONDS = 50.0  # below the minute that a proxy in front of the service usually waits
MEMORY = 2 << 30  # bytes of address space; every model's libraries fit
AT_ONCE = 2  # of all analysts; the machine also answers everybody else
BURST = 6  # of one analyst in a row
EVERY_SECONDS = 60  # until one of them is available again
# More change neither what a result holds nor what is withheld, and take most of a run's time.
PERMUTATIONS, BOOTSTRAPS = 19, 0
_OWN_MACHINE = "or rehearse on your own machine: volens run rehearse"


class Rehearsals:
    """The rehearsals of one API process: one at a time and only so many a minute for each account."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_limit = RateLimit(BURST, clock, refill=1 / EVERY_SECONDS)
        self._lock = threading.Lock()
        self._running: set[str] = set()

    @contextmanager
    def counted(self, account: str) -> Iterator[None]:
        """For the time of one rehearsal. Raises TooMany."""
        with self._lock:
            if account in self._running:
                raise TooMany("a rehearsal of yours is under way", "wait until it ends")
            if len(self._running) >= AT_ONCE:
                raise TooMany(
                    "other analysts are rehearsing now", f"try again in a minute, {_OWN_MACHINE}"
                )
            if self._rate_limit.left(account) < 1:
                raise TooMany(
                    f"you rehearsed {BURST} times in a row", f"wait a minute, {_OWN_MACHINE}"
                )
            self._rate_limit.charge(account, 1)
            self._running.add(account)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(account)

    def rehearse(self, settings: Settings, account: str, params: bytes) -> dict[str, Any]:
        """The template's values for a rehearsal of these canonical parameters; takes its seconds.

        Raises TooMany, UsageError, NotServing.
        """
        with self.counted(account):
            done = rehearse_here(
                settings,
                _shortened(params),
                PEOPLE,
                lambda step, fraction: None,
                Bounds(SECONDS, MEMORY),
            )
        result: Any = strict_json(done["result"].encode())
        disclosure: Any = strict_json(done["disclosure"].encode())
        record = done["record"]
        described = result_view.describe(result, disclosure)
        described["facts"] = [
            fact for fact in described["facts"] if fact[0] != result_view.OPENED
        ]  # nobody's data was
        return {
            "rehearsal": {
                "people": PEOPLE,
                "seconds": words.seconds(sum(map(float, record["seconds"].values()))),
                "processor": record["name"],
                "question": words.question(params.decode()),
            }
        } | described


def _shortened(params: bytes) -> bytes:
    """The parameters with as few permutations as there may be, no bootstrap and fixed settings."""
    asked: Any = strict_json(params)
    for name, most in (("permutations", PERMUTATIONS), ("bootstraps", BOOTSTRAPS)):
        if name in asked:
            asked[name] = min(asked[name], most)
    if "tune" in asked:
        asked["tune"] = False
    return canonical_json(asked)
