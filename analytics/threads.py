"""One thread for the numerical libraries: a sum that is split differently ends in another last bit.

Which libraries are loaded is read from a file of the system. A confined process cannot read it, so it goes by what was
found last, before it was confined (`analytics.models.warm_up` has loaded all of them by then).
"""

from __future__ import annotations

from typing import Any

from threadpoolctl import ThreadpoolController

_found: list[ThreadpoolController] = []  # none, or the newest


def one_thread() -> Any:
    """A context in which numerical libraries use one thread. Raises OSError where they could never be looked for."""
    try:
        _found[:] = [ThreadpoolController()]
    except OSError:
        if not _found:
            raise
    return _found[0].limit(limits=1)
