"""The page of the deployment's parts, for its operator: what runs, what waits, and what to do."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.http.auth import PartsAnyway
from api.pages.rendering import PageRoute, render
from governance.readmodel.statistics import newest_row, queue_depth

router = APIRouter(route_class=PageRoute)


@router.get("/health")
def show_parts(request: Request, services: PartsAnyway) -> Response:
    """Every part with its state, as programs read it, and the length of the queue."""
    return render(
        request,
        "health.html",
        parts=services.health.report(services.clock()),
        queue=queue_depth(services.engine),
        block=newest_row(services.engine),
    )
