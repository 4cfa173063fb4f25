"""Landlock: limit this process to reading beneath named paths, without writing or executing.

Follows the kernel's documentation, userspace-api/landlock. An older ABI does not handle newer
rights: ABI 1 still refuses reading, writing, making, removing and executing.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from api.confinement.kernel import Number, call

VERSION = 1  # flag of landlock_create_ruleset: ask for the ABI
RULE_PATH_BENEATH = 1
WRITE_FILE, READ_FILE, READ_DIR, IOCTL_DEV = 1 << 1, 1 << 2, 1 << 3, 1 << 15
# Rights over files, by the ABI that introduced them: execute to make, refer, truncate, ioctl on
# devices.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: IOCTL_DEV}
NETWORK_ABI, NETWORK_RIGHTS = 4, 0b11  # bind and connect of TCP
SCOPE_ABI, SCOPES = 6, 0b11  # abstract unix sockets, signals
SIZES = {1: 8, NETWORK_ABI: 16, SCOPE_ABI: 24}  # bytes of the attributes that an ABI knows


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def find_abi() -> int:
    """The ABI that the kernel offers; 0 for none."""
    try:
        return call(Number.LANDLOCK_CREATE_RULESET, None, 0, VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str], devices: Iterable[str], limit: int) -> int:
    """Restrict this thread and its children; returns the ABI used, 0 for none. Needs no_new_privs.

    readable: folders and files; devices: files that may also be written and controlled (ioctl).
    limit: the newest ABI to use. Raises OSError.
    """
    abi = min(find_abi(), limit)
    if abi < 1:
        return 0
    handled = sum(right for since, right in FILE_RIGHTS.items() if since <= abi)
    rules = _Ruleset(
        handled,
        NETWORK_RIGHTS if abi >= NETWORK_ABI else 0,
        SCOPES if abi >= SCOPE_ABI else 0,
    )
    size = max(size for since, size in SIZES.items() if since <= abi)
    ruleset = call(Number.LANDLOCK_CREATE_RULESET, rules, size, 0)
    try:
        for path in readable:
            rights = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
            _allow(ruleset, path, rights & handled)
        for path in devices:
            _allow(ruleset, path, (READ_FILE | WRITE_FILE | IOCTL_DEV) & handled)
        call(Number.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _allow(ruleset: int, path: str, rights: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights, parent)
        call(Number.LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(parent)
