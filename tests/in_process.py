"""A request to the application in this process, without a server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from api.app import create_app
from api.http.services import Services


def ask(services: Services, method: str, path: str, **more: Any) -> httpx.Response:
    """The answer; the loop runs in a thread of its own, since a browser's test may have left one in
    this thread.
    """

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(services))
        async with httpx.AsyncClient(transport=transport, base_url="http://volens") as client:
            return await client.request(method, path, **more)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, call()).result()
