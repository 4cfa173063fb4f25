"""The page /docs: every route of the HTTP API, shown by Swagger UI from /openapi.json.

FastAPI's own page would load scripts of another host. This one is for people only: a program asks
for /openapi.json.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.pages.rendering import PageRoute, render

router = APIRouter(route_class=PageRoute)


@router.get("/docs")
def show_api(request: Request) -> Response:
    """The routes of the API; only questions (GET) can be tried out, the rest needs signatures."""
    return render(request, "docs.html")
