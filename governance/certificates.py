"""The certificate authorities that calls to other parts trust."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Those of the system, or of SSL_CERT_FILE, read once a process.

    httpx reads them again for every call and every client that is not given a context: 0.1 s of
    computing.
    """
    return httpx.create_ssl_context()
