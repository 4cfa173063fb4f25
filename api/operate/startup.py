"""Errors that prevent a service from starting, and the log line for them."""

from __future__ import annotations

import structlog

from api.errors import ApiError
from chain.errors import ChainError
from governance.errors import GovernanceError
from governance.readmodel.database import DATABASE_FAULTS
from governance.rules.encoding import VerifyError

START_FAULTS = (ApiError, ChainError, GovernanceError, VerifyError, OSError, *DATABASE_FAULTS)
REPLACED = 75  # the exit status of a process whose key another one holds now; no library uses it
log = structlog.get_logger()


def not_started(error: Exception) -> int:
    """Log the error without values or trace; returns the exit status."""
    if isinstance(error, DATABASE_FAULTS):
        fact, hint = (
            "the database failed",
            "see its free space; a damaged one is derived anew: volens rebuild",
        )
    elif isinstance(error, OSError):
        fact = f"a file or a port cannot be used: {error.strerror or 'the system does not say why'}"
        hint = "see who may read and write in the home folder"
    else:
        fact, hint = str(error), str(getattr(error, "hint", ""))
    log.error("not started", fact=fact, hint=hint)
    return 1


def replaced() -> int:
    """Log that a later process holds the key of this one; returns the exit status."""
    log.error(
        "replaced",
        fact="a later process works under this key, so this one ends",
        hint="give each process a key of its own: VOLENS_WORKER, VOLENS_RELAY",
    )
    return REPLACED
