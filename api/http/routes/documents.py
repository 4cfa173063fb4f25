"""Routes of documents, manifests of code, and names: what people read beside ids and hashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool

from api.http import requests as schemas
from api.http import responses as answers
from api.http.auth import Parts, SignedIn
from api.http.code_manifests import get_manifest, put_manifest
from api.http.problems import declared
from api.http.rate_limit import WRITES_TO_THE_BUCKET
from api.http.routes.committee import DatasetId
from api.http.services import Services
from api.http.strict_route import Digest, Limit, StrictRoute
from governance import names, supplements
from governance.documents import is_named
from governance.errors import NotFound
from governance.readmodel import queries as register
from governance.readmodel.tables import Name
from governance.sessions import Caller

router = APIRouter(route_class=StrictRoute, tags=["documents"])
After = Annotated[str, Query(pattern=r"^(0x[0-9a-fA-F]{40})?$", description="An address.")]
AccountPath = Annotated[schemas.Address, Path(description="An address.")]


def _body(media: str, schema: str) -> dict[str, Any]:
    """A body that is read as bytes, for the OpenAPI document."""
    return {"requestBody": {"required": True, "content": {media: {"schema": {"type": schema}}}}}


@router.get("/documents/{digest}", response_model=answers.Document, responses=declared(404))
def show_document(digest: Digest, services: Parts) -> Any:
    """The text that describes a dataset or a permit, by its sha256. For everybody."""
    _check_named(services, lambda: is_named(services.engine, digest))
    document = services.documents.get(digest)
    return {"document": document.digest, "title": document.title, "text": document.text}


@router.put(
    "/documents/{digest}",
    response_model=answers.DocumentTitle,
    responses=declared(404, 413),
    openapi_extra=_body("text/plain", "string"),
)
async def send_document(digest: Digest, request: Request, services: Parts) -> Any:
    """Send the text whose hash the ledger has: UTF-8, at most 64 KiB, its first line `# TITLE`.

    Nobody has to be believed: only exactly the text with this hash is taken, from anybody.
    """
    request.state.idle = WRITES_TO_THE_BUCKET

    def keep(data: bytes) -> dict[str, str]:
        _check_named(services, lambda: is_named(services.engine, digest))
        document = services.documents.put(digest, data)
        return {"document": document.digest, "title": document.title}

    return await run_in_threadpool(keep, await request.body())


@router.get(
    "/datasets/{dataset}/dictionary", response_model=answers.Dictionary, responses=declared(404)
)
def show_dictionary(dataset: DatasetId, services: Parts) -> Any:
    """Which variables a dataset has, as its custodian says. For everybody."""
    return _supplement(services, dataset, "dictionary")


@router.put(
    "/datasets/{dataset}/dictionary",
    response_model=answers.Dictionary,
    responses=declared(400, 401, 403, 404, 413),
)
def publish_dictionary(
    dataset: DatasetId, body: schemas.DictionaryBody, services: Parts, caller: SignedIn
) -> Any:
    """Publish the dictionary that came of an ingest: the dataset's custodian only."""
    return _keep_supplement(services, caller, dataset, "dictionary", body.model_dump())


@router.get(
    "/datasets/{dataset}/features", response_model=answers.Features, responses=declared(404)
)
def show_features(dataset: DatasetId, services: Parts) -> Any:
    """Which assays and files of gene sets a dataset has, as its custodian says. For everybody."""
    return _supplement(services, dataset, "features")


@router.put(
    "/datasets/{dataset}/features",
    response_model=answers.Features,
    responses=declared(400, 401, 403, 404, 413),
)
def publish_features(
    dataset: DatasetId, body: schemas.FeaturesBody, services: Parts, caller: SignedIn
) -> Any:
    """Publish which assays and files of gene sets there are: the dataset's custodian only."""
    return _keep_supplement(services, caller, dataset, "features", body.model_dump())


@router.get(
    "/datasets/{dataset}/report",
    response_model=answers.Report,
    responses=declared(401, 403, 404),
)
def show_report(dataset: DatasetId, services: Parts, caller: SignedIn) -> Any:
    """What the last ingest took, held back and did not take: for the dataset's custodian."""
    services.projection.sync()
    supplements.check_custodian(services.projection.replayed, caller, dataset)
    return _supplement(services, dataset, "report")


@router.put(
    "/datasets/{dataset}/report",
    response_model=answers.Report,
    responses=declared(400, 401, 403, 404, 413),
)
def keep_report(
    dataset: DatasetId, body: schemas.ReportBody, services: Parts, caller: SignedIn
) -> Any:
    """Keep the report of an ingest for the pages of the dataset's custodian."""
    return _keep_supplement(services, caller, dataset, "report", body.model_dump())


@router.get("/code/{digest}", response_model=answers.CodeManifest, responses=declared(404))
def show_code(digest: Digest, services: Parts) -> Any:
    """The files and libraries behind a permit's code hash. For everybody."""
    _check_named(services, lambda: register.is_code_of_a_permit(services.engine, digest))
    manifest = get_manifest(services.bucket, digest)
    return {"code": digest, "files": manifest.files, "libraries": list(manifest.libraries)}


@router.put(
    "/code/{digest}",
    response_model=answers.CodeHash,
    responses=declared(404, 413),
    openapi_extra=_body("application/json", "object"),
)
async def send_code(digest: Digest, request: Request, services: Parts) -> Any:
    """Send the manifest behind the code hash of a permit, from anybody."""
    request.state.idle = WRITES_TO_THE_BUCKET

    def keep(data: bytes) -> dict[str, str]:
        _check_named(services, lambda: register.is_code_of_a_permit(services.engine, digest))
        put_manifest(services.bucket, digest, data)
        return {"code": digest}

    return await run_in_threadpool(keep, await request.body())


@router.get("/names", response_model=list[answers.Name], responses=declared())
def list_names(services: Parts, after: After = "", limit: Limit = 100) -> Any:
    """What accounts are called, by account; `after` is the last account of the page before. For
    everybody.
    """
    return [_show(row) for row in names.list_names(services.engine, after, limit)]


@router.put("/names/{account}", response_model=answers.Name, responses=declared(400, 401, 403, 413))
def set_name(
    account: AccountPath, body: schemas.NameBody, services: Parts, caller: SignedIn
) -> Any:
    """Say what an account is called, also before it has a role: a member of the committee only."""
    services.projection.sync()
    row = names.set_name(
        services.engine,
        services.projection.replayed,
        caller,
        account,
        body.name,
        body.institution,
        services.clock(),
    )
    return _show(row)


def _supplement(services: Services, dataset: str, kind: supplements.Kind) -> dict[str, Any]:
    content = supplements.find(services.engine, dataset, kind)
    if content is None:
        raise NotFound(
            f"the custodian of this dataset gave no {kind}", "ask them: volens dataset ingest"
        )
    return content


def _keep_supplement(
    services: Services,
    caller: Caller,
    dataset: str,
    kind: supplements.Kind,
    content: dict[str, Any],
) -> dict[str, Any]:
    services.projection.sync()
    supplements.put(
        services.engine,
        services.projection.replayed,
        caller,
        dataset,
        kind,
        content,
        services.clock(),
    )
    return content


def _check_named(services: Services, is_known: Callable[[], bool]) -> None:
    """Raise NotFound unless the ledger, as it is now, names the hash."""
    services.projection.sync()
    if not is_known():
        raise NotFound(
            "the ledger names nothing with this hash",
            "register the dataset or ask for the permit first, then send its text",
        )


def _show(row: Name) -> dict[str, Any]:
    return {
        "account": row.account,
        "name": row.name,
        "institution": row.institution,
        "by": row.by,
        "at": row.at,
    }
