"""Protections of all pages: origin, cookie, other people's pages, scripts, accessibility (axe)."""

from __future__ import annotations

import asyncio
import hashlib
import html
import importlib
import json
import pkgutil
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from extent import extent
from fastapi import FastAPI
from fastapi.routing import APIRoute
from playwright.sync_api import Page, expect
from signed_forms import EVENT, ask_for_permit
from test_report import MATERIAL

import api.pages
from api.demo.report import write
from api.operate.settings import Settings
from api.pages.demo_accounts import Entrance, hash_of
from api.pages.demo_accounts import router as demo_router
from api.pages.site import CSP, ROUTERS, STATIC
from chain.wallets import Wallet
from governance.consent import NOTICE
from governance.errors import NotAllowed

HTML = {"Accept": "text/html"}
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
# Elements that reach beyond the right edge of the window.
TOO_WIDE = """[...document.querySelectorAll('main *')]
    .filter((one) => (!one.closest('.scroll, .away') || one.matches('caption'))
        && one.getBoundingClientRect().right > innerWidth)
    .map((one) => one.outerHTML)"""
# What pages ask for themselves, or give as a file: no pages of their own.
WITHIN_PAGES = {
    "/pages/keys/{address}/qr",
    "/pages/me/stopped",
    "/pages/me/stopped/{tx}/receipt",
    "/pages/plans/{plan}",
    "/pages/plans/{plan}/output",
    "/pages/roles/orders/{digest}",
    "/pages/runs/{run}/live",
    "/pages/runs/{run}/output",
    "/pages/runs/{run}/receipt",
    "/pages/signing",
}


@pytest.fixture(scope="module")
def tokens(deployment) -> dict[str, str]:
    """A session's token by name."""
    sessions = {}
    for name in ("ada", "person-001", "noor", "vera"):
        client = deployment.client(name)
        client.sign_in()
        sessions[name] = client._token
    return sessions


def as_(token: str) -> dict[str, str]:
    return {**HTML, "Cookie": f"volens-session={token}"}


def test_each_address_shows_a_page_to_people_and_json_to_programs(deployment) -> None:
    for path in ("/runs", "/trail"):
        assert (
            httpx.get(deployment.url + path, headers=HTML)
            .headers["content-type"]
            .startswith("text/html")
        )
        assert httpx.get(deployment.url + path).headers["content-type"] == "application/json"


def test_what_a_page_asks_again_and_again_is_answered_as_a_page() -> None:
    """htmx accepts anything, so an address outside /pages would be the API's, or none."""
    folder = Path(__file__).parents[2] / "api" / "pages" / "templates"
    asked = [
        element
        for template in folder.glob("*.html")
        for element in re.findall(r"<[^<>]*hx-get=[^<>]*>", template.read_text())
    ]
    assert len(asked) >= 3
    for element in asked:
        accepts = 'hx-headers=\'{"Accept": "text/html"}\'' in element
        assert 'hx-get="/pages/' in element or accepts, element


def test_every_page_has_the_strict_policy(deployment) -> None:
    for path in ("/", "/runs", "/nowhere", "/me"):
        headers = httpx.get(deployment.url + path, headers=HTML).headers
        assert headers["content-security-policy"] == (
            "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
    assert (
        "default-src 'none'"
        in httpx.get(deployment.url + "/health").headers["content-security-policy"]
    )


def test_only_the_page_of_the_api_takes_images_from_its_style_sheet(deployment) -> None:
    """Swagger UI gets nothing else, no style or script within a page; and no other page gets that."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    policies = {
        path: httpx.get(deployment.url + path, headers=HTML).headers["content-security-policy"]
        for path in {route.path.replace("{run}", "0" * 64) for route in routes}
        | {"/docs/", "/docs/x", "/Docs"}
    }
    own = policies.pop("/docs")
    assert set(policies.values()) == {CSP}
    assert own == f"{CSP}; img-src 'self' data:"


def test_the_page_of_the_api_is_for_people_and_frameworks_own_is_off(deployment) -> None:
    page = httpx.get(f"{deployment.url}/docs", headers=HTML)
    assert page.headers["content-type"].startswith("text/html")
    assert re.search(r"<noscript>.*/openapi\.json.*</noscript>", page.text, re.DOTALL)
    assert re.search(r"https?://", page.text) is None
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert httpx.get(deployment.url + path).status_code == 404
    described = httpx.get(f"{deployment.url}/openapi.json").json()
    assert described["servers"] == [{"url": deployment.url}]


def test_the_page_of_the_api_shows_every_route_and_asks_no_other_host(deployment, visit) -> None:
    """Neither at its start, nor where an address names another description (see `visit`)."""
    described = httpx.get(f"{deployment.url}/openapi.json").json()["paths"]
    foreign = "https://evil.example/api.json"
    page = visit.open(f"/docs?url={foreign}&configUrl={foreign}&validatorUrl={foreign}")
    routes = page.locator(".opblock")
    expect(routes).to_have_count(sum(map(len, described.values())))
    page.locator(".opblock-get button", has_text="/health").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response .response-col_status")).to_contain_text(
        "200"
    )
    assert f"{deployment.url}/health" in visit.asked
    page.locator(".opblock-post button.opblock-summary-control").first.click()
    expect(page.locator(".opblock-post .opblock-body")).to_be_visible()
    assert page.locator(".opblock-post .try-out").count() == 0  # what has effects needs signatures


def test_the_cookie_is_closed_to_scripts_and_other_sites(deployment, tokens) -> None:
    answer = httpx.post(
        f"{deployment.url}/pages/session",
        json={"token": tokens["ada"]},
        headers={"Origin": deployment.url},
    )
    cookie = answer.headers["set-cookie"]
    assert answer.json() == {"next": "/me"}
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Max-Age=900" in cookie


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1", "http://localhost"]
)
@pytest.mark.parametrize(
    "path",
    [
        "/pages/session",
        "/pages/sign-out",
        "/pages/demo-accounts/ada",
        "/pages/trail/1/verify",
        f"/pages/runs/{'0' * 64}/result",
        f"/pages/runs/{'0' * 64}/report",
        f"/pages/plans/{'0' * 64}/opened",
        "/pages/care/permit/preview",
    ],
)
def test_a_forged_origin_is_refused(deployment, tokens, origin: str | None, path: str) -> None:
    """Nothing is done and nothing handed out, and the page says why."""
    headers = as_(tokens["vera"]) | ({"Origin": origin} if origin else {})
    answer = httpx.post(deployment.url + path, json={"token": tokens["vera"]}, headers=headers)
    assert answer.status_code == 403
    assert "was not sent from our own page" in answer.text
    assert "set-cookie" not in answer.headers
    assert json.loads(deployment.key_file("ada").read_text())["key"] not in answer.text
    assert 'class="checks"' not in answer.text
    assert (
        httpx.get(f"{deployment.url}/trail", headers=as_(tokens["vera"])).text.count("Sign out")
        == 1
    )


def test_signing_out_ends_the_session_on_the_server_too(deployment) -> None:
    client = deployment.client("vera")
    client.sign_in()
    headers = as_(client._token)
    out = httpx.post(
        f"{deployment.url}/pages/sign-out", headers=headers | {"Origin": deployment.url}
    )
    assert out.status_code == 303
    assert httpx.get(f"{deployment.url}/me", headers=headers).status_code == 401


def test_a_cookie_opens_no_api_route(deployment, tokens) -> None:
    """Doors take the bearer only: a browser that is lured there sends nothing that they believe."""
    cookie = {"Cookie": as_(tokens["ada"])["Cookie"]}
    answer = httpx.get(f"{deployment.url}/consents/{deployment.subjects[0].hex()}", headers=cookie)
    assert answer.status_code == 401


def test_another_patients_page_is_refused(deployment, tokens) -> None:
    for path in (
        f"/trail?subject={deployment.subjects[0].hex()}",
        f"/pages/me/stopped/{'1' * 64}/receipt",
    ):
        assert httpx.get(deployment.url + path, headers=as_(tokens["person-001"])).status_code in (
            403,
            404,
        )
    assert httpx.get(f"{deployment.url}/me", headers=as_(tokens["noor"])).status_code == 403
    hers = httpx.get(f"{deployment.url}/me", headers=as_(tokens["person-001"])).text
    assert deployment.subjects[1].hex() in hers
    assert deployment.subjects[0].hex() not in hers


def test_the_public_trail_names_nobody(deployment, tokens) -> None:
    for headers in (HTML, as_(tokens["noor"]), as_(tokens["ada"])):
        for kind in ("permission", "enrolment", "access"):
            page = httpx.get(f"{deployment.url}/trail?kind={kind}", headers=headers).text
            assert not any(subject.hex() in page for subject in deployment.subjects)
    assert (
        deployment.subjects[0].hex()
        in httpx.get(f"{deployment.url}/trail?kind=enrolment", headers=as_(tokens["vera"])).text
    )


def test_the_public_trail_counts_care_by_the_day(deployment, tokens) -> None:
    """No time, block or clinician of a step of a patient's own care: for auditors alone."""
    plan = plan_of(deployment)
    trail = f"{deployment.url}/trail"
    auditor = as_(tokens["vera"])
    care = httpx.get(f"{trail}?run={plan}", headers=auditor).text
    assert "A clinician countersigned a plan." in care
    number = re.search(r"/pages/trail/(\d+)/verify", care)[1]
    verify = f"{deployment.url}/pages/trail/{number}/verify"
    assert "All 5 checks hold." in _sent(verify, auditor | {"Origin": deployment.url})
    everything = httpx.get(trail, headers=auditor).text
    assert "of patients&#39; own care" not in everything.partition("<ol")[2]
    clinician = deployment.clinic.cleo.wallet.address
    for name in ("", "noor", "ada"):
        headers = as_(tokens[name]) if name else HTML
        for query in ("", "?kind=care", "?kind=opening", "?kind=request", "?kind=look"):
            page = httpx.get(trail + query, headers=headers).text
            assert "plan" not in page.partition("<ol")[2].partition("</ol")[0]
            assert not query or clinician not in page  # his role and permit are public
            assert f"Step {number} " not in page
        page = html.unescape(httpx.get(f"{trail}?kind=care", headers=headers).text)
        counted = re.search(r"(\d+) steps of patients' own care on \d+ \w+ \d{4}\.", page)
        assert int(counted[1]) >= 6  # appointed, asked, authorised, sealed, viewed, countersigned
        for query in (f"run={plan}", f"actor={clinician}", f"first={1}", "reason=1"):
            page = httpx.get(f"{trail}?{query}", headers=headers).text
            assert re.search(r"own care on \d", page) is None
            assert "A clinician" not in page
        if name:
            refused = httpx.post(verify, headers=headers | {"Origin": deployment.url})
            assert refused.status_code == 403


def test_each_day_of_care_is_counted_on_one_page_of_the_trail(deployment) -> None:
    plan_of(deployment)
    path, days, pages = "/trail", [], 0
    while path:
        page = html.unescape(httpx.get(deployment.url + path, headers=HTML).text)
        days += re.findall(r"<h2>(\d+ steps? of patients' own care on [^<]+)</h2>", page)
        older = re.search(r'href="(/trail\?[^"]*before=\d+)">Older', page)
        path, pages = older[1] if older else "", pages + 1
    assert pages > 1
    assert days
    assert len(days) == len(set(days))


def _sent(url: str, headers: dict[str, str]) -> str:
    return httpx.post(url, headers=headers, timeout=60).text


def test_a_result_is_for_its_analyst_alone(deployment, tokens) -> None:
    run = released(deployment)
    for name in ("vera", "ada"):
        answer = httpx.get(f"{deployment.url}/runs/{run}/result", headers=as_(tokens[name]))
        assert (answer.status_code, "AUC" in answer.text) == (403, False)
        for part in ("output", "receipt"):
            path = f"{deployment.url}/pages/runs/{run}/{part}"
            assert httpx.get(path, headers=as_(tokens[name])).status_code == 403
            assert httpx.get(path).status_code == 401


def test_a_report_is_for_everybody_and_what_is_in_the_result_for_its_analyst(
    deployment, tokens, visit
) -> None:
    """Its own analyst's demo account fills it in; others read what the ledger says anyway."""
    run = released(deployment)
    path = f"{deployment.url}/runs/{run}/report"
    for headers in (HTML, as_(tokens["vera"]), as_(tokens["noor"])):
        page = httpx.get(path, headers=headers).text
        assert "only its analyst opens" in page
        assert "95 %" not in page
        assert "Withdrawn since" in page
        assert "fewer than 10 people" in page
    answer = httpx.post(
        f"{deployment.url}/pages/runs/{run}/report",
        json={"result": {}},
        headers=as_(tokens["noor"]) | {"Origin": deployment.url},
    )
    assert answer.status_code == 422
    assert "not a result that was opened with volens" in answer.text
    visit.act_as("Noor")
    expect(visit.open(f"/runs/{run}/report").locator("#result")).to_contain_text("(95 %: ")


def test_no_result_is_shown_before_its_release(deployment, tokens) -> None:
    """Neither opened here nor checked for whoever has one: its own analyst waits for two checkers
    too.
    """
    run = deployment.runs.get("first") or deployment.request("first", deployment.short)
    deployment.await_run(run, "sealed")
    headers = as_(tokens["noor"]) | {"Origin": deployment.url}
    for answer in (
        httpx.get(f"{deployment.url}/runs/{run}/result", headers=headers),
        httpx.post(f"{deployment.url}/pages/runs/{run}/result", json={}, headers=headers),
        httpx.post(f"{deployment.url}/pages/runs/{run}/report", json={}, headers=headers),
    ):
        assert answer.status_code == 404
        assert "The run has no released result." in answer.text


def released(deployment) -> str:
    """The run that an earlier journey released, or one of its own."""
    if "third" not in deployment.runs:
        deployment.await_run(deployment.request("third", deployment.wide), "sealed")
        deployment.release(deployment.runs["third"])
    return deployment.runs["third"]


def inside(deployment) -> dict[str, str]:
    """The headers of the one browser that may play people."""
    cookie = f"volens-demo={deployment.entrance['value']}"
    return {"Origin": deployment.url, "Cookie": cookie, "Volens-Demo": deployment.word}


def test_a_person_without_demo_account_has_no_key_here(deployment) -> None:
    for name in ("relay", "worker", "nobody", "..%2Fidentity", "noor.results"):
        answer = httpx.post(
            f"{deployment.url}/pages/demo-accounts/{name}", headers=inside(deployment)
        )
        assert answer.status_code == 404
    assert httpx.get(f"{deployment.url}/pages/demo-accounts/ada").status_code == 405


def test_other_programs_of_the_machine_get_no_demo_key(deployment) -> None:
    """Whoever reached the port got every key of the demo: now only the browser that opened the
    printed address does.
    """
    key = json.loads(deployment.key_file("ada").read_text())["key"]
    path, own = f"{deployment.url}/pages/demo-accounts/ada", inside(deployment)
    assert httpx.post(path, headers=own).json()["key"] == key  # the control
    cookie = deployment.entrance["value"]
    for less in (
        {},
        {"Volens-Demo": ""},
        {"Volens-Demo": "guess"},
        {"Volens-Demo": cookie},
        {"Cookie": f"volens-demo={deployment.word}"},
        {"Cookie": own["Cookie"]},  # browsers send it to every other port of 127.0.0.1, too
    ):
        answer = httpx.post(path, headers={"Origin": deployment.url} | less)
        assert answer.status_code == 403
        assert key not in answer.text
    assert "Act as Ada" in httpx.get(f"{deployment.url}/sign-in", headers=own | HTML).text
    outside = httpx.get(f"{deployment.url}/sign-in", headers=HTML).text
    assert "Act as" not in outside
    assert "in one browser only" in outside


def test_the_word_is_kept_for_this_port_and_leaves_the_address(deployment, browser) -> None:
    context = browser.new_context(base_url=deployment.url)
    context.set_default_timeout(EVENT)
    page = context.new_page()
    page.goto("/#volens-demo=abc")
    page.wait_for_url(lambda url: "#" not in url)
    assert page.evaluate("localStorage.getItem('volens-demo')") == "abc"
    assert "abc" not in json.dumps(context.cookies())
    context.close()


def test_a_result_is_not_opened_with_a_demo_key_for_others(deployment, tokens) -> None:
    """With Noor's session alone, e.g. of the command line, the server does not open it with her
    key.
    """
    page = f"{deployment.url}/runs/{released(deployment)}/result"
    signed_in = as_(tokens["noor"])["Cookie"]
    answer = httpx.get(page, headers=HTML | {"Cookie": signed_in})
    assert answer.status_code == 404
    both = f"{signed_in}; volens-demo={deployment.entrance['value']}"
    assert httpx.get(page, headers=HTML | {"Cookie": both}).status_code == 200


def test_the_printed_address_is_good_once(deployment) -> None:
    """Its cookie is closed to scripts and other sites, and the address does not stay in the bar."""
    assert deployment.entrance["value"]
    again = httpx.get(deployment.parts.address, headers=HTML, follow_redirects=False)
    assert again.status_code == 403
    assert "set-cookie" not in again.headers
    for token in ("", "wrong", deployment.entrance["value"]):
        answer = httpx.get(f"{deployment.url}/pages/demo-accounts/enter", params={"token": token})
        assert answer.status_code == 403
    entrance = Entrance(hash_of("token"))
    with pytest.raises(NotAllowed):
        entrance.exchange("other")
    cookie, word = entrance.exchange("token")  # a wrong guess used nothing up
    assert [entrance.admits(value) for value in (cookie, word, "", "token")] == [True, *[False] * 3]
    assert [entrance.hands_out(value) for value in (word, cookie, "", "token")] == [
        True,
        *[False] * 3,
    ]
    with pytest.raises(NotAllowed):
        entrance.exchange("token")
    for shut in (Entrance(""), Entrance(hash_of(""))):
        assert not shut.admits("")
        assert not shut.hands_out("")
    with pytest.raises(NotAllowed):
        Entrance("").exchange("")


def test_the_cookie_of_the_entrance_is_closed_too(deployment) -> None:
    app = FastAPI()
    app.state.entrance = Entrance(hash_of("word"))
    app.state.services = SimpleNamespace(audience="https://volens.example")
    app.include_router(demo_router)

    async def open_it() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://volens") as client:
            return await client.get("/pages/demo-accounts/enter?token=word")

    with ThreadPoolExecutor(1) as pool:  # the browser's loop runs in this thread
        answer = pool.submit(asyncio.run, open_it()).result()
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/#volens-demo=")  # no browser sends that on
    assert answer.headers["location"].partition("=")[2] not in answer.headers["set-cookie"]
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" in cookie


def test_the_other_name_of_this_machine_leads_to_the_address_that_pages_are_at(deployment) -> None:
    """A form that was sent from there would be refused."""
    own = deployment.url
    other = own.replace("localhost", "127.0.0.1")
    page = {"Accept": "text/html"}
    moved = httpx.get(f"{other}/runs?state=sealed", headers=page)
    assert (moved.status_code, moved.headers["location"]) == (307, f"{own}/runs?state=sealed")
    assert httpx.get(f"{own}/runs", headers=page).status_code == 200
    assert httpx.get(f"{other}/runs").status_code == 200  # a program's question
    named = httpx.get(f"{own}/runs", headers=page | {"Host": "evil.example"})
    assert named.status_code == 200  # where somebody is sent is not the caller's choice


def test_the_token_is_in_no_log_and_no_environment(deployment) -> None:
    """The web process knows its hash; what it logs of a request is the template of its route."""
    token = deployment.parts.demo_token
    assert len(token) > 40
    for path in [*(deployment.home / "logs").glob("*"), deployment.home / "run.json"]:
        assert token not in path.read_text(errors="replace")
    process = deployment.parts.processes["api"].pid
    environment = Path(f"/proc/{process}/environ").read_bytes()
    assert token.encode() not in environment
    assert hash_of(token).encode() in environment
    assert token not in repr(deployment.parts)


def test_demo_accounts_need_a_home_of_the_demo_on_this_machine(tmp_path: Path) -> None:
    from api.errors import NotServing
    from api.operate.bootstrap import DEMO_HOME
    from api.pages.demo_accounts import check_home

    with pytest.raises(NotServing, match="no home"):
        check_home(Settings(home=tmp_path, demo=True))
    (tmp_path / DEMO_HOME).touch()
    check_home(Settings(home=tmp_path, demo=True))
    with pytest.raises(NotServing, match="this machine only"):
        check_home(Settings(home=tmp_path, demo=True, api_host="0.0.0.0"))


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/nowhere", 404, "There is no such page."),
        ("/runs/xyz", 404, "There is no such page."),
        (f"/runs/{'0' * 64}", 404, "There is no such run."),
        ("/me", 401, "Nobody is signed in."),
        ("/trail?kind=magic", 422, "There is no such kind of step."),
        ("/trail?since=soon", 422, "A day is written"),
        ("/trail?actor=noor", 422, "An actor is an address"),
        ("/trail?before=-1", 404, "There is no such page."),
        ("/trail?run=zz", 422, "64 hex digits"),
        ("/trail?reason=abc", 422, "are numbers"),
        ("/trail?first=x", 422, "are numbers"),
    ],
)
def test_failures_are_pages_in_plain_words(
    deployment, path: str, status: int, sentence: str
) -> None:
    answer = httpx.get(deployment.url + path, headers=HTML)
    assert answer.status_code == status
    assert sentence in answer.text
    assert "Traceback" not in answer.text
    assert "<main" in answer.text


def test_after_signing_in_only_our_own_pages_follow(deployment) -> None:
    for bad in (
        "//evil.example",
        "https://evil.example",
        "/me\\evil",
        "javascript:alert(1)",
        "/sign-in",
    ):
        assert (
            "data-next"
            not in httpx.get(f"{deployment.url}/sign-in", params={"next": bad}, headers=HTML).text
        )
    assert 'data-next="/me"' in httpx.get(f"{deployment.url}/sign-in?next=/me", headers=HTML).text


def sealed(deployment) -> str:
    """A run whose output waits for checkers; it is never released."""
    if "waits" not in deployment.runs:
        deployment.await_run(deployment.request("waits", deployment.short), "sealed")
    return deployment.runs["waits"]


def requested(deployment) -> str:
    """A permit that waits for votes."""
    if "requested" not in deployment.runs:
        deployment.runs["requested"] = ask_for_permit(deployment)[0]
    return deployment.runs["requested"]


def invitation(deployment) -> str:
    """The address of an invitation that waits."""
    rita = deployment.client("rita")
    if "invitation" not in deployment.runs:
        offered = rita.invite(b"\7" * 32, Wallet.new().signer)
        answer = httpx.post(
            f"{deployment.url}/invitations",
            json={
                "enrolment": offered["enrolment"],
                "signature": offered["registrarSignature"],
            },
        )
        deployment.runs["invitation"] = answer.json()["invitation"]
    return deployment.runs["invitation"]


def plan_of(deployment, signed: bool = True) -> str:
    """A plan of Bea's, which Cleo signed; or one that waits for him."""
    name = "signed-plan" if signed else "drawn-plan"
    if name not in deployment.runs:
        clinic = deployment.clinic
        if not clinic.bea.appointments():
            clinic.appoint()
        deployment.runs[name] = clinic.ask()
        if signed:
            clinic.sign(deployment.runs[name], deployment.home)
    return deployment.runs[name]


ROLES = ("", "Ada", "Bea", "Cleo", "Noor", "Vera", "Pia", "Sol", "Rita", "Omar")


def pages_of(deployment, name: str) -> list[str]:
    run, dataset, clinic = released(deployment), deployment.dataset.hex(), deployment.clinic
    plan, drawn = plan_of(deployment), plan_of(deployment, signed=False)
    appointment = f"dataset={clinic.dataset.hex()}&clinician={clinic.cleo.wallet.address}"
    mine = {
        "": [
            "/",
            "/sign-in",
            "/keys/new",
            "/runs",
            f"/runs/{run}",
            f"/runs/{run}/report",
            "/trail",
            "/me",
            "/nowhere",
            "/pages/notice",
            "/docs",
            "/datasets",
            f"/datasets/{dataset}",
            "/permits",
            f"/permits/{deployment.permit.hex()}",
            "/roles",
            "/invitations",
            f"/invitations/{invitation(deployment)}",
            f"/notices/confirm/{'x' * 43}",
            "/health",
        ],
        "Ada": [
            "/me",
            "/me/permission",
            f"/me/permission?dataset={deployment.dataset.hex()}&preset=health",
            "/me/stop",
            "/me/stopped",
            "/notices",
        ],
        "Bea": [
            "/",
            "/me",
            "/me/care",
            f"/me/care/appoint?{appointment}&until={TOMORROW}&wish=yes",
            "/me/plan",
            f"/me/plan/{plan}",
            f"/me/plan/{drawn}",
        ],
        "Cleo": [
            "/",
            "/care",
            "/care/permit",
            f"/care/ask?patient={clinic.subject.hex()}&permit={clinic.permit.hex()}",
            f"/care/{plan}",
            f"/care/{drawn}",
        ],
        "Noor": [
            "/",
            "/runs",
            *(
                f"/runs/{deployment.runs[known]}"
                for known in ("first", "second", "third", "waits")
                if known in deployment.runs
            ),
            f"/runs/{run}/result",
            f"/runs/{run}/report",
            f"/permits/new?dataset={dataset}",
            f"/runs/new?permit={deployment.permit.hex()}",
            f"/runs/new?permit={deployment.permit.hex()}&analysis=frequencies",
            f"/runs/new?permit={deployment.permit.hex()}&analysis=survival",
        ],
        "Vera": ["/trail?kind=access", "/trail?kind=refusal"],
        "Pia": [
            "/",
            f"/permits/{requested(deployment)}",
            f"/permits/{clinic.permit.hex()}",
            "/roles",
            "/notices",
        ],
        "Sol": ["/", "/reviews", f"/runs/{sealed(deployment)}/review"],
        "Rita": ["/", "/enrolments", "/enrolments/sheet"],
        "Omar": ["/", "/datasets/new", f"/datasets/{dataset}"],
    }
    return mine[name]


def test_every_page_is_looked_at(deployment) -> None:
    """A new page is opened by the tests below once it is in `pages_of`."""
    opened = {path.partition("?")[0] for name in ROLES for path in pages_of(deployment, name)}
    modules = [
        importlib.import_module(f"api.pages.{module.name}")
        for module in pkgutil.iter_modules(api.pages.__path__)
    ]
    written = [module.router for module in modules if hasattr(module, "router")]
    assert {*map(id, written)} == {*map(id, (*ROUTERS, demo_router))}
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    pages = {route.path: route for route in routes if "GET" in route.methods}
    assert pages.keys() >= WITHIN_PAGES
    assert [
        path
        for path, route in pages.items()
        if path not in WITHIN_PAGES and not any(map(route.path_regex.match, opened))
    ] == []


@pytest.mark.campaign
@pytest.mark.parametrize("name", ROLES)
def test_axe_finds_nothing_and_a_narrow_screen_cuts_nothing_off(
    deployment, visit, name: str
) -> None:
    paths = pages_of(deployment, name)
    if name:
        visit.act_as(name)
    for number, path in enumerate(paths):
        visit.page.set_viewport_size({"width": 360, "height": 800})
        visit.open(path)
        wide = visit.page.evaluate(TOO_WIDE)
        assert wide == [], (path, wide[:2])
        visit.page.set_viewport_size({"width": 1280, "height": 900})
        assert (path, axe(visit.page)) == (path, [])
        if number % extent(2, 1):  # the colours are those of one style sheet
            continue
        visit.page.emulate_media(color_scheme="dark")
        assert (path, axe(visit.page, "color-contrast")) == (path, [])
        visit.page.emulate_media(color_scheme="light")


@pytest.mark.campaign
@pytest.mark.parametrize(("name", "path"), [("Cleo", "/care/"), ("Bea", "/me/plan/")])
def test_an_opened_plan_is_for_every_screen_and_reader(
    deployment, visit, name: str, path: str
) -> None:
    page = visit.act_as(name, path + plan_of(deployment))
    page.get_by_role("button", name="Open it with my key").click()
    expect(page.locator("#opened h2").first).to_be_visible()
    assert axe(page) == []  # unfolds everything
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate(TOO_WIDE) == []
    page.emulate_media(color_scheme="dark")
    assert axe(page, "color-contrast") == []


def axe(page: Page, *rules: str) -> list[tuple[str, list[str]]]:
    """What it finds, everything unfolded; within Swagger UI the markup is not ours."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    context = {"exclude": [["#swagger-ui > *"]]} if page.locator("#swagger-ui").count() else None
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    violations = Axe().run(page, context, options).response["violations"]
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]][:3])
        for violation in violations
    ]


def test_the_notice_is_a_page_and_word_for_word_what_is_signed(deployment) -> None:
    page = httpx.get(f"{deployment.url}/pages/notice", headers=HTML)
    assert page.headers["content-type"].startswith("text/html")
    assert "<h1>What you agree to (notice 1, English)</h1>" in page.text
    shown = html.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", page.text, re.DOTALL)[1])
    assert shown.encode() == NOTICE.read_bytes()
    assert hashlib.sha256(shown.encode()).hexdigest() in page.text
    assert page.text.count("<dt>") == NOTICE.read_text().count("\n- **")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("report"), MATERIAL)


@pytest.mark.parametrize(
    ("width", "scheme"), [(360, "light"), (700, "light"), (1280, "light"), (360, "dark")]
)
def test_the_demos_report_is_for_every_screen_and_reader(
    browser, report: Path, width: int, scheme: str
) -> None:
    """A table either fits, or stands as rows under each other, or can be scrolled by keyboard."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    context.set_default_timeout(EVENT)
    page = context.new_page()
    page.goto(report.as_uri())
    assert axe(page) == []
    cut = page.evaluate("""[...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth)
        .map((one) => one.getAttribute('aria-label'))""")
    assert cut == ([] if width != 700 else ["The paper's numbers beside ours"])
    context.close()


def test_pages_are_readable_without_script(deployment, browser, tokens) -> None:
    """The three pages and the result with their content; what needs a script says so, and where it
    goes without.
    """
    run, her = released(deployment), deployment.client("person-001")
    if not her.withdrawals():
        her.revoke(deployment.dataset, 0)
    context = browser.new_context(java_script_enabled=False, base_url=deployment.url)
    context.set_default_timeout(EVENT)
    context.add_cookies([deployment.entrance])
    page = context.new_page()

    def visit(name: str, path: str) -> str:
        context.add_cookies(
            [{"name": "volens-session", "value": tokens[name], "url": deployment.url}]
        )
        page.goto(path)
        return page.inner_text("main")

    page.goto("/sign-in")
    assert "Signing needs JavaScript" in page.inner_text("main")
    mine = visit("ada", "/me")
    assert "Who can use my data now" in mine
    assert "cancer research" in mine
    assert "the analyst Noor" in mine
    page.get_by_role("link", name="Stop this").or_(
        page.get_by_role("link", name="Give permission")
    ).first.click()
    assert page.locator("main form").count() == 1
    assert "A result" in visit("person-001", "/me/stopped")
    shown = visit("noor", f"/runs/{run}")
    assert "Two checkers released the result" in shown
    assert "the output is sealed" in shown
    page.get_by_role("link", name="Open the result").click()
    expect(page.locator("main")).to_contain_text("What was withheld, and why")
    assert page.get_by_role("img", name="AUC of each model").is_visible()
    assert "was opened for a run" in visit("vera", "/trail?kind=access")
    visit("vera", "/trail?kind=dataset")
    page.get_by_role("button", name="Verify").first.click()  # a whole page, without htmx
    assert "All 5 checks hold." in page.inner_text("main")
    context.close()


def test_the_keyboard_reaches_everything(deployment, visit) -> None:
    page = visit.act_as("Ada")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    wanted = page.evaluate(
        "[...document.querySelectorAll('main a, main button, main summary')].length"
    )
    reached = set()
    for _ in range(wanted + 4):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("""[...document.querySelectorAll('main a, main button, main summary')]
            .indexOf(document.activeElement)""")
        )
    visible = page.evaluate("""[...document.querySelectorAll('main a, main button, main summary')]
        .map((one, at) => one.checkVisibility() ? at : -1).filter((at) => at >= 0)""")
    assert set(visible) <= reached


def test_a_button_works_once(deployment, visit) -> None:
    """Two clicks at once send one message: the button is off while the first is under way."""
    page = visit.act_as("Ada")
    posts: list[str] = []
    page.on(
        "request",
        lambda request: posts.append(request.url) if request.url.endswith("/consents") else None,
    )
    visit.open(f"/me/permission?dataset={deployment.dataset.hex()}&preset=cancer")
    page.evaluate("""() => { const sign = document.querySelector("[data-act=give] button");
                             sign.click(); sign.click(); }""")
    page.locator("#done").wait_for(state="visible")
    assert len(posts) == 1


def test_vendored_files_are_the_listed_ones() -> None:
    rows = re.findall(
        r"^\| `([\w.-]+)` .*\| `([0-9a-f]{64})` \|$",
        (STATIC / "VENDOR.md").read_text(),
        re.MULTILINE,
    )
    listed = dict(rows)
    vendored = {path.name for path in STATIC.glob("*.js")} | {"swagger-ui.css"}
    assert set(listed) == vendored
    for name, digest in listed.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest, name


def test_templates_hold_no_inline_script_or_style() -> None:
    for path in (STATIC.parent / "templates").glob("*.html"):
        text = path.read_text()
        assert (
            re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|https?://", text)
            is None
        ), path.name
