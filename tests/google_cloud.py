"""Stands where Google's servers do: gives tokens for a service account, asks for them, and passes
on to the emulator.

Credentials, retries, checksums and uploads in parts are the client's own; what the servers refuse
is chosen by a test.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google_crc32c
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

TOKEN = "a-token-for-an-hour"


@dataclass
class Google:
    """What the servers do from now on; `requests` are (method, path, bytes of body) so far."""

    emulator: str  # host:port
    account_exists: bool = True
    token: bytes = b""  # what is answered in place of one
    refuses: int = 0  # the status of every answer about the bucket; 0: what the emulator answers
    body: bytes = b""  # of such an answer; else a refusal for want of a permission
    cuts: int = 0  # so many connections end in the middle of a part of an upload
    loses: int = 0  # so many answers to an upload are lost after it was done
    flips: bool = False  # a bit of each upload changes on its way
    refuses_uploads: int = 0  # the status of every answer to the beginning of an upload
    # (status, headers) that the next parts of uploads are answered, in place of taking them.
    parts: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    url: str = ""

    def uploaded(self) -> list[int]:
        """The bytes of each part of an upload that came, or began to come."""
        return [size for method, _, size in self.requests if method == "PUT"]


def serve(google: Google) -> ThreadingHTTPServer:
    """Answers at `google.url` until `shutdown`."""

    class Front(_Front):
        servers = google

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A connection that was cut on purpose is no news."""

    server = Server(("127.0.0.1", 0), Front)
    google.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def write_key_file(path: Path, token_url: str) -> None:
    """A service account's key, as Google's console gives it out."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    facts = {
        "type": "service_account",
        "project_id": "hospital",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "volens@hospital.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_url,
    }
    path.write_text(json.dumps(facts))


class _Front(BaseHTTPRequestHandler):
    servers: Google
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self) -> None:
        google, size = self.servers, int(self.headers.get("Content-Length", 0))
        google.requests.append((self.command, self.path, size))
        if self.command == "PUT" and google.cuts:
            google.cuts -= 1
            self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(size)
        if self.path == "/token":
            self._give_token()
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, _error(401))
        elif google.refuses:
            self._answer(google.refuses, google.body or _error(google.refuses))
        elif self.command == "POST" and "/upload/" in self.path and google.refuses_uploads:
            self._answer(google.refuses_uploads, _error(google.refuses_uploads))
        elif self.command == "PUT" and google.parts:
            status, headers = google.parts.pop(0)
            self._answer(status, b"", headers)
        else:
            self._pass_on(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve

    def _give_token(self) -> None:
        if self.servers.token:
            self._answer(200, self.servers.token)
        elif self.servers.account_exists:
            token = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
            self._answer(200, json.dumps(token).encode())
        else:
            self._answer(400, b'{"error": "invalid_grant", "error_description": "account"}')

    def _pass_on(self, body: bytes) -> None:
        google = self.servers
        upload = self.command in ("POST", "PUT") and "/upload/" in self.path and len(body) > 1000
        if upload and google.flips:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        if not _holds(self.headers.get("Content-Type", ""), body):
            self._answer(400, _error(400))
            return
        connection = http.client.HTTPConnection(google.emulator, timeout=30)
        kept = {n: v for n, v in self.headers.items() if n.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, body, kept)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if upload and google.loses:
            google.loses -= 1
            self.close_connection = True
            self.connection.close()
            return
        headers = {
            name: value.replace(f"http://{google.emulator}", google.url)
            for name, value in answer.getheaders()
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date")
        }
        self._answer(answer.status, content, headers)

    def log_message(self, *_: Any) -> None:
        pass


def _holds(kind: str, body: bytes) -> bool:
    """Whether an object sent in one request has the CRC32C that is said before it.

    Google refuses others (https://cloud.google.com/storage/docs/data-validation), the emulator does
    not look.
    """
    if not kind.startswith("multipart/related"):
        return True
    boundary = kind.partition('boundary="')[2].rstrip('"').encode()
    _, first, second, _ = body.split(b"--" + boundary)
    sent = json.loads(first.partition(b"\r\n\r\n")[2]).get("crc32c")
    content = second.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    own = google_crc32c.value(content).to_bytes(4, "big")
    return sent == base64.b64encode(own).decode()


def _error(status: int) -> bytes:
    """A refusal as Google words it, with what must not be shown further."""
    message = "volens@hospital.iam.gserviceaccount.com does not have storage.objects.get access"
    return json.dumps({"error": {"code": status, "message": message}}).encode()
