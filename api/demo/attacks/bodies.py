"""Attacks with request contents: injected statements, paths and addresses; JSON pitfalls;
cross-site forms.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx

from api.demo.attacks.endpoints import BODY_LIMIT, Endpoints, attack, worst

STATEMENTS = (
    "' OR '1'='1",
    "'; DROP TABLE sessions; --",
    "1 UNION SELECT token_hash FROM sessions",
    "{{7*7}}",
    "${7}",
)
PATHS = (
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "....//etc/passwd",
    "C:\\windows\\win.ini",
    "o/../l/x",
)
ADDRESSES = (
    "http://169.254.169.254/",
    "http://[::1]/",
    "file:///etc/passwd",
    "gopher://0x7f000001/",
    "data:,x",
)
MARKS = (
    "a\x00b",
    "a\r\nSet-Cookie: x=y",
    "\x1b[2J",
    "\u202egrant",
    "<script>alert(1)</script>",
    "a" * 100_000,
)


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each text in a message."""
    if isinstance(value, str):
        yield path
    for key, inner in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value if isinstance(value, list) else ())
    ):
        yield from _texts(inner, (*path, key))


def _in_every_text(endpoints: Endpoints, forged: bool, corpus: tuple[str, ...]) -> httpx.Response:
    """Each text of a consent becomes every second text of the corpus, one at a time; its neighbour
    the others.
    """
    body = endpoints.consent()
    if not forged:
        return endpoints.post("/consents", body)

    def spoilt() -> Iterator[dict[str, Any]]:
        for path, text in (
            (path, text) for n, path in enumerate(_texts(body)) for text in corpus[n % 2 :: 2]
        ):
            changed: Any = copy.deepcopy(body)
            *above, last = path
            inner = changed
            for key in above:
                inner = inner[key]
            inner[last] = text
            yield changed

    return worst(endpoints.post("/consents", changed) for changed in spoilt())


@attack("a database statement in each text of a message", "stranger", "Not a valid message")
def statements(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _in_every_text(endpoints, forged, STATEMENTS)


@attack("a file's path in each text of a message", "stranger", "Not a valid message")
def paths(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _in_every_text(endpoints, forged, PATHS)


@attack("an inner address in each text of a message", "stranger", "Not a valid message")
def addresses(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _in_every_text(endpoints, forged, ADDRESSES)


@attack(
    "control characters and markup in each text of a message", "stranger", "Not a valid message"
)
def marks(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _in_every_text(endpoints, forged, MARKS)


@attack("a statement in place of an id in an address", "stranger", "Not a valid message")
def statement_in_address(endpoints: Endpoints, forged: bool) -> httpx.Response:
    names = [*STATEMENTS, *MARKS[:5]] if forged else [endpoints.permit.hex()]
    return worst(
        endpoints.get(f"/permits/{quote(name, safe='')}") for name in names if "/" not in name
    )


@attack("a path out of the routes in an address", "stranger", "Not found")
def path_in_address(endpoints: Endpoints, forged: bool) -> httpx.Response:
    names = [*(quote(path, safe="") for path in PATHS if "/" in path), "%2e%2e/%2e%2e/etc/passwd"]
    paths = [f"/permits/{name}" for name in names] + [f"/pages/static/{name}" for name in names]
    return worst(endpoints.get(path) for path in (paths if forged else ["/permits"]))


@attack("a statement in a question", "stranger", "Not a valid message")
def statement_in_question(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return worst(
        endpoints.get(f"/runs?state={quote(text)}")
        for text in (STATEMENTS if forged else ["sealed"])
    )


def _as_bytes(
    endpoints: Endpoints, forged: bool, change: Callable[[str], bytes], **headers: str
) -> httpx.Response:
    """Ada's consent, its bytes changed, under other headers."""
    text = json.dumps(endpoints.consent())
    return (
        endpoints.post("/consents", change(text), **headers)
        if forged
        else endpoints.post("/consents", text.encode())
    )


@attack("a key named twice in a signed message", "stranger", "Malformed")
def key_twice(endpoints: Endpoints, forged: bool) -> httpx.Response:
    """Parsers differ in which of two equal keys they use; the second has the signed value."""
    return _as_bytes(
        endpoints, forged, lambda text: text.replace('"epoch"', '"epoch": 7, "epoch"').encode()
    )


@attack("not a number in a signed message", "stranger", "Malformed")
def not_a_number(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _as_bytes(
        endpoints, forged, lambda text: text.replace('"epoch": ', '"epoch": NaN, "was": ').encode()
    )


@attack("a fraction for a whole number", "stranger", "Malformed")
def fraction(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _as_bytes(
        endpoints,
        forged,
        lambda text: text.replace(f'"deadline": {1 << 39}', '"deadline": 5e11').encode(),
    )


@attack("a hundred thousand brackets", "stranger", "Malformed")
def nested(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _as_bytes(
        endpoints, forged, lambda text: b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    )


@attack("a body that is larger than the route takes", "stranger", "Too large")
def oversized(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _as_bytes(endpoints, forged, lambda text: text.encode() + b" " * BODY_LIMIT)


@attack("bytes that are no text", "stranger", "Malformed")
def no_text(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _as_bytes(endpoints, forged, lambda text: text.encode("utf-16"))


@attack("a form in place of JSON", "another site", "Not a valid message")
def form(endpoints: Endpoints, forged: bool) -> httpx.Response:
    """A request that a page of another site can send without a preflight."""
    kinds = (
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "text/xml",
    )
    return worst(
        [
            _as_bytes(endpoints, forged, str.encode, **{"content-type": kind})
            for kind in (kinds if forged else kinds[:1])
        ]
    )


@attack("a field too many in a signed message", "stranger", "Not a valid message")
def more_fields(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _as_bytes(
        endpoints, forged, lambda text: text.replace('"grant": {', '"grant": {"role": 1, ').encode()
    )


@attack("a method that no route has", "stranger", "No such method")
def methods(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return worst(
        endpoints.ask(method, "/permits")
        for method in (
            ("DELETE", "PUT", "PATCH", "TRACE", "OPTIONS", "VOLENS") if forged else ("GET",)
        )
    )


# -- cross-site forms; the session's token is real


def _session(endpoints: Endpoints, **headers: str) -> httpx.Response:
    return endpoints.post("/pages/session", {"token": endpoints.token(endpoints.ada)}, **headers)


@attack("a page's form sent from another site", "another site", "Not for you")
def other_origin(endpoints: Endpoints, forged: bool) -> httpx.Response:
    origins = (
        "http://evil.example",
        "null",
        endpoints.url + ".evil.example",
        _same_machine(endpoints.url),
    )
    return worst(
        _session(endpoints, Origin=origin) for origin in (origins if forged else (endpoints.url,))
    )


def _same_machine(url: str) -> str:
    """The other name of this machine, where another program's pages may be."""
    names = ("//localhost:", "//127.0.0.1:")
    here, there = names if names[0] in url else reversed(names)
    return url.replace(here, there)


@attack("a page's form without an origin", "another site", "Not for you")
def no_origin(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _session(endpoints) if forged else _session(endpoints, Origin=endpoints.url)


@attack("a page's form under another host's name", "another site", "Not for you")
def other_host(endpoints: Endpoints, forged: bool) -> httpx.Response:
    """Host and forwarding headers are chosen by the sender; the service knows its own address."""
    evil = "evil.example"
    tricks: list[dict[str, str]] = [
        {"Host": evil},
        {"X-Forwarded-Host": evil},
        {"Forwarded": f"host={evil};proto=http"},
        {
            "Host": evil,
            "X-Forwarded-Host": evil,
            "X-Original-URL": "/",
            "X-HTTP-Method-Override": "GET",
        },
    ]
    if not forged:
        return _session(endpoints, Origin=endpoints.url)
    return worst(_session(endpoints, Origin=f"http://{evil}", **trick) for trick in tricks)


@attack("a cookie alone ends somebody's session", "another site", "Not for you")
def cross_sign_out(endpoints: Endpoints, forged: bool) -> httpx.Response:
    token = endpoints.new_token(endpoints.ada)
    out = endpoints.post(
        "/pages/sign-out",
        b"",
        Origin="http://evil.example" if forged else endpoints.url,
        Cookie=f"volens-session={token}",
    )
    # A success redirects to a page; a public answer represents it here.
    done = not forged and out.status_code == httpx.codes.SEE_OTHER
    return endpoints.get(f"/permits/{endpoints.permit.hex()}") if done else out
