"""A served demo home and a real Chromium for the tests of the pages, once for each file."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import MISSING, find_browser
from clinic import Clinic
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from signed_forms import EVENT

from analytics.code import code_hash, params_schema_hash
from analytics.params import complete
from analytics.simulate.synthetic import simulate_people
from api.client.client import Client, wire
from api.client.results import keep_pair, reading_key
from api.operate.bootstrap import DEMO_HOME, read_identity
from api.operate.processes import Parts
from api.operate.settings import Settings
from api.pages.demo_accounts import COOKIE
from chain.wallets import Wallet, load, save
from governance.certificates import trusted
from governance.consent import BATCH, CATEGORIES, PRESETS, PURPOSES, bits, offer
from governance.objects.broker_client import BrokerClient
from governance.objects.ingest import Source, encrypt, store_leaves
from governance.objects.keys import new_pair
from governance.objects.leaves import leaves_root
from governance.objects.vault import Bucket
from governance.permits import run_id
from governance.readmodel.database import open_database
from governance.readmodel.queries import find_receipt
from governance.rules.ledger_data import identity_id

PEOPLE = 120  # enough for curves: a step of theirs holds ten people
expect.set_options(timeout=EVENT)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_OUTCOME = {
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "models": {"logistic": ["genes"]},
    "folds": 2,
    "repeats": 2,
}
SHORT = complete(_OUTCOME | {"permutations": 19, "bootstraps": 0})
WIDE = complete(
    _OUTCOME
    | {
        "permutations": 19,
        "bootstraps": 0,
        "models": {"logistic": ["genes", "clinical", "combined"], "svm": ["genes"]},
    }
)
# A minute on any machine, and a new line of its log every few seconds: whoever asks for it ends it.
_SETS = ["genes", "clinical", "combined"]
LONG = complete(
    _OUTCOME
    | {
        "models": {"boosting": _SETS, "forest": _SETS},
        "permutations": 499,
        "bootstraps": 0,
        "repeats": 50,
    }
)


def batched(items: list[Any]) -> list[list[Any]]:
    """As many at a time as one transaction holds."""
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


@dataclass
class Deployment:
    """A running home with willing people; `client` signs as any of them, `runs` names what was
    asked for.
    """

    parts: Parts
    dataset: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    subjects: list[bytes] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    permit: bytes = b""
    pictures: str = ""
    short: bytes = SHORT
    wide: bytes = WIDE
    long: bytes = LONG

    @property
    def home(self) -> Path:
        return self.parts.home

    @property
    def url(self) -> str:
        return self.parts.urls["api"]

    @cached_property
    def _entered(self) -> httpx.Response:
        """The one opening of the printed address; every visit of the tests is in the browser that
        it admits.
        """
        answer = httpx.get(self.parts.address, follow_redirects=False, verify=trusted())
        assert answer.status_code == 303
        return answer

    @property
    def word(self) -> str:
        """What admits to the demo accounts's keys."""
        return self._entered.headers["location"].removeprefix(f"/#{COOKIE}=")

    @property
    def entrance(self) -> dict[str, Any]:
        """The cookie that shows who is played."""
        answer = self._entered
        return {
            "name": COOKIE,
            "value": answer.cookies[COOKIE],
            "url": self.url,
            "httpOnly": True,
            "sameSite": "Strict",
        }

    @property
    def identity(self) -> dict[str, Any]:
        return read_identity(self.home) or {}

    @cached_property
    def clinic(self) -> Clinic:
        """A clinician and his patient, once somebody asks for them."""
        return Clinic(self)

    def key_file(self, name: str) -> Path:
        return self.home / "keys" / f"{name}.json"

    def client(self, name: str) -> Client:
        wallet, facts = load(self.key_file(name))
        subject = bytes.fromhex(facts["subject"]) if "subject" in facts else None
        return Client(self.url, self.identity, wallet, subject)

    def broker(self) -> BrokerClient:
        return BrokerClient(
            self.parts.urls["broker"], self.client("rita").domain, identity_id(self.identity)
        )

    def bring_in(self, count: int) -> None:
        """Enrol everybody, bring two records of each in, and let all but Ada agree."""
        rita, omar = self.client("rita"), self.client("omar")
        # Not drawn: people are split into folds in the order of their ids, and the figures follow.
        people = {sha256(b"person %d" % number).digest(): Wallet.new() for number in range(count)}
        items = []
        for number, (subject, wallet) in enumerate(people.items()):
            save(
                wallet,
                self.key_file("ada" if number == 0 else f"person-{number:03d}"),
                {"subject": subject.hex()},
            )
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
        for part in batched(items):
            rita.enrol(part)
        omar.register_dataset(self.dataset, sha256(b"document").digest())
        sources = [
            Source(subject, category, payload)
            for subject, person in zip(people, simulate_people(count, seed=5), strict=True)
            for category, payload in (
                (2, person.observations(subject.hex())),
                (6, person.expression(subject.hex())),
            )
        ]
        bucket = Bucket("volens", self.parts.urls["bucket"])
        leaves = encrypt(sources, self.dataset, omar.identity_id, self.broker(), bucket)
        ingest = secrets.token_bytes(32)
        root = leaves_root(ingest, self.dataset, leaves)
        store_leaves(bucket, root, leaves)
        omar.register_records(self.dataset, ingest, root, [leaf.to_json() for leaf in leaves])
        self.broker().hand_over(ingest, [leaf.to_json() for leaf in leaves])
        self.subjects = list(people)
        now = int(time.time())
        offers = [
            offer(PRESETS["cancer"], subject, self.dataset, 0, 0, now, now + 600)
            for subject in self.subjects[1:]
        ]
        for part in batched(offers):
            rita.grant(
                [
                    {
                        "grant": wire("Grant", offered.message),
                        "signer": people[offered.message["subject"]].signer.hex(),
                        "signature": people[offered.message["subject"]]
                        .sign(rita.domain, "Grant", offered.message)
                        .hex(),
                    }
                    for offered in part
                ]
            )

    def allow(self) -> None:
        self.permit = secrets.token_bytes(32)
        self.client("noor").request_permit(
            {
                "permit": self.permit,
                "dataset": self.dataset,
                "purposeNeed": bits(("cancer-research", "outside-recipient"), PURPOSES),
                "categories": bits(("observations", "expression"), CATEGORIES),
                "codeHash": code_hash(),
                "paramsSchemaHash": params_schema_hash(),
                "minCohort": 10,
                "outputClasses": 2,
                "questions": 100,
                "expiry": int(time.time()) + 86_400,
                "documentHash": sha256(b"document").digest(),
            }
        )
        for name in ("pia", "quinn"):
            self.client(name).vote(self.permit.hex(), True)

    def request(self, name: str, params: bytes, drawn: bool = False) -> str:
        """drawn: its result is sealed to a key in a file, as earlier versions made it."""
        noor, nonce = self.client("noor"), secrets.randbits(256)
        run = run_id(noor.wallet.address, nonce)
        key = keep_pair(self.result_key(run.hex())) if drawn else reading_key(noor, run)
        noor.request_run(self.permit, params, key, nonce)
        run = run.hex()
        self.runs[name] = run
        return run

    def result_key(self, run: str) -> Path:
        return self.parts.settings.result_folder("noor") / f"{run}.key"

    def receipt_of(self, tx: str) -> dict[str, Any]:
        """Where a transaction stands, as the tables say it."""
        engine = open_database(f"sqlite:///{self.home / 'volens.db'}")
        receipt = find_receipt(engine, tx)
        engine.dispose()
        return receipt

    def picture(self, page: Page, name: str, height: int) -> None:
        """Keep the page's first `height` pixels when VOLENS_PICTURES names a folder: the pictures
        of the README.
        """
        if self.pictures:
            page.set_viewport_size({"width": 1280, "height": height})
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=Path(self.pictures) / f"{name}.png")

    def await_run(self, run: str, *states: str) -> None:
        deadline = time.monotonic() + 60
        while (state := self.client("noor").run(run)["state"]) not in states:
            assert time.monotonic() < deadline, f"the run stays {state}"
            time.sleep(0.1)

    def release(self, run: str) -> None:
        attempt = self.client("noor").run(run)["attempt"]
        for name in ("sol", "tess"):
            self.client(name).view_output(run, attempt, new_pair()[1])
            self.client(name).approve(run)


@pytest.fixture(scope="module")
def people_on_the_pages() -> int:
    """A file whose tests ask for no run needs fewer and no worker, and says so with a fixture of
    this name.
    """
    return PEOPLE


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, people_on_the_pages: int
) -> Iterator[Deployment]:
    with served(tmp_path_factory.mktemp("pages"), people_on_the_pages) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def serve_home() -> Callable[..., AbstractContextManager[Deployment]]:
    """For a file that wants a home of its own, e.g. one with https."""
    return served


@contextmanager
def served(home: Path, people: int = PEOPLE) -> Iterator[Deployment]:
    """A served home of the demo with so many people, and an approved permit."""
    (home / DEMO_HOME).touch()
    settings = Settings(home=home, demo=True, api_host="127.0.0.1")
    parts = Parts.start(settings, worker=people == PEOPLE)
    try:
        deployment = Deployment(parts, pictures=Settings().pictures)
        deployment.bring_in(people)
        deployment.allow()
        yield deployment
    finally:
        parts.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = find_browser(Settings().chromium)
    if chromium is None:
        pytest.fail(MISSING, False)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield running
        running.close()


@dataclass
class Visit:
    """One visitor's browser: her page, every host that it asked, and what it complained of."""

    context: BrowserContext
    page: Page
    url: str
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def act_as(self, name: str, after: str = "") -> Page:
        """Sign in with a demo account's key, by the button of the demo."""
        self.open(f"/sign-in?next={after}" if after else "/sign-in")
        self.page.get_by_role("button", name=f"Act as {name}").click()
        self.page.wait_for_url(lambda url: "/sign-in" not in url)
        return self.page


@pytest.fixture
def visit(browser: Browser, deployment: Deployment) -> Iterator[Visit]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        accept_downloads=True,
        # A certificate of a test's own authority, which this browser does not know.
        ignore_https_errors=deployment.url.startswith("https:"),
    )
    context.add_cookies([deployment.entrance])
    context.add_init_script(f"localStorage.setItem('{COOKIE}', '{deployment.word}')")
    context.set_default_timeout(EVENT)
    page = context.new_page()
    visit = Visit(context, page, deployment.url)
    context.on("request", lambda request: visit.asked.append(request.url))
    page.on(
        "console",
        lambda message: visit.complaints.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    yield visit
    context.close()
    elsewhere = [
        url for url in visit.asked if not url.startswith((deployment.url, f"blob:{deployment.url}"))
    ]
    assert elsewhere == []
    assert [
        complaint
        for complaint in visit.complaints
        if "Content Security Policy" in complaint or "Error" in complaint
    ] == []
