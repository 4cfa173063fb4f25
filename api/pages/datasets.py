"""Pages of datasets: the catalogue, one dataset with its description, and a new registration."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from analytics.disclosure.rounding import round_count
from api.client.client import wire
from api.http.auth import Parts
from api.http.services import Services
from api.pages.forms import DEADLINE_SECONDS, form_of
from api.pages.rendering import PageNumber, PageRoute, render
from api.pages.session import Custodian, OwnOrigin, Visitor
from chain.vocabulary import Role
from governance import supplements
from governance.documents import read_document
from governance.errors import RequestInvalid
from governance.permit_review import count_willing
from governance.readmodel import queries as register

router = APIRouter(route_class=PageRoute)
PAGE = 20
PERMITS = 20  # of one dataset on its page
DatasetId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
_TEMPLATE = """# Name of the dataset

## Who is in it
Which people, from where and when, and how they were asked.

## What it holds
Which kinds of data, how they were measured, in which units.

## What it is good for, and what not
Known gaps and biases.
"""


@router.get("/datasets")
def show_datasets(
    request: Request, services: Parts, visitor: Visitor, page: PageNumber = 1
) -> Response:
    """The catalogue, by pages."""
    datasets = register.list_datasets(services.engine, PAGE + 1, PAGE * (page - 1))
    return render(
        request,
        "datasets.html",
        datasets=datasets[:PAGE],
        page=page,
        more=len(datasets) > PAGE,
        may_register=visitor is not None and visitor.role == Role.CUSTODIAN,
    )


@router.get("/datasets/new")
def describe_dataset(request: Request, me: Custodian) -> Response:
    """The form of a new registration; nothing is signed yet."""
    return render(request, "dataset-new.html", text=_TEMPLATE, problem=None)


@router.post("/pages/datasets/preview", dependencies=[OwnOrigin])
async def preview_dataset(request: Request, services: Parts, me: Custodian) -> Response:
    """What would be signed, with the description as everybody will read it."""
    text = form_of(await request.body()).get("text", [""])[0].replace("\r\n", "\n")

    def answer() -> Response:
        try:
            described = read_document(text.encode())
            if text.strip() == _TEMPLATE.strip():
                raise RequestInvalid(
                    "the description is still the empty form", "describe your dataset"
                )
        except RequestInvalid as error:
            return render(request, "dataset-new.html", 422, text=text, problem=error)
        message = {
            "dataset": secrets.token_bytes(32),
            "documentHash": hashlib.sha256(text.encode()).digest(),
            "deadline": services.clock() + DEADLINE_SECONDS,
        }
        return render(
            request,
            "dataset-preview.html",
            described=described,
            message=wire("RegisterDataset", message),
        )

    return await run_in_threadpool(answer)


@router.get("/datasets/{dataset}")
def show_dataset(
    dataset: DatasetId, request: Request, services: Parts, visitor: Visitor
) -> Response:
    """One dataset: its description, what was brought in, how many are willing, and its permits."""
    row = register.find_dataset(services.engine, dataset)
    is_own = visitor is not None and visitor.account == row.custodian
    consents = count_willing(services.engine, dataset, 0, 0, services.clock())
    return render(
        request,
        "dataset.html",
        dataset=row,
        described=services.documents.find(row.document),
        ingests=services.projection.ingests_of(bytes.fromhex(dataset)),
        categories=_categories(services, dataset),
        dictionary=supplements.find(services.engine, dataset, "dictionary"),
        features=supplements.find(services.engine, dataset, "features"),
        report=supplements.find(services.engine, dataset, "report") if is_own else None,
        willing=round_count(consents),
        permits=register.list_permits(services.engine, dataset=dataset, limit=PERMITS),
        may_ask=visitor is not None and visitor.role == Role.ANALYST,
        is_own=is_own,
    )


def _categories(services: Services, dataset: str) -> list[dict[str, Any]]:
    """Of how many people there are records, by category, rounded; fewer than ten are not told."""
    return [
        {"mask": 1 << category, "people": round_count(people)}
        for category, people in register.people_by_category(services.engine, dataset).items()
    ]
