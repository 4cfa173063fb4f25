"""Personal data exists only in decrypted records: unique tokens in every field, searched
everywhere.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from analytics.code import code_hash, params_schema_hash
from analytics.params import complete
from analytics.simulate.synthetic import simulate_people
from api.client.client import Client, wire
from api.client.results import keep_pair, open_output
from api.errors import Answered
from api.ingest.sources import check_records
from api.operate.bootstrap import read_identity
from api.operate.processes import Parts
from api.operate.settings import Settings
from chain.wallets import Wallet, load
from governance.broker.custody import read_noise_root
from governance.consent import CATEGORIES, PRESETS, PURPOSES, bits, offer
from governance.objects.broker_client import BrokerClient
from governance.objects.envelope import decode_pieces, decode_run_keys, open_message, read_header
from governance.objects.ingest import Source, encrypt, store_leaves
from governance.objects.keys import new_pair, noise_key
from governance.objects.leaves import leaves_root
from governance.objects.vault import Bucket, open_record
from governance.rules.encoding import canonical_json
from governance.rules.ledger_data import identity_id

PEOPLE = 24
PARAMS = complete(
    {
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "models": {"logistic": ["genes"]},
        "folds": 2,
        "repeats": 2,
        "permutations": 19,
        "bootstraps": 0,
    }
)


BIRD = "Kanarie-"  # how every token begins


def canary() -> str:
    return BIRD + secrets.token_hex(12)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    running = Parts.start(Settings(home=tmp_path_factory.mktemp("home")))
    yield running
    running.stop()


class Deployment:
    """Clients of everybody in a running home."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.home = parts, parts.home
        self.identity: dict[str, Any] = read_identity(self.home) or {}
        self.bucket = Bucket("volens", parts.urls["bucket"])
        self.dataset = secrets.token_bytes(32)

    def client(self, name: str) -> Client:
        return Client(
            self.parts.urls["api"], self.identity, load(self.home / "keys" / f"{name}.json")[0]
        )

    def broker(self) -> BrokerClient:
        return BrokerClient(
            self.parts.urls["broker"], self.client("rita").domain, identity_id(self.identity)
        )


def with_canaries(payload: bytes, tokens: list[str]) -> bytes:
    """Every free field that a record of this format may carry beside its values gets a token of its
    own.
    """

    def token() -> str:
        tokens.append(canary())
        return tokens[-1]

    body: Any = json.loads(payload)
    if body.get("resourceType") != "Bundle":
        body["values"][token()] = "1.5"
    else:
        body |= {"id": token(), "identifier": {"value": token()}}
        for entry in body["entry"]:
            resource = entry["resource"]
            resource |= {
                "id": token(),
                "note": [{"text": token(), "authorString": token()}],
                "method": {"text": token()},
                "identifier": [{"value": token(), "system": f"urn:{token()}"}],
                "performer": [{"display": token()}],
                "device": {"display": token()},
                "bodySite": {"text": token()},
                "text": {
                    "status": "generated",
                    "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{token()}</div>',
                },
            }
            resource["subject"]["display"] = token()
            resource["code"]["text"] = token()
            resource["code"]["coding"][0]["display"] = token()
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def forms(token: str) -> Iterator[bytes]:
    """A token as it could hide: raw, UTF-16, hex (either case), base64 at each of its three
    offsets.
    """
    plain = token.encode()
    yield from (
        plain,
        token.encode("utf-16-le"),
        token.encode("utf-16-be"),
        plain.hex().encode(),
        plain.hex().upper().encode(),
    )
    for offset in range(3):
        yield base64.b64encode(plain[offset:])[: (len(plain) - offset) // 3 * 4]


def hits(tokens: list[str], places: dict[str, bytes]) -> list[str]:
    """Looked for in two steps, since there are thousands of forms: the common beginning, then the
    tokens there.
    """
    begins = list(forms(BIRD))
    suspicious = {
        name: data for name, data in places.items() if any(begin in data for begin in begins)
    }
    return [
        f"{name}: a form of token {number}"
        for name, data in suspicious.items()
        for number, token in enumerate(tokens)
        for form in forms(token)
        if form in data
    ]


@pytest.mark.parametrize("form", range(8))
def test_a_planted_token_is_found_in_each_form(form: int) -> None:
    """The search itself works: what it says is absent it would have seen."""
    token = canary()
    planted = b"before" + list(forms(token))[form] + b"after"
    assert hits([token], {"planted": planted, "clean": b"before after"}) == [
        "planted: a form of token 0"
    ]


def surfaces(home: Path) -> dict[str, bytes]:
    """Every file of every part: ledger journal, bucket, broker, database, logs."""
    searched = {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }
    for part in ("chain/", "bucket/", "broker/", "volens.db", "logs/"):
        assert any(name.startswith(part) for name in searched), f"nothing of {part} was searched"
    return searched


def test_personal_data_is_in_the_record_and_nowhere_else(parts: Parts) -> None:
    deployment = Deployment(parts)
    rita, omar, noor = (
        deployment.client("rita"),
        deployment.client("omar"),
        deployment.client("noor"),
    )
    people = {secrets.token_bytes(32): Wallet.new() for _ in range(PEOPLE)}
    items = []
    for subject, wallet in people.items():
        message = {
            "subject": subject,
            "signer": wallet.signer,
            "assurance": 1,
            "deadline": int(time.time()) + 600,
        }
        items.append(
            {
                "enrolment": wire("Enrolment", message),
                "registrarSignature": rita.sign("Enrolment", message).hex(),
                "signerSignature": wallet.sign(rita.domain, "Enrolment", message).hex(),
            }
        )
    rita.enrol(items)
    omar.register_dataset(deployment.dataset, sha256(b"document").digest())

    tokens: list[str] = []
    sources = [
        Source(subject, category, with_canaries(payload, tokens))
        for subject, person in zip(people, simulate_people(PEOPLE, seed=5), strict=True)
        for category, payload in (
            (2, person.observations(subject.hex())),
            (6, person.expression(subject.hex())),
        )
    ]
    leaves = encrypt(
        sources, deployment.dataset, omar.identity_id, deployment.broker(), deployment.bucket
    )
    ingest = secrets.token_bytes(32)
    root = leaves_root(ingest, deployment.dataset, leaves)
    store_leaves(deployment.bucket, root, leaves)
    omar.register_records(deployment.dataset, ingest, root, [leaf.to_json() for leaf in leaves])
    deployment.broker().hand_over(ingest, [leaf.to_json() for leaf in leaves])

    offers = [
        offer(
            PRESETS["cancer"],
            subject,
            deployment.dataset,
            0,
            0,
            int(time.time()),
            int(time.time()) + 600,
        )
        for subject in people
    ]
    rita.grant(
        [
            {
                "grant": wire("Grant", offered.message),
                "signer": wallet.signer.hex(),
                "signature": wallet.sign(rita.domain, "Grant", offered.message).hex(),
            }
            for offered, wallet in zip(offers, people.values(), strict=True)
        ]
    )
    run = requested(deployment, noor)
    await_state(noor, run, "sealed")
    opened = looked_at(deployment, run)
    bodies = refused_requests(deployment, tokens)

    for source in sources[:2]:  # a refused record is named by its place, never by what stands in it
        tokens.append(canary())
        broken = Source(
            source.subject,
            source.category,
            source.payload.replace(b":", f":{tokens[-1]}".encode(), 1),
        )
        with pytest.raises(Exception) as refusal:  # noqa: PT011 (whatever it is, it must not repeat the record)
            check_records([broken])
        bodies.append(f"{refusal.value} {getattr(refusal.value, 'hint', '')}".encode())

    assert len(tokens) >= 500
    places = surfaces(parts.home) | {f"error {number}": body for number, body in enumerate(bodies)}
    places |= {
        "result": opened.result,
        "disclosure": opened.disclosure,
        "trail": canonical_json(noor.trail()),
    }
    assert hits(tokens, places) == []
    noise = noise_key(read_noise_root(parts.home / "broker"), deployment.dataset)
    assert [
        name for name, body in places.items() if noise in body or noise.hex().encode() in body
    ] == []
    assert read_again(deployment, leaves, sources)


def requested(deployment: Deployment, noor: Client) -> str:
    permit = secrets.token_bytes(32)
    noor.request_permit(
        {
            "permit": permit,
            "dataset": deployment.dataset,
            "purposeNeed": bits(("cancer-research", "outside-recipient"), PURPOSES),
            "categories": bits(("observations", "expression"), CATEGORIES),
            "codeHash": code_hash(),
            "paramsSchemaHash": params_schema_hash(),
            "minCohort": 10,
            "outputClasses": 2,
            "questions": 12,
            "expiry": int(time.time()) + 86_400,
            "documentHash": sha256(b"document").digest(),
        }
    )
    for name in ("pia", "quinn"):
        deployment.client(name).vote(permit.hex(), True)
    key = keep_pair(deployment.home / "keys" / "noor.results" / "canary")
    return str(noor.request_run(permit, PARAMS, key, secrets.randbits(256))["run"])


def await_state(client: Client, run: str, state: str) -> None:
    deadline = time.monotonic() + 60
    while (current := client.run(run)["state"]) != state:
        assert time.monotonic() < deadline, f"the run stays {current}"
        time.sleep(0.1)


def looked_at(deployment: Deployment, run: str) -> Any:
    sol = deployment.client("sol")
    key = deployment.home / "keys" / "sol.results" / run
    sol.view_output(run, 1, keep_pair(key))
    return open_output(sol, deployment.broker(), sol.run(run), key, sol.wallet.address[2:].lower())


def refused_requests(deployment: Deployment, tokens: list[str]) -> list[bytes]:
    """What the endpoints answer to requests that carry tokens where they do not belong: each is
    refused.
    """
    import httpx

    url, answers = deployment.parts.urls["api"], []
    for method, path in (
        ("POST", "/consents"),
        ("POST", "/runs"),
        ("POST", "/enrolments"),
        ("POST", "/sign-in"),
        ("POST", "/datasets"),
        ("POST", "/permits"),
        ("POST", "/roles"),
    ):
        for body in (
            {"name": None},
            {"items": [None]},
            {"signature": None, "message": {"note": None}},
        ):
            token = canary()
            tokens.append(token)
            filled = json.loads(json.dumps(body).replace("null", json.dumps(token)))
            answers.append(httpx.request(method, f"{url}{path}", json=filled))
    for path in ("/runs/{}", "/permits/{}", "/subjects/{}/accesses", "/consents/{}", "/nowhere/{}"):
        tokens.append(canary())
        answers.append(httpx.get(url + path.format(tokens[-1])))
    for endpoint in ("/pieces", "/wrap", "/records", "/output-pieces"):
        tokens.append(canary())
        answers.append(
            httpx.post(
                deployment.parts.urls["broker"] + endpoint,
                json={"run": tokens[-1], "ingest": tokens[-1]},
            )
        )
    assert all(400 <= answer.status_code < 500 for answer in answers)
    with pytest.raises(Answered):
        deployment.client("noor").run("00" * 32)
    return [answer.content for answer in answers]


def read_again(deployment: Deployment, leaves: list[Any], sources: list[Source]) -> bool:
    """The tokens are where they belong: a worker's question opens each record to the bytes that
    went in.
    """
    permit_run = requested(deployment, deployment.client("noor"))
    deployment.parts.stop_part("worker")
    wanda = load(deployment.home / "keys" / "worker.json")[0]
    client = deployment.client("noor")
    private, public = new_pair()
    attempt = client.run(permit_run)["attempt"] + 1
    subjects = sorted({source.subject for source in sources})
    from chain.events import RunAuthorised
    from chain.ledger import Ledger, message_tuple
    from governance.readmodel.database import TableOutbox, open_database

    engine = open_database(f"sqlite:///{deployment.home / 'other.db'}")
    ledger = Ledger.connect(
        deployment.parts.urls["chain"], deployment.identity, wanda, TableOutbox(engine)
    )
    binding = {
        "run": bytes.fromhex(permit_run),
        "attempt": attempt,
        "subjectsHash": sha256(b"".join(subjects)).digest(),
        "workerKey": public,
        "codeHash": code_hash(),
        "leaseSeconds": 600,
        "relaxed": 0,
        "deadline": ledger.now() + 60,
    }
    mined = ledger.relay(
        "AccessLedger",
        "authorise",
        message_tuple("WorkerBinding", binding),
        wanda.sign(ledger.domain, "WorkerBinding", binding),
        subjects,
    )
    assert mined.one(RunAuthorised).granted == PEOPLE
    blobs = [deployment.bucket.get(f"o/{leaf.ciphertext.hex()}") for leaf in leaves]
    headers = [read_header(blob) for blob in blobs]
    answer = deployment.broker().pieces(
        bytes.fromhex(permit_run), attempt, mined.tx, public, headers, wanda
    )
    _, encoded = decode_run_keys(open_message(private, answer.info, answer.sealed))
    pieces = decode_pieces(encoded, answer.broker)
    for leaf, blob, header, source in zip(leaves, blobs, headers, sources, strict=True):
        shares = [piece.share for piece in pieces if piece.record == leaf.record]
        if open_record(blob, leaf.ciphertext, header.label, shares) != source.payload:
            return False
    return True
