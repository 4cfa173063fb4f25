"""Routes with strict JSON requests of bounded size, whose errors become problem responses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Path, Query, Request, Response
from fastapi.routing import APIRoute

from api.http.problems import BodyTooLarge, problem_of
from governance.rules.encoding import strict_json

MOST = 1000  # entries of a list in one answer
Limit = Annotated[int, Query(ge=1, le=MOST, description="At most so many entries.")]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="32 bytes in hex.")]
Offset = Annotated[int, Query(ge=0, le=1 << 40, description="After so many.")]
# Most bytes of a body: of one signed message, of most routes, and of the list of an ingest.
_ONE_MESSAGE, _SMALL, _LARGE = 8 << 10, 1 << 20, 8 << 20
_IN_MEMORY = 64 << 10  # bytes of an incomplete body
_PARSING = CapacityLimiter(2)  # large bodies parsed at a time


class StrictRequest(Request):
    """A request whose body is bounded while it arrives and parsed by `strict_json` only.

    An incomplete body is kept in a file, so that many large unfinished bodies fill no memory.
    """

    limit = _SMALL

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            with SpooledTemporaryFile(_IN_MEMORY) as file:
                async for chunk in self.stream():
                    if file.tell() + len(chunk) > self.limit:
                        raise BodyTooLarge(
                            "the body is larger than this endpoint accepts",
                            "send less in one message",
                        )
                    file.write(chunk)
                file.seek(0)
                self._body = file.read()
        return self._body

    async def json(self) -> Any:
        body = await self.body()
        if len(body) <= _ONE_MESSAGE:
            return strict_json(body, self.limit)
        # A megabyte takes most of a second, during which no other request would be answered.
        return await to_thread.run_sync(strict_json, body, self.limit, limiter=_PARSING)


class ShortRequest(StrictRequest):
    limit = _ONE_MESSAGE


class LargeRequest(StrictRequest):
    limit = _LARGE


class StrictRoute(APIRoute):
    """Turns every error inside a route into a problem response."""

    request_class: type[StrictRequest] = StrictRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        serve = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await serve(self.request_class(request.scope, request.receive))
            except Exception as error:  # problem_of handles every error
                return problem_of(error)

        return answer


class ShortRoute(StrictRoute):
    """For the endpoint without a rate limit: parsing its requests must cost very little."""

    request_class = ShortRequest


class LargeRoute(StrictRoute):
    request_class = LargeRequest
