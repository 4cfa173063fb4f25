"""One thread for the numerical libraries: a sum split differently differs in the last bit.

The list of loaded libraries is read from a system file. A confined process cannot read it, so it
uses the last list from before it was confined (`analytics.models.pipeline.warm_up` has loaded all
of them by then).
"""

from __future__ import annotations

from typing import Any

from threadpoolctl import ThreadpoolController

_controllers: list[ThreadpoolController] = []  # empty, or the newest


def find_processor() -> str:
    """The name of the processor for which the linear algebra library was chosen; "" if unknown."""
    libraries = _controllers[0].info() if _controllers else []
    return next((lib["architecture"] for lib in libraries if lib.get("architecture")), "")


def one_thread() -> Any:
    """A context with one thread for numerical libraries. Raises OSError if none were listed."""
    try:
        _controllers[:] = [ThreadpoolController()]
    except OSError:
        if not _controllers:
            raise
    return _controllers[0].limit(limits=1)
