"""The paths that a confined interpreter reads: its libraries, the system's, and our packages."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from glob import glob

ROOMS = ("contracts", "chain", "governance", "analytics", "api")
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
LOADER_CACHE = "/etc/ld.so.cache"
GPU_DEVICES = ("/dev/nvidia*", "/dev/nvidia-caps/*")
GPU_NEEDS = ("/usr/local/cuda", "/sys/devices", "/sys/bus/pci", "/sys/module/nvidia")


def find_devices() -> list[str]:
    """The GPU's device files, if there is one."""
    paths = [path for pattern in GPU_DEVICES for path in glob(pattern)]
    return sorted(path for path in paths if not os.path.isdir(path))


def find_readable() -> list[str]:
    """Existing absolute paths that the interpreter reads, none within another."""
    installed = sysconfig.get_paths()
    named = [installed[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    named += [
        path for path in sys.path if os.path.basename(path) in ("site-packages", "lib-dynload")
    ]
    named += [folder for room in ROOMS for folder in _folders(room)]
    named += [f"{prefix}/lib" for prefix in (sys.prefix, sys.base_prefix)]
    named += [*LIBRARIES, LOADER_CACHE]
    if find_devices():
        named += GPU_NEEDS
    kept: list[str] = []
    for path in sorted({os.path.abspath(path) for path in named if os.path.exists(path)}):
        if not any(path == parent or path.startswith(f"{parent}/") for parent in kept):
            kept.append(path)
    return kept


def _folders(room: str) -> list[str]:
    """The folders of a package's code, without searching beside other files."""
    if room in sys.modules:
        return list(sys.modules[room].__path__)
    spec = importlib.util.find_spec(room)
    return list(spec.submodule_search_locations or ()) if spec is not None else []
