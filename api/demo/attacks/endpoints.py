"""Attacks on HTTP endpoints: missing or foreign sessions, forged and foreign messages, hostile
bodies.

Each is one request of an attacker (`forged`), or the accepted control. The demo makes the forged
ones on its own endpoints, where they change nothing; the tests make both. Several requests in one
attack count as refused only if each of them is.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx

from api.client.client import Client, wire
from chain.wallets import Wallet
from governance.certificates import trusted
from governance.consent import PRESETS, offer

FAR = 1 << 39  # a deadline in seconds since 1970
BODY_LIMIT = 4 << 20  # bytes that the routes for lists of people accept
NOBODY = "00" * 32


def _nobody(_: bool) -> Client:
    raise LookupError("nobody's role can be taken here")


@dataclass
class Endpoints:
    """A web process, two patients of one dataset, and members of staff by name.

    `run` is Noor's, with a sealed output; `open_run` gives one of hers that can be cancelled,
    `permit` one she can use. `old_challenge` and `demote` change what others see, and exist only if
    attacks have a separate deployment.
    """

    url: str
    staff: Callable[[str], Client]
    ada: Client
    bea: Client
    dataset: bytes
    permit: bytes
    run: str
    open_run: Callable[[], str]
    old_challenge: Callable[[], str] = str
    demote: Callable[[bool], Client] = _nobody
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60.0, verify=trusted()))
    _tokens: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        return self.ask(
            "GET", path, headers=headers | ({"Authorization": f"Bearer {token}"} if token else {})
        )

    def post(self, path: str, body: Mapping[str, Any] | bytes, **headers: str) -> httpx.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask(
            "POST", path, content=data, headers={"content-type": "application/json"} | headers
        )

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(method, self.url + path, **more)

    def challenge(self) -> str:
        return str(self.post("/sign-in/challenge", b"").json()["nonce"])

    def signed_in(self, who: Client, nonce: str | None = None, **change: Any) -> dict[str, Any]:
        """The body of a sign-in; `change` is made before it is signed."""
        message: dict[str, Any] = {
            "audience": self.url,
            "account": who.wallet.address,
            "subject": who.subject or bytes(32),
            "nonce": bytes.fromhex(nonce or self.challenge()),
            "issuedAt": int(time.time()),
        } | change
        subject = message["subject"].hex()
        return {
            "account": message["account"],
            "subject": None if subject == NOBODY else subject,
            "nonce": message["nonce"].hex(),
            "issuedAt": message["issuedAt"],
            "signature": who.sign("SignIn", message).hex(),
        }

    def token(self, who: Client) -> str:
        """A client's session token, cached."""
        name = who.wallet.address
        if name not in self._tokens:
            self._tokens[name] = self.new_token(who)
        return self._tokens[name]

    def new_token(self, who: Client) -> str:
        return str(self.post("/sign-in", self.signed_in(who)).json()["token"])

    def consent(self, signer: Client | None = None) -> dict[str, Any]:
        """A consent of Ada's that the ledger would accept now, signed by her or by somebody else in
        her name.
        """
        consents = self.get(f"/consents/{id_of(self.ada)}", self.token(self.ada)).json()["consents"]
        old = next(
            (row for row in consents if row["dataset"] == self.dataset.hex()),
            {"epoch": 0, "version": 0},
        )
        offered = offer(
            PRESETS["cancer"],
            bytes.fromhex(id_of(self.ada)),
            self.dataset,
            old["epoch"],
            old["version"],
            int(time.time()),
            FAR,
        )
        by = (signer or self.ada).sign("Grant", offered.message).hex()
        return {
            "items": [
                {
                    "grant": wire("Grant", offered.message),
                    "signer": self.ada.wallet.signer.hex(),
                    "signature": by,
                }
            ]
        }


Action = Callable[[Endpoints, bool], httpx.Response]


@dataclass(frozen=True, slots=True)
class EndpointAttack:
    """`expected` is the answer to the forged request; `alone`: it affects other attacks."""

    name: str
    attacker: str
    expected: str
    action: Action
    alone: bool = False


TABLE: list[EndpointAttack] = []


def attack(
    name: str, attacker: str, expected: str, alone: bool = False
) -> Callable[[Action], Action]:
    def add(action: Action) -> Action:
        TABLE.append(EndpointAttack(name, attacker, expected, action, alone))
        return action

    return add


def outcome(answer: httpx.Response) -> str:
    """The rule or the title of a problem, or 'accepted'."""
    if answer.is_success:
        return "accepted"
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    return str(problem.get("reason") or problem.get("title") or answer.status_code)


def worst(answers: Iterator[httpx.Response] | Sequence[httpx.Response]) -> httpx.Response:
    """The worst of several answers: an acceptance, a failure of the service, else their common
    refusal.

    Refusals by different rules are joined, which no attack expects.
    """
    responses = list(answers)
    outcomes = sorted({outcome(response) for response in responses})
    if len(outcomes) > 1:
        responses.append(
            httpx.Response(responses[-1].status_code, json={"title": "; ".join(outcomes)})
        )
    return next(
        (response for response in responses if response.is_success or response.is_server_error),
        responses[-1],
    )


def id_of(who: Client) -> str:
    return (who.subject or b"").hex()


# -- authentication


@attack("her accesses without a session", "stranger", "Not signed in")
def no_session(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.get(
        f"/subjects/{id_of(endpoints.ada)}/accesses",
        None if forged else endpoints.token(endpoints.ada),
    )


@attack("a session's token made up", "stranger", "Not signed in")
def made_up(endpoints: Endpoints, forged: bool) -> httpx.Response:
    token = secrets.token_urlsafe(32) if forged else endpoints.token(endpoints.ada)
    return endpoints.get(f"/consents/{id_of(endpoints.ada)}", token)


@attack("a database statement as a session's token", "stranger", "Not signed in")
def statement_token(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.get(
        f"/consents/{id_of(endpoints.ada)}",
        "' OR '1'='1" if forged else endpoints.token(endpoints.ada),
    )


@attack("a token under another scheme", "stranger", "Not signed in")
def basic(endpoints: Endpoints, forged: bool) -> httpx.Response:
    scheme = "Basic" if forged else "Bearer"
    return endpoints.get(
        f"/consents/{id_of(endpoints.ada)}",
        Authorization=f"{scheme} {endpoints.token(endpoints.ada)}",
    )


@attack("a page's cookie at a route for programs", "another site", "Not signed in")
def cookie(endpoints: Endpoints, forged: bool) -> httpx.Response:
    token = endpoints.token(endpoints.ada)
    headers = (
        {"Cookie": f"volens-session={token}"} if forged else {"Authorization": f"Bearer {token}"}
    )
    return endpoints.get(f"/consents/{id_of(endpoints.ada)}", **headers)


@attack("a challenge used twice", "stranger", "Not signed in")
def used_challenge(endpoints: Endpoints, forged: bool) -> httpx.Response:
    body = endpoints.signed_in(endpoints.staff("noor"))
    answer = endpoints.post("/sign-in", body)
    return endpoints.post("/sign-in", body) if forged else answer


@attack("a challenge that nobody gave", "stranger", "Not signed in")
def unknown_challenge(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.post(
        "/sign-in",
        endpoints.signed_in(endpoints.staff("noor"), secrets.token_hex(32) if forged else None),
    )


@attack("an expired challenge", "stranger", "Not signed in", alone=True)
def expired_challenge(endpoints: Endpoints, forged: bool) -> httpx.Response:
    nonce = endpoints.old_challenge() if forged else endpoints.challenge()
    return endpoints.post("/sign-in", endpoints.signed_in(endpoints.staff("noor"), nonce))


@attack("a sign-in that was signed long ago", "stranger", "Not signed in")
def old_sign_in(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.post(
        "/sign-in",
        endpoints.signed_in(endpoints.staff("noor"), issuedAt=int(time.time()) - 400 * forged),
    )


@attack("a sign-in for another service", "another site", "Not signed in")
def other_audience(endpoints: Endpoints, forged: bool) -> httpx.Response:
    change = {"audience": "http://phish.example"} if forged else {}
    return endpoints.post("/sign-in", endpoints.signed_in(endpoints.staff("noor"), **change))


@attack("a challenge that another address signed", "analyst", "Not signed in")
def other_address(endpoints: Endpoints, forged: bool) -> httpx.Response:
    """The message names Sol, but Noor signed it."""
    noor, sol = endpoints.staff("noor"), endpoints.staff("sol")
    return endpoints.post(
        "/sign-in", endpoints.signed_in(noor if forged else sol, account=sol.wallet.address)
    )


@attack("a patient's id with another person's key", "patient", "Not signed in")
def borrowed_id(endpoints: Endpoints, forged: bool) -> httpx.Response:
    who = endpoints.bea if forged else endpoints.ada
    return endpoints.post("/sign-in", endpoints.signed_in(who, subject=endpoints.ada.subject))


@attack("a sign-in of a key without a role", "stranger", "Not signed in")
def no_role(endpoints: Endpoints, forged: bool) -> httpx.Response:
    noor = endpoints.staff("noor")
    return endpoints.post(
        "/sign-in",
        endpoints.signed_in(Client(endpoints.url, noor.identity, Wallet.new()) if forged else noor),
    )


@attack("a session after signing out", "stranger", "Not signed in")
def signed_out(endpoints: Endpoints, forged: bool) -> httpx.Response:
    token = endpoints.new_token(endpoints.ada)
    if forged:
        endpoints.post(
            "/pages/sign-out", b"", Origin=endpoints.url, Cookie=f"volens-session={token}"
        )
    return endpoints.get(f"/consents/{id_of(endpoints.ada)}", token)


@attack("a session of a role that was withdrawn", "auditor", "Not for you", alone=True)
def withdrawn_role(endpoints: Endpoints, forged: bool) -> httpx.Response:
    eve = endpoints.demote(False)
    token = endpoints.new_token(eve)
    if forged:
        endpoints.demote(True)
    return endpoints.get("/trail/denials", token)


# -- other people's data


@attack("another patient's accesses", "patient", "Not for you")
def other_accesses(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.get(
        f"/subjects/{id_of(endpoints.ada)}/accesses",
        endpoints.token(endpoints.bea if forged else endpoints.ada),
    )


@attack("another patient's consents", "patient", "Not for you")
def other_consents(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.get(
        f"/consents/{id_of(endpoints.ada)}",
        endpoints.token(endpoints.bea if forged else endpoints.ada),
    )


@attack("what another patient's withdrawals led to", "patient", "Not for you")
def other_withdrawals(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.get(
        f"/subjects/{id_of(endpoints.ada)}/withdrawals",
        endpoints.token(endpoints.bea if forged else endpoints.ada),
    )


@attack("a patient's consents by an auditor", "auditor", "Not for you")
def audited_consents(endpoints: Endpoints, forged: bool) -> httpx.Response:
    """An auditor may see uses of the data, but not consents."""
    what = "consents/{}" if forged else "subjects/{}/accesses"
    return endpoints.get(
        f"/{what.format(id_of(endpoints.ada))}", endpoints.token(endpoints.staff("vera"))
    )


@attack("everybody's refusals without an auditor's role", "analyst", "Not for you")
def denials(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.get(
        "/trail/denials", endpoints.token(endpoints.staff("noor" if forged else "vera"))
    )


@attack("a run's output without being its analyst or a checker", "custodian", "Not for you")
def other_output(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.get(
        f"/runs/{endpoints.run}/output",
        endpoints.token(endpoints.staff("omar" if forged else "noor")),
    )


@attack("another analyst's run cancelled", "checker", "NotTheAnalyst")
def other_run(endpoints: Endpoints, forged: bool) -> httpx.Response:
    run = endpoints.open_run()
    return endpoints.post(
        f"/runs/{run}/cancel", _cancel(endpoints.staff("sol" if forged else "noor"), run)
    )


@attack("a message for one run at another one's route", "analyst", "Not a valid message")
def other_endpoint(endpoints: Endpoints, forged: bool) -> httpx.Response:
    run = endpoints.open_run()
    return endpoints.post(
        f"/runs/{endpoints.run if forged else run}/cancel", _cancel(endpoints.staff("noor"), run)
    )


def _cancel(who: Client, run: str) -> dict[str, Any]:
    message = {"run": bytes.fromhex(run), "deadline": FAR}
    return {"cancel": wire("Cancel", message), "signature": who.sign("Cancel", message).hex()}


@attack("a consent signed by somebody else", "patient", "SignatureInvalid")
def forged_consent(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return endpoints.post("/consents", endpoints.consent(endpoints.bea if forged else None))


@attack("a withdrawal signed by somebody else", "patient", "SignatureInvalid")
def forged_withdrawal(endpoints: Endpoints, forged: bool) -> httpx.Response:
    epoch = endpoints.consent()["items"][0]["grant"]["epoch"]
    message = {"subject": endpoints.ada.subject, "dataset": endpoints.dataset, "epoch": epoch}
    by = (endpoints.bea if forged else endpoints.ada).sign("Revoke", message).hex()
    return endpoints.post(
        "/consents/revocations",
        {
            "revoke": wire("Revoke", message),
            "signer": endpoints.ada.wallet.signer.hex(),
            "signature": by,
        },
    )


@attack("parameters that are no strict JSON, signed all the same", "analyst", "Malformed")
def loose_parameters(endpoints: Endpoints, forged: bool) -> httpx.Response:
    loose = ('{"a":1,"a":1}', '{"a":NaN}', "{'a':1}")
    return worst(_run_request(endpoints, params) for params in (loose if forged else ("{}",)))


@attack(
    "parameters that are not canonical JSON, signed all the same", "analyst", "Not a valid message"
)
def spaced_parameters(endpoints: Endpoints, forged: bool) -> httpx.Response:
    """Parameters have one canonical text; otherwise two equal requests could look different."""
    spaced = ('{"a": 1}', '{"b":1,"a":1}', '{"a":1}\n', r'{"a":"\u0061"}')
    return worst(_run_request(endpoints, params) for params in (spaced if forged else ("{}",)))


@attack("other parameters than the signed ones", "stranger", "Not a valid message")
def other_parameters(endpoints: Endpoints, forged: bool) -> httpx.Response:
    return _run_request(endpoints, "{}", '{"a":1}' if forged else "")


def _run_request(endpoints: Endpoints, params: str, sent: str = "") -> httpx.Response:
    """`sent` is sent instead of the signed parameters."""
    noor = endpoints.staff("noor")
    message = {
        "permit": endpoints.permit,
        "paramsHash": sha256(params.encode()).digest(),
        "resultKey": secrets.token_bytes(32),
        "nonce": secrets.randbits(256),
        "deadline": FAR,
    }
    body = {
        "request": wire("RunRequest", message),
        "signature": noor.sign("RunRequest", message).hex(),
    }
    return endpoints.post("/runs", {**body, "params": sent or params})
