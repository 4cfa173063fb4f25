"""The work of every role on the pages alone, in a real browser and over TLS: a person who is
invited, a plan with a weakness and one without, a run, its output with something planted in it, its
release.

In this order, on one home.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from certificates import Authority
from clicks import Clicks
from playwright.sync_api import Page, expect
from run_forms import usual_form
from signed_forms import EVENT, PASSWORD, sign_in_with
from sqlalchemy import insert

from api.app import create_app
from api.client.joining import Address, check_fingerprint, fetch_identity
from api.errors import NotServing
from api.http.problems import TooMany
from api.http.services import open_services
from api.pages import rehearsals
from api.pages.rehearsals import Rehearsals
from chain.wallets import Wallet, load, save
from governance.certificates import trusted
from governance.readmodel.database import open_database
from governance.readmodel.tables import Session

HTML = {"Accept": "text/html"}
VIOLATIONS = {"resultTypes": ["violations"]}
WEAK = """# Lifestyle and relapse

## Question
Do women who smoke relapse more often?

## Data
Findings only. No genomes, nothing sensitive.

## Method
At most five questions.

## What leaves
Metrics only, and only to the team of this hospital.
"""
NEEDED = (
    "cancer research",
    "results to researchers outside the place that keeps your data",
    "findings and lab values",
    "gene activity and other molecules of the tumour",
)
SOUND = (
    WEAK.replace("Lifestyle and relapse", "Relapse from genes").replace(
        "Findings only. No genomes, nothing sensitive.", "Findings and the activity of genes."
    )
    + """
```study
{"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}}
```
"""
)

# Parameters of a run that takes a second.
FEW = {
    "Within how many days": "1825",
    "Folds of the cross-validation": "2",
    "Permutations of the outcome": "19",
    "Bootstrap samples for intervals": "0",
}


@pytest.fixture(scope="module")
def deployment(serve_home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """As for the other pages, but with https."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificate, key = authority.certificate("localhost")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "SSL_CERT_FILE": authority.file,
            "VOLENS_API_PORT": port,
            "VOLENS_PUBLIC_URL": f"https://localhost:{port}",
            "VOLENS_TLS_CERTIFICATE": certificate,
            "VOLENS_TLS_KEY": key,
        }.items():
            patch.setenv(name, str(value))
        trusted.cache_clear()
        with serve_home(tmp_path_factory.mktemp("pages")) as deployment:
            yield deployment
    trusted.cache_clear()


def as_(visit, name: str) -> Page:
    """Another person takes the browser over."""
    page = visit.open("/")
    if page.get_by_role("button", name="Sign out").count():
        page.get_by_role("button", name="Sign out").click()
    return visit.act_as(name)


def ask_for_permit(page: Page, plan: str, questions: int, *boxes: str) -> None:
    page.get_by_role("link", name="Ask for a permit").click()
    page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("alert").first).to_contain_text("still the empty form")
    page.get_by_label("Your plan").fill(plan)
    expect(page.locator("html.script")).to_be_attached()
    page.reload()  # as after the end of a session: what was written is there again
    expect(page.get_by_label("Your plan")).to_have_value(plan)
    for label in boxes:
        page.get_by_label(label, exact=True).check()
    expect(page.get_by_label("Different questions")).to_have_value("12")
    page.get_by_label("Different questions").fill("101")
    page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("alert").first).to_contain_text("whole number from 1 to 100")
    page.get_by_label("Different questions").fill(str(questions))
    page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(plan.splitlines()[0][2:])
    page.get_by_role("button", name="Yes, sign and send it").click()
    expect(page.locator(".state .pill")).to_have_text("waits for votes")


def fill(page: Page, values: dict[str, str]) -> None:
    for label, value in values.items():
        page.get_by_label(label).first.fill(value)


def label_stays_on_paper(visit) -> None:
    """A registrar's label is printed beside the code, and is neither sent nor there again."""
    page, label, sent = visit.page, visit.page.get_by_label("Label, on paper only"), []
    page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
    expect(page.locator("html.script")).to_be_attached()  # it listens
    label.evaluate("""(field) => {
        const data = new DataTransfer();
        data.setData("text", "Ward 7, no. 12\\nWard 7, no. 13");
        field.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
    }""")
    expect(label).to_have_value("Ward 7, no. 12")  # a line for each code
    label.fill("Study number 4711")
    label.press("Enter")
    page.emulate_media(media="print")
    expect(label).to_be_visible()
    expect(page.get_by_text("Label, on paper only")).to_be_hidden()
    page.emulate_media(media="screen")
    page.reload()
    expect(label).to_have_value("")
    assert not [text for text in sent if "4711" in text or "Ward" in text]


def test_a_person_makes_a_key_is_invited_and_accepts(visit, tmp_path: Path) -> None:
    page = visit.open("/keys/new")
    page.get_by_label("A patient").check()
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Make").click()
    file = tmp_path / "me.json"
    saved.value.save_as(file)
    made = json.loads(file.read_text())
    address, subject = page.inner_text("#made-address"), page.inner_text("#made-id")
    assert (address, subject) == (made["address"], made["subject"])

    page = as_(visit, "Rita")
    expect(page.get_by_role("heading", level=1)).to_have_text("What waits for you")
    with Clicks("registrar", "invites a patient and opens the sheet with her code") as invites:
        page.get_by_role("link", name="Invitations").click()
        page.get_by_label("Her key's address").fill(address)
        page.get_by_label("Her id; empty").fill(subject)
        page.get_by_role("button", name="Show what I would sign").click()
        expect(page.locator("main")).to_contain_text(address)
        page.get_by_role("button", name="Yes, invite her").click()
        expect(page.locator(".rows .pill").first).to_have_text("open")
        page.get_by_role("link", name="Sheet of open ones").click()
    invites.agree()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    sheet = page.inner_text(".sheet")
    link = re.search(r"/invitations/[0-9a-f]{64}", sheet)
    assert link
    joined = re.search(r"volens join (\S+)", sheet)
    assert joined  # all digits are on paper, and a program compares them
    check_fingerprint(fetch_identity(visit.url), Address.parse(joined[1]).fingerprint)
    label_stays_on_paper(visit)

    page.get_by_role("button", name="Sign out").click()
    page = visit.open("/sign-in")  # before she has accepted: she is led to her invitation
    page.get_by_label("Your key file").set_input_files(file)
    page.get_by_label("Its password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("[role=alert]:not(:empty)")).to_contain_text("Accept your invitation first")
    page.get_by_label("The link of your invitation").fill(f" {visit.url}{link[0]}\n")
    page.get_by_role("button", name="Open the invitation").click()
    page.wait_for_url(f"**{link[0]}")
    other = tmp_path / "other.json"
    wrong = Wallet.new()
    other.write_text(
        json.dumps({"type": "volens/key/1", "address": wrong.address, "key": wrong.key.hex()})
    )
    page.get_by_label("Your key file").set_input_files(other)
    page.get_by_role("button", name="Accept and sign in").click()
    expect(page.locator("[role=alert]").first).to_contain_text("for another key")
    page.get_by_label("Your key file").set_input_files(file)
    page.get_by_label("Its password").fill(PASSWORD)
    page.get_by_role("button", name="Accept and sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Who can use my data now")
    with Clicks("patient", "gives permission") as agrees:
        page.get_by_role("link", name="Give permission").first.click()
        page.get_by_label("Cancer research, not for profit, two years").check()
        page.get_by_role("button", name="Show what I would agree to").click()
        page.get_by_role("button", name="Yes, sign", exact=True).click()
    agrees.agree()
    expect(page.locator("#done")).to_be_visible()


@pytest.mark.parametrize("code", ["", "nonsense", "f" * 63, f"/invitations/{'G' * 64}", "f" * 65])
def test_what_is_no_code_of_an_invitation_is_asked_for_again(deployment, code: str) -> None:
    answer = httpx.get(
        f"{deployment.url}/invitations", params={"code": code}, headers=HTML, verify=trusted()
    )
    assert answer.status_code == (422 if code else 200)
    assert 'name="code"' in answer.text
    assert ("is not the link or code of an invitation" in answer.text) is bool(code)


def test_whoever_has_no_role_is_told_so_and_led_to_an_invitation(deployment) -> None:
    """A session outlives its role: then its home page names the two ways in, and no list is empty."""
    token, now = secrets.token_urlsafe(32), int(time.time())
    engine = open_database(f"sqlite:///{deployment.home / 'volens.db'}")
    with engine.begin() as connection:
        connection.execute(
            insert(Session).values(
                token_hash=sha256(token.encode()).hexdigest(),
                account=Wallet.new().address,
                subject="",
                expires=now + 600,
            )
        )
    engine.dispose()
    for path, status in (("/", 200), ("/me", 403)):
        answer = httpx.get(
            deployment.url + path,
            headers=HTML | {"Cookie": f"volens-session={token}"},
            verify=trusted(),
        )
        assert answer.status_code == status
        assert "You have no role here." in answer.text
        assert "Nothing waits for you" not in answer.text
        form = re.search(r'<form method="get" action="([^"]+)">', answer.text)
        assert form
    named = httpx.get(
        deployment.url + form[1],
        params={"code": "0" * 64},
        headers=HTML,
        verify=trusted(),
        follow_redirects=False,
    )
    assert named.headers["location"] == f"/invitations/{'0' * 64}"


def test_a_weak_plan_is_seen_and_rejected(visit) -> None:
    """The plan says that nothing sensitive is used; the request asks for more."""
    page = as_(visit, "Noor")
    ask_for_permit(page, WEAK, 40, *NEEDED, "alcohol and drugs", "results about genetic variants")
    for name in ("Pia", "Quinn"):
        page = as_(visit, name)
        page.get_by_role("link", name="Vote on Lifestyle and relapse").click()
        points = page.locator(".points")
        expect(points).to_contain_text("It asks for sensitive data: alcohol and drugs.")
        expect(points).to_contain_text("results about genetic variants")
        expect(points).to_contain_text("It asks for 40 different questions")
        expect(points).to_contain_text("says “At most five questions”, and the request asks for 40")
        expect(page.locator(".document")).to_contain_text("nothing sensitive")
        expect(page.locator("main")).to_contain_text("It is the code that this service runs now.")
        no = page.get_by_role("button", name="No", exact=True)
        no.click()
        expect(page.get_by_label("Why not")).to_be_focused()  # nothing is signed without it
        page.get_by_label("Why not").fill(f"{name} finds <b>alcohol</b> in the request.")
        no.click()
        expect(page.locator("main")).to_contain_text(
            re.compile(f"{name}, account 0x[0-9a-fA-F]+ voted no")
        )
    expect(page.locator(".state .pill")).to_have_text("rejected")
    expect(page.get_by_role("heading", name="Your vote")).to_have_count(0)
    rejected = page.url.removeprefix(visit.url)
    # Who reads why: the applicant and auditors too, but no other role, and nobody without one.
    for name, reads in (("Noor", True), ("Vera", True), ("Sol", False)):
        page = as_(visit, name)
        page.goto(visit.url + rejected)
        for member in ("Pia", "Quinn") if reads else ():
            expect(page.locator("main")).to_contain_text(
                f"{member} finds <b>alcohol</b> in the request."
            )
        if not reads:
            expect(page.locator("main")).not_to_contain_text("finds")


def traces(deployment) -> tuple[object, ...]:
    """What a run would leave: steps of the ledger, runs, and questions to the key broker."""
    noor = deployment.client("noor")
    journal = (deployment.home / "broker" / "journal.jsonl").read_bytes()
    head = noor.trail_head()
    return head["count"], head["head"], [run["run"] for run in noor.runs()], journal


def test_the_analyst_rehearses_on_made_up_people_without_script(deployment, browser) -> None:
    noor, before = deployment.client("noor"), traces(deployment)
    noor.sign_in()
    context = browser.new_context(
        java_script_enabled=False, base_url=deployment.url, ignore_https_errors=True
    )
    context.set_default_timeout(EVENT)  # the rehearsal's seconds are part of the answer
    context.add_cookies([{"name": "volens-session", "value": noor._token, "url": deployment.url}])
    page = context.new_page()
    page.goto(f"/runs/new?permit={deployment.permit.hex()}")
    page.get_by_label("Folds of the cross-validation").fill("99")
    rehearse = page.get_by_role("button", name="Rehearse with made-up people")
    rehearse.click()
    expect(page.get_by_role("alert")).to_contain_text("is a whole number from")
    page.get_by_label("Folds of the cross-validation").fill("2")
    page.get_by_label("Permutations of the outcome").fill("19")
    page.get_by_label("Repeats of the cross-validation").fill("2")
    page.locator("summary", has_text="Explanations of the model").click()
    page.get_by_label("Shapley values, of all genes and of each clinical variable").check()
    page.locator("summary", has_text="Compare that model between groups").click()
    page.locator('input[name="fairness"][value="er_positive"]').check()
    rehearse.click()
    shown = page.locator("main")
    expect(shown).to_contain_text(
        "What the predictions rest on, by Shapley values: logistic on all data in one model"
    )
    expect(shown).to_contain_text("Compared with oestrogen receptor positive")
    expect(shown).to_contain_text("too few to tell")
    expect(shown).to_contain_text("rehearsed with 60 made-up people")
    expect(shown).to_contain_text("Nobody's data was read, and nothing was recorded.")
    expect(shown).not_to_contain_text("People whose data was opened")
    expect(shown.get_by_role("img", name="AUC of each model")).to_be_visible()
    expect(shown).to_contain_text(re.compile(r"\d s of computing"))
    expect(page.get_by_label("Folds of the cross-validation")).to_have_value("2")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("button", name="Yes, sign and ask")).to_be_attached()
    context.close()
    assert traces(deployment) == before


@pytest.fixture
def rehearsing(deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """The same home served in this process, so that its bounds can be lowered: POSTs a form."""
    services = open_services(deployment.parts.settings)
    app = create_app(services)
    noor = deployment.client("noor")
    noor.sign_in()
    headers = HTML | {"Cookie": f"volens-session={noor._token}", "Origin": services.audience}
    usual = usual_form("evaluate") | {"permit": [deployment.permit.hex()], "analysis": ["evaluate"]}

    def post(headers: dict[str, str] = headers, **change: str) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://volens") as client:
                given = usual | {name.replace("_", "."): [value] for name, value in change.items()}
                return await client.post("/pages/runs/rehearse", data=given, headers=headers)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, call()).result()

    yield post
    services.engine.dispose()


def test_a_rehearsal_beyond_its_bound_is_ended(
    deployment, rehearsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces(deployment)
    monkeypatch.setattr(rehearsals, "SECONDS", 1.0)
    answer = rehearsing(repeats="50", permutations="499")
    assert answer.status_code == 422
    assert "The rehearsal was ended after 1 seconds, the most that it has here." in answer.text
    monkeypatch.setattr(rehearsals, "SECONDS", 50.0)
    monkeypatch.setattr(rehearsals, "MEMORY", 64 << 20)
    answer = rehearsing(folds="2", permutations="19")
    assert answer.status_code == 422
    assert "needs more memory than it has here" in answer.text
    assert traces(deployment) == before


def test_rehearsals_are_for_the_analyst_who_asks_on_our_page_and_not_too_often(
    deployment, rehearsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "rehearse_here", _never)
    sol = deployment.client("sol")
    sol.sign_in()
    audience = deployment.parts.settings.public_url
    as_sol = HTML | {"Cookie": f"volens-session={sol._token}"}
    assert rehearsing(as_sol).status_code == 403
    assert rehearsing(as_sol | {"Origin": audience}).status_code == 403
    assert rehearsing(HTML | {"Origin": audience}).status_code == 401
    answers = [rehearsing() for _ in range(rehearsals.BURST + 1)]
    assert [answer.status_code for answer in answers] == [503] * rehearsals.BURST + [429]
    assert "This machine cannot compute." in answers[0].text
    assert f"You rehearsed {rehearsals.BURST} times in a row." in answers[-1].text
    assert "volens run rehearse" in answers[-1].text


def _never(*_: object) -> None:
    raise NotServing("this machine cannot compute", "rehearse on your own")


def test_one_rehearsal_at_a_time_for_each_and_two_for_all() -> None:
    now = [0.0]
    counted = Rehearsals(lambda: now[0]).counted
    with counted("noor"):
        with pytest.raises(TooMany, match="of yours is under way"), counted("noor"):
            pass
        with counted("nils"):
            with pytest.raises(TooMany, match="other analysts"), counted("nina"):
                pass
        for _ in range(rehearsals.BURST):
            with counted("nina"):
                pass
        with pytest.raises(TooMany, match="in a row"), counted("nina"):
            pass
        now[0] += rehearsals.EVERY_SECONDS
        with counted("nina"):
            pass


def test_the_form_offers_the_variables_that_the_dataset_has(deployment, visit) -> None:
    page, form = as_(visit, "Noor"), f"/runs/new?permit={deployment.permit.hex()}"
    visit.open(form)
    boxes = page.locator('input[name="clinical"]')
    everything = boxes.count()
    expect(page.locator("main")).to_contain_text("has published no dictionary")
    rows = [
        {"variable": name, "unit": "1", "category": 2, "people": people, "completeness": complete}
        for name, people, complete in (("grade", 120, 95), ("er_positive", None, None))
    ]
    deployment.client("omar").publish_dictionary(
        deployment.dataset.hex(),
        {"type": "volens/dictionary/1", "people": 120, "genotyped": None, "variables": rows},
    )
    expect(page.locator("main")).not_to_contain_text("File of gene sets")
    deployment.client("omar").publish_assays(deployment.dataset.hex(), {"mirna": 12})
    gene_sets = {"sha256": "ab" * 32, "title": "GO terms", "sets": 7, "genes": 90}
    deployment.client("omar").publish_gene_sets(deployment.dataset.hex(), gene_sets)
    visit.open(f"/datasets/{deployment.dataset.hex()}")
    features = page.get_by_role("region", name="Assays and gene sets", exact=True)
    expect(features).to_contain_text("7 sets of 90 genes")
    expect(features).to_contain_text("ab" * 32)
    assert Axe().run(page, options=VIOLATIONS).response["violations"] == []
    visit.open(form)
    expect(page.get_by_label("File of gene sets")).to_contain_text("GO terms (7 sets)")
    expect(page.get_by_label("mirna (12 columns)").first).not_to_be_checked()
    assert everything > 1
    assert boxes.evaluate_all("all => all.map((one) => [one.value, one.checked])") == [
        ["grade", True]
    ]
    expect(page.get_by_label("95 % complete")).to_be_checked()
    expect(page.locator("main")).to_contain_text(
        "Not offered, since fewer than 10 people have them"
    )
    page.get_by_label("Folds of the cross-validation").fill("2")
    page.get_by_label("Permutations of the outcome").fill("19")
    page.get_by_label("Repeats of the cross-validation").fill("2")
    page.get_by_role("button", name="Rehearse with made-up people").click()
    expect(page.get_by_role("heading", level=2).first).to_contain_text("These parameters work")
    assert Axe().run(page, options=VIOLATIONS).response["violations"] == []


def test_a_sound_plan_becomes_a_permit_and_a_run(deployment, visit, tmp_path: Path) -> None:
    """The analyst signs with a locked key file of her own, which never leaves the tab."""
    page = as_(visit, "Noor")
    ask_for_permit(page, SOUND, 1, *NEEDED)
    deployment.runs["permit"] = page.url.rpartition("/")[2]
    for name in ("Pia", "Quinn"):
        page, votes = as_(visit, name), Clicks("committee member", "approves a request")
        with votes:
            page.get_by_role("link", name="Vote on Relapse from genes").click()
        expect(page.locator("main")).to_contain_text(
            "Runs may ask about these people and this outcome only"
        )
        expect(page.locator(".points li")).to_have_count(2)
        expect(page.locator(".points")).to_contain_text(
            "The plan says “Metrics only, and only to the team of this hospital.”, and the request lets "
            "results go to researchers elsewhere."
        )
        expect(page.locator(".points")).to_contain_text(
            "Its runs can be about this study only: people of any age; whether a tumour spreads within 5 years."
        )
        expect(page.locator(".facts").first).to_contain_text("1 at most, 0 asked so far")
        with votes:
            page.get_by_role("button", name="Yes, approve it").click()
        votes.agree()
        expect(page.locator("main")).to_contain_text(
            re.compile(f"{name}, account 0x[0-9a-fA-F]+ voted yes")
        )
    expect(page.locator(".state .pill")).to_have_text("approved")

    wallet, _ = load(deployment.key_file("noor"))
    save(wallet, tmp_path / "noor.json", password=PASSWORD)
    page.get_by_role("button", name="Sign out").click()
    visit.open("/sign-in")
    page.get_by_label("Its password").fill(PASSWORD)
    sign_in_with(page, tmp_path / "noor.json")
    asks = Clicks("analyst", "asks for a run")
    with asks:
        page.get_by_role("link", name="Ask for a run under Relapse from genes").click()
    page.get_by_label("Within how many days").first.fill("0")
    page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("alert").first).to_contain_text(
        "“Within how many days” is a whole number from 1 to 36500."
    )
    wrong = page.get_by_label("Within how many days").first
    expect(wrong).to_have_attribute("aria-invalid", "true")
    page.get_by_role("link", name="To the field").click()
    expect(page.locator(":target")).to_have_value("0")
    page.get_by_label("Within how many days").first.fill("1826")
    page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("alert").first).to_contain_text("ask about another outcome")
    with asks:
        fill(page, FEW)
        page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "How well can one predict whether a tumour spreads within 5 years?"
    )
    expect(page.locator(".facts").first).to_contain_text("logistic on genes, on clinical data")
    with asks:
        page.get_by_role("button", name="Yes, sign and ask").click()
    asks.agree()
    page.wait_for_url(re.compile("/runs/[0-9a-f]{64}$"))
    deployment.runs["asked"] = page.url.rpartition("/")[2]
    deployment.await_run(deployment.runs["asked"], "sealed")
    # The permit's one question is asked: another seed is another question, the same is free.
    permit = f"{visit.url}/permits/{deployment.runs['permit']}"
    page.goto(permit)
    expect(page.locator("main")).to_contain_text("1 at most, 1 asked so far")
    for other, sentence in (
        ({"Seed of the random numbers": "77"}, "The permit allows no further different question"),
        ({}, "1 of 1 different questions; this one is among them, so it is free"),
    ):
        page.goto(f"{visit.url}/runs/new?permit={deployment.runs['permit']}")
        fill(page, FEW | other)
        page.get_by_role("button", name="Show what I would sign").click()
        expect(page.locator("main")).to_contain_text(sentence)


def test_two_checkers_read_comment_and_release_it(deployment, visit) -> None:
    for name, other in (("Sol", ""), ("Tess", "Sol")):
        page = as_(visit, name)
        checks = Clicks("output checker", "views an output and approves its release")
        with checks:
            page.get_by_role("link", name="Check the output").first.click()
        expect(page.get_by_role("button", name="Approve the release")).to_be_disabled()
        for part, text in (
            ("asked", "people of any age"),
            ("asked", "logistic on genes, on clinical data"),
            (
                "asked",
                "findings and lab values and gene activity and other molecules of the tumour",
            ),
            ("permitted", "people of any age; whether a tumour spreads within 5 years"),
            ("permitted", "gene activity and other molecules of the tumour"),
        ):
            expect(page.locator(f"section[aria-labelledby={part}]")).to_contain_text(text)
        if other:
            expect(page.locator("#comment-list")).to_contain_text("I see nothing")
        with checks:
            page.get_by_role("button", name="View it").click()
        expect(page.locator("#result .checks")).to_contain_text("found nothing")
        expect(page.locator("#result")).to_contain_text("What was withheld, and why")
        expect(page.get_by_role("button", name="Approve the release")).to_be_enabled()
        expect(page.get_by_text("View it first.").first).to_be_hidden()
        if not other:
            page.get_by_label("Your comment").fill("I see nothing.\nAnd you?")
            page.get_by_role("button", name="Add it").click()
            expect(page.locator("#comment-list")).to_contain_text("And you?")
            expect(page.get_by_label("Your comment")).to_have_value("")
            # What she opened stays.
            expect(page.locator("#result")).to_contain_text("What was withheld, and why")
        with checks:
            page.get_by_role("button", name="Approve the release").click()
        checks.agree()
        expect(page.locator("main")).to_contain_text(
            "This output is decided" if other else "You have approved it."
        )
    page = as_(visit, "Noor")
    page.get_by_role("link", name="Read the released result").first.click()
    page.get_by_role("button", name="Open it with my key").click()
    expect(page.locator("#result")).to_contain_text("The run's result")
    for label, kind in (("Download it", "volens-result"), ("Download my receipt", "volens-")):
        with page.expect_download() as saved:
            page.get_by_role("link", name=label).click()
        assert saved.value.suggested_filename.startswith(kind)
    assert "I see nothing" not in page.content()


def test_a_quorum_gives_a_role_and_names_it(deployment, visit) -> None:
    account = Wallet.new().address
    page = as_(visit, "Pia")
    page.get_by_role("link", name="Roles").first.click()
    form = page.locator("section", has=page.get_by_role("heading", name="Give or end a role"))
    form.get_by_label("Account").fill(account)
    form.get_by_label("Role").select_option(label="auditor")
    form.get_by_label("What it is called").fill("Vera Silva")
    form.get_by_role("button", name="Show what we would sign").click()
    expect(page.locator("main")).to_contain_text("Vera Silva")  # before it has a role
    page.get_by_label("Why, if you want to say it").fill("Elected in <i>May</i>.")
    page.get_by_role("button", name="Yes, sign").click()
    expect(page.locator("main")).to_contain_text("1 of 2")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Its file, for volens committee sign").click()
    file = json.loads(Path(saved.value.path()).read_text())
    assert (file["message"]["account"], len(file["signatures"])) == (account, 1)
    page = as_(visit, "Quinn")
    page.get_by_role("link", name="Sign or leave a role change").click()
    expect(page.locator("main")).to_contain_text("Vera Silva")
    expect(page.locator("main")).to_contain_text("Elected in <i>May</i>.")
    page.get_by_label("The file of the order").set_input_files(saved.value.path())
    page.get_by_role("button", name="Take it").click()  # the same signature again is one
    expect(page.locator("main")).to_contain_text("1 of 2")
    page.get_by_role("button", name="Add my signature").click()
    expect(page.locator("main")).to_contain_text("It was carried out.")
    form = page.locator("section", has=page.get_by_role("heading", name="Say what an account"))
    form.get_by_label("Account").fill(account)
    form.get_by_label("Name").fill("Vera Lima")
    form.get_by_label("Institution").fill("Court of Auditors")
    form.get_by_role("button", name="Keep the name").click()
    expect(page.locator("table")).to_contain_text(
        f"Vera Lima, Court of Auditors, account {account}"
    )


def test_what_happened_is_in_the_inbox_until_it_is_read(visit) -> None:
    """Made in the background by the serving process."""
    page = as_(visit, "Pia")
    page.get_by_role("link", name=re.compile(r"Notices \(\d+ unread\)")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Notices")
    expect(page.locator(".rows .pill").first).to_have_text("unread")
    expect(page.locator("main")).to_contain_text("A permit was asked for, and waits for votes.")
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.get_by_role("button", name="Mark all as read")).to_have_count(0)
    expect(page.get_by_role("link", name="Notices", exact=True)).to_be_visible()
    page = as_(visit, "Noor")
    page.get_by_role("link", name=re.compile("Notices")).click()
    expect(page.locator("main")).to_contain_text("The result of your run was released.")
    page.get_by_role("link", name="The result of your run was released.").first.click()
    page.wait_for_url(re.compile("/runs/[0-9a-f]{64}$"))


def test_a_suspension_says_that_a_released_result_stays_shut(deployment, visit) -> None:
    run, permit = deployment.runs["asked"], deployment.runs["permit"]
    page = as_(visit, "Pia")
    page.goto(f"{visit.url}/permits/{permit}")
    page.get_by_label("Why", exact=True).fill("Data left the agreed machine.")
    page.get_by_role("button", name="Suspend this permit").click()
    expect(page.locator(".state .pill")).to_have_text("suspended")
    expect(page.locator("main")).to_contain_text("Data left the agreed machine.")
    page = as_(visit, "Noor")
    page.get_by_role("link", name="See why a released result stays shut").click()
    expect(page.locator("#state")).to_contain_text("no key to it leaves any more")
    expect(page.locator("main")).to_contain_text("It can no longer be opened.")
    expect(page.get_by_role("button", name="Open it with my key")).to_have_count(0)
    page.get_by_role("link", name="Its permit").click()
    expect(page.locator("main")).to_contain_text("Data left the agreed machine.")
    page.goto(f"{visit.url}/runs")
    expect(page.locator(".rows > li", has_text=run[:8])).to_contain_text("its permit is suspended")
    page.goto(f"{visit.url}/runs/{run}/result")
    expect(page.locator("main")).to_contain_text("no key to it leaves any more")
    # Notices are written in the background, a moment after their event.
    deadline, sentence = time.monotonic() + 60, "a released result can no longer be opened"
    page.goto(f"{visit.url}/notices")
    while sentence not in page.locator("main").inner_text() and time.monotonic() < deadline:
        time.sleep(0.5)
        page.reload()
    expect(page.locator("main")).to_contain_text(sentence)


def test_a_custodian_describes_a_new_dataset(deployment, visit) -> None:
    page = as_(visit, "Omar")
    with Clicks("operator", "sees the state of each part") as clicks:
        page.get_by_role("link", name="Parts").click()
        expect(page.locator("main")).to_contain_text("key broker")
    clicks.agree()
    page = visit.open("/")
    with Clicks("custodian", "looks at the report of an ingest") as reads:
        page.get_by_role("link", name="Datasets").first.click()
        page.locator(f'main a[href="/datasets/{deployment.dataset.hex()}"]').click()
        expect(page.get_by_role("heading", name="The report of the last ingest")).to_be_visible()
    reads.agree()
    visit.open("/")
    page.get_by_role("link", name="Register a dataset").click()
    page.get_by_label("The description").fill("Tumours of Porto")
    page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("alert").first).to_contain_text("begin with its title")
    page.get_by_label("The description").fill(
        "# Tumours of Porto\n\n<b>Not bold</b> [nor a link](x)"
    )
    page.get_by_role("button", name="Show what I would sign").click()
    page.get_by_role("button", name="Yes, sign and register it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tumours of Porto")
    expect(page.locator(".document")).to_contain_text("<b>Not bold</b> [nor a link](x)")
    expect(page.locator(".document a")).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("noor", ["/reviews", "/enrolments", "/datasets/new", "/runs/{run}/review"]),
        ("sol", ["/permits/new", "/enrolments", "/datasets/new"]),
        ("ada", ["/reviews", "/permits/new", "/runs/{run}/review"]),
        ("", ["/reviews", "/permits/new", "/enrolments"]),
    ],
)
def test_a_roles_pages_are_its_own(deployment, name: str, paths: list[str]) -> None:
    cookies = {}
    if name:
        client = deployment.client(name)
        client.sign_in()
        cookies = {"volens-session": client._token}
    for path in paths:
        answer = httpx.get(
            deployment.url + path.format(run=deployment.runs["asked"]),
            headers={"Accept": "text/html"},
            cookies=cookies,
            verify=trusted(),
        )
        assert answer.status_code == (403 if name else 401), path
