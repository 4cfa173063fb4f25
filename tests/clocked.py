"""A chain in this process, with a clock that a test controls."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from pathlib import Path

from chain.devnode.anvil import find_anvil
from chain.devnode.gateway import GatewayServer
from chain.devnode.writer import open_chain

ROOT = Path(__file__).resolve().parents[1]
GENESIS = 1_790_000_000


class Gateway:
    """A chain on `folder` served in this process, on a clock the test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.open = folder, GENESIS + 100, False
        self._open(GENESIS)

    def _open(self, genesis: int | None) -> None:
        self.node, self.writer = open_chain(
            self.folder, find_anvil(), genesis, True, lambda: self.now
        )
        self.server = GatewayServer(0, self.node, self.writer)
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()
        self.open = True

    def reopen(self) -> Gateway:
        self.close()
        self._open(None)
        return self

    def close(self) -> None:
        if not self.open:
            return
        self.open = False
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()
        self.node.process.send_signal(signal.SIGCONT)
        self.writer.close()
        self.node.stop()

    def post(
        self, body: bytes, headers: dict[str, str] | None = None, path: str = "/"
    ) -> tuple[int, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        connection.request("POST", path, body, headers or {})
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content

    def ask(self, method: str, *params: object) -> dict[str, object]:
        _, answer = self.post(
            json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()
        )
        assert isinstance(answer, dict)
        assert answer["id"] == 7
        return answer

    def result(self, method: str, *params: object) -> object:
        answer = self.ask(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    def refusal(self, method: str, *params: object) -> tuple[int, str]:
        error = self.ask(method, *params)["error"]
        return error["code"], error["message"]

    def height(self) -> int:
        return self.writer.head.number

    def hashes(self) -> list[str]:
        return [
            self.result("eth_getBlockByNumber", hex(n), False)["hash"]
            for n in range(self.height() + 1)
        ]
