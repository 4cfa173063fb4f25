"""Forms that a page would show, in our own pages: what is signed in them, and by whom."""

from __future__ import annotations

import html
import secrets
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from analytics.code import code_hash, params_schema_hash

PASSWORD = "six wörds that nobody knows"
# Milliseconds to wait for what a page shows or does: an event that is due, however busy the
# machine is.
EVENT = 120_000


def sign_in_with(page: Any, file: Path) -> None:
    page.get_by_label("Your key file").set_input_files(file)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def form_of(
    kind: str, name: str, endpoint: str, message: dict[str, Any], more: str = "", **data: str
) -> str:
    """A form as a page shows it: each field, then `more`."""
    attributes = {
        "act": "sign",
        "kind": kind,
        "name": name,
        "endpoint": endpoint,
        "next": "/runs",
        **data,
    }
    fields = "".join(
        f'<code data-field="{field}">{html.escape(str(value))}</code>'
        for field, value in message.items()
    )
    marks = " ".join(f'data-{key}="{value}"' for key, value in attributes.items())
    return f'<form {marks}>{fields}{more}<p role="alert"></p></form>'


def open_form(visit: Any, form: str) -> Any:
    """Our own page with this form, as one of our templates would give it."""
    account = visit.page.evaluate("document.body.dataset.account")
    page = (
        '<!doctype html><script src="/pages/static/sign.js" type="module"></script>'
        f'<body data-account="{account}">{form}'
    )
    visit.page.route(
        "**/pages/form", lambda route: route.fulfill(content_type="text/html", body=page)
    )
    visit.page.goto(f"{visit.url}/pages/form")
    return visit.page


def ask_for_permit(deployment: Any) -> tuple[str, dict[str, Any]]:
    """A fresh permit request, and a ballot on it with "yes" still open."""
    permit = secrets.token_bytes(32)
    deployment.client("noor").request_permit(
        {
            "permit": permit,
            "dataset": deployment.dataset,
            "purposeNeed": 1,
            "categories": 4,
            "codeHash": code_hash(),
            "paramsSchemaHash": params_schema_hash(),
            "minCohort": 10,
            "outputClasses": 2,
            "questions": 12,
            "expiry": int(time.time()) + 86_400,
            "documentHash": sha256(b"document").digest(),
        }
    )
    wanted = deployment.client("noor").permit(permit.hex())
    ballot = {"permit": permit.hex(), "requestHash": wanted["requestHash"], "yes": ""}
    return permit.hex(), ballot | {"deadline": int(time.time()) + 600}


YES_OR_NO = (
    '<textarea data-extra="reason">Too wide.</textarea>'
    '<button data-set="yes=true">Yes</button><button data-set="yes=false">No</button>'
)
