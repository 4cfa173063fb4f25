"""The demo's personas: each acts with her own key, through the public HTTP routes."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.client.client import Client, wire
from api.client.orders import role_order
from api.demo import counts
from api.errors import NotServing
from api.operate.bootstrap import read_identity
from api.operate.processes import Parts
from chain.signatures import Domain, domain_of
from chain.vocabulary import Role
from chain.wallets import Wallet, load, save
from governance.consent import PRESETS, Offer, Preset, offer
from governance.objects.broker_client import BrokerClient
from governance.rules.ledger_data import identity_id

BATCH = 60  # items of one transaction
CONSENT = PRESETS["cancer"]


@dataclass(frozen=True, slots=True)
class Patient:
    """One demo patient; `number` counts from 0, and 0 is Ada."""

    number: int
    subject: bytes
    wallet: Wallet


class Cast:
    """All personas, with a client each."""

    def __init__(self, home: Path, parts: Parts) -> None:
        self.home, self.parts = home, parts
        self.identity: dict[str, Any] = read_identity(home) or {}
        self.domain: Domain = domain_of(self.identity)
        self.dataset = secrets.token_bytes(32)  # GSE7390, of `patients`
        self.simulated = secrets.token_bytes(32)  # genomes and clinical records, of `invented`
        self.measured = secrets.token_bytes(32)  # measurements over time, of `invented`
        self.patients: list[Patient] = []
        self.invented: list[Patient] = []
        self._clients: dict[str, Client] = {}
        self.facts: dict[str, Any] = {}

    def client(self, name: str) -> Client:
        """The client of a member of staff, or of Ada."""
        if name not in self._clients:
            wallet, public = load(self.home / "keys" / f"{name}.json")
            subject = bytes.fromhex(public["subject"]) if "subject" in public else None
            self._clients[name] = Client(self.parts.urls["api"], self.identity, wallet, subject)
        return self._clients[name]

    def healthy_parts(self) -> list[str]:
        """All services, if each answered a health request (the API's answer counts for itself).

        Raises NotServing, which names the first that is down.
        """
        parts = self.client("noor").health()
        for name, report in parts.items():
            if report["state"] != "ok":
                raise NotServing(
                    f"the {name} does not answer", f"read logs/{name}.log in the demo's folder"
                )
        return [
            name
            for name in ("ledger", "bucket", "broker", "api", "worker")
            if name == "api" or name in parts
        ]

    def broker(self) -> BrokerClient:
        return BrokerClient(self.parts.urls["broker"], self.domain, identity_id(self.identity))

    def enrol(self, patients: int, invented: int, first: int = 0) -> int:
        """Enrol so many new people for each dataset; returns how many the ledger accepted.

        first: the number of the first; 0 is Ada.
        """
        rita = self.client("rita")
        items = []
        for number in range(first, first + patients + invented):
            wallet, subject = Wallet.new(), secrets.token_bytes(32)
            name = "ada" if number == 0 else f"person-{number:03d}"
            save(wallet, self.home / "keys" / f"{name}.json", {"subject": subject.hex()})
            message = {
                "subject": subject,
                "signer": wallet.signer,
                "assurance": 1,
                "deadline": int(time.time()) + 3600,
            }
            items.append(
                {
                    "enrolment": wire("Enrolment", message),
                    "registrarSignature": rita.sign("Enrolment", message).hex(),
                    "signerSignature": wallet.sign(self.domain, "Enrolment", message).hex(),
                }
            )
            (self.patients if number < first + patients else self.invented).append(
                Patient(number, subject, wallet)
            )
        answers = [
            rita.enrol(items[first : first + BATCH]) for first in range(0, len(items), BATCH)
        ]
        return sum(item["accepted"] for answer in answers for item in answer["items"])

    def give_role(self, name: str, role: Role) -> None:
        """The committee gives a role to the account of this key."""
        pia, account = self.client("pia"), self.client(name).wallet.address
        order = role_order(pia, account, role, int(time.time()))
        for member in ("pia", "quinn"):
            order = order.signed_by(self.client(member))
        pia.set_role(order.message, list(order.signatures.values()))

    def agree(
        self, dataset: bytes, patients: list[Patient], preset: Preset = CONSENT
    ) -> tuple[int, dict[str, Any], Offer]:
        """Sign a preset for people; returns the number accepted, and the first receipt with its
        terms.
        """
        now = int(time.time())
        offers = [offer(preset, p.subject, dataset, 0, 0, now, now + 3600) for p in patients]
        items = [
            {
                "grant": wire("Grant", item.message),
                "signer": p.wallet.signer.hex(),
                "signature": p.wallet.sign(self.domain, "Grant", item.message).hex(),
            }
            for p, item in zip(patients, offers, strict=True)
        ]
        anybody = self.client("rita")
        answers = [
            anybody.grant(items[first : first + BATCH]) for first in range(0, len(items), BATCH)
        ]
        taken = sum(item["accepted"] for answer in answers for item in answer["items"])
        return taken, answers[0]["items"][0]["proof"], offers[0]

    def keys(self) -> dict[str, set[str]]:
        """The people whose keys the broker released, by run and attempt; read by a program without
        our code.
        """
        return _counted("keys", str(self.home / "broker" / "journal.jsonl"))

    def logged(self) -> dict[str, set[str]]:
        """The people whose access the ledger recorded; read from raw logs by a program without our
        code.
        """
        return _counted(
            "logged",
            self.parts.urls["chain"],
            ",".join(self.domain.contracts[name] for name in ("AccessLedger", "CareLedger")),
            str(self.identity["deployBlock"]),
        )

    def fetches(self) -> int:
        """The number of objects read from the bucket, by its request log (written just after each
        answer).
        """
        time.sleep(0.2)
        log = (self.home / "bucket" / "requests.log").read_text(errors="replace")
        return sum("GET" in line and "alt=media" in line for line in log.splitlines())

    def await_run(
        self, run: str, ready: Callable[[dict[str, Any]], bool], seconds: float = 300.0
    ) -> dict[str, Any]:
        """Wait until a run has a wanted state. Raises NotServing when that takes too long."""
        deadline = time.monotonic() + seconds
        anybody = self.client("noor")
        while not ready(state := anybody.run(run)):
            if time.monotonic() > deadline or self.parts.ended():
                raise NotServing(
                    f"the run did not get further than {state['state']}",
                    "read the files under logs in the demo's folder",
                )
            time.sleep(0.1)
        return state


def _counted(*arguments: str) -> dict[str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-I", counts.__file__, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: set(subjects) for name, subjects in json.loads(done.stdout).items()}
