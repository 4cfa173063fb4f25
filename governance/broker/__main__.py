"""Starts a broker: `python -m governance.broker --folder DIR --node URL --identity FILE --port P`.

Its log is a few lines of JSON on standard error, in the format of the other processes' logs:
started, stopped, or not started. It contains only texts of this project. The pieces that it
released are in its journal.
"""

from __future__ import annotations

import argparse
import errno
import json
import resource
import signal
import ssl
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chain.bounded_http import LOOPBACK
from governance.broker.custody import Broker, create
from governance.broker.endpoint import serve
from governance.broker.journal import JournalBroken
from governance.errors import GovernanceError
from governance.rules.encoding import VerifyError, strict_json


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the keys
    parser = argparse.ArgumentParser(prog="python -m governance.broker", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="keys, seeds and journal of this broker"
    )
    parser.add_argument(
        "--create", action="store_true", help="make the keys, print the address, and stop"
    )
    parser.add_argument("--node", help="URL of this broker's own node")
    parser.add_argument("--identity", type=Path, help="the pinned ledger identity (JSON)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--host", default=LOOPBACK, help="where it listens; other machines need https"
    )
    parser.add_argument("--certificate", type=Path, help="answer https with this certificate (PEM)")
    parser.add_argument("--key", type=Path, help="the key of the certificate (PEM)")
    options = parser.parse_args()
    if bool(options.certificate) != bool(options.key):
        parser.error("--certificate and --key belong together")
    if options.host != LOOPBACK and not options.certificate:
        parser.error("for other machines it needs --certificate and --key")
    try:
        if options.create:
            print(create(options.folder))
            return 0
        if not options.node or not options.identity:
            parser.error("--node and --identity are needed to serve")
        tls = _context(options.certificate, options.key)
        identity: Any = strict_json(options.identity.read_bytes())
        broker = Broker(options.folder, options.node, identity, lambda: int(time.time()))
        log("info", "started")
        serve(broker, options.port, options.host, tls)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # a second signal stops at once
        broker.journal_head()  # waits until the response in progress has its line on disk
        log("info", "stopped")
    except (GovernanceError, VerifyError, JournalBroken) as error:
        log("error", "not started", str(error))
        return 1
    except OSError as error:
        log("error", "not started", error.strerror or "a file or the port cannot be used")
        return 1
    return 0


def _context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """For https, None without a certificate. Raises OSError."""
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (ssl.SSLError, ValueError):
        raise OSError(
            errno.EINVAL,
            "the certificate and its key cannot be read, do not belong together, or are locked",
        ) from None
    return context


def _refuse_password() -> bytes:
    """Asked for by the library where a key is locked: nobody is there to answer."""
    raise ValueError


def log(level: str, event: str, fact: str = "") -> None:
    """One line of the log."""
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"part": "broker", "event": event, "level": level, "timestamp": at} | (
        {"fact": fact} if fact else {}
    )
    print(json.dumps(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
