"""Starts a broker: `python -m governance.broker --folder DIR --node URL --identity FILE --port P`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from governance.broker.custody import Broker, create
from governance.broker.door import serve
from governance.broker.journal import JournalBroken
from governance.errors import GovernanceError
from governance.verify import VerifyError, strict_json


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m governance.broker", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="keys, seeds and journal of this broker")
    parser.add_argument("--create", action="store_true", help="make the keys, print the address, and stop")
    parser.add_argument("--node", help="URL of this broker's own node")
    parser.add_argument("--identity", type=Path, help="the pinned ledger identity (JSON)")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    try:
        if options.create:
            print(create(options.folder))
            return 0
        if not options.node or not options.identity:
            parser.error("--node and --identity are needed to serve")
        identity: Any = strict_json(options.identity.read_bytes())
        broker = Broker(options.folder, options.node, identity, lambda: int(time.time()))
        serve(broker, options.port)
    except (GovernanceError, VerifyError, JournalBroken) as error:
        print(f"broker: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"broker: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
