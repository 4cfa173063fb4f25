"""Keys of one's own in a real browser: locked key files, new ones, and wallets of other programs."""

from __future__ import annotations

import html
import io
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import segno
from axe_playwright_python.sync_playwright import Axe
from eth_account import Account
from eth_account.messages import encode_typed_data
from playwright.sync_api import Page, expect
from signed_forms import PASSWORD, YES_OR_NO, ask_for_permit, form_of, open_form

from api.http.auth import COOKIE as SESSION
from chain.signatures import HALF_ORDER
from chain.wallets import Wallet, load
from governance.objects.keys import RESULT_KEY, derived_pair, load_pair
from governance.permits import run_id

VIOLATIONS = {"resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def people_on_the_pages() -> int:
    """Enough where nothing is computed."""
    return 2


def locked_file(deployment, tmp_path: Path, name: str, kdf: str = "scrypt") -> Path:
    """The key file of a name as `volens keys new` writes it, for a password; cheaper to open."""
    plain = json.loads(deployment.key_file(name).read_text())
    cost = 1 << 12 if kdf == "scrypt" else 1000
    file = tmp_path / f"{name}.json"
    keystore = Account.encrypt(bytes.fromhex(plain.pop("key")), PASSWORD, kdf, cost)
    file.write_text(json.dumps(plain | {"keystore": keystore}))
    return file


def open_locked(page, file: Path) -> None:
    page.get_by_label("Your key file").set_input_files(file)
    page.get_by_label("Its password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def watch(visit) -> list[str]:
    """What the browser sends from now on: addresses and bodies."""
    sent: list[str] = []
    visit.context.on(
        "request", lambda request: sent.append(f"{request.url} {request.post_data or ''}")
    )
    return sent


def test_a_locked_key_file_signs_in_and_votes_and_nothing_of_it_is_sent(
    deployment, visit, tmp_path: Path
) -> None:
    sent, file = watch(visit), locked_file(deployment, tmp_path, "pia")
    open_locked(visit.open("/sign-in"), file)
    permit, ballot = ask_for_permit(deployment)
    page = open_form(visit, form_of("Vote", "vote", f"/permits/{permit}/votes", ballot, YES_OR_NO))
    page.get_by_role("button", name="Yes").click()
    page.wait_for_url("**/runs")
    row = deployment.client("noor").permit(permit)
    assert (row["yes"], row["no"]) == (1, 0)
    key = json.loads(deployment.key_file("pia").read_text())["key"]
    keystore = json.loads(file.read_text())["keystore"]
    for secret in (key, PASSWORD, keystore["crypto"]["ciphertext"]):
        assert not any(secret in text for text in sent)


def test_a_patient_signs_in_with_a_locked_file(deployment, visit, tmp_path: Path) -> None:
    open_locked(
        visit.open("/sign-in"), locked_file(deployment, tmp_path, "person-001", kdf="pbkdf2")
    )
    visit.page.wait_for_url("**/me")


def test_the_key_is_dropped_when_the_session_has_ended(deployment, visit, tmp_path: Path) -> None:
    """By its time, on an open page and when it would sign; and where nobody is signed in any more."""
    kept = "sessionStorage.getItem('volens-key')"
    page = visit.page
    page.clock.install()
    file = locked_file(deployment, tmp_path, "vera")
    visit.open("/sign-in")
    open_locked(page, file)
    assert json.loads(page.evaluate(kept))["address"]
    page.clock.fast_forward(900_000)
    assert page.evaluate(kept) is None
    page.clock.set_system_time(time.time())
    visit.open("/sign-in")
    open_locked(page, file)
    vote_form(deployment, visit)
    page.evaluate(
        """() => sessionStorage.setItem('volens-key', JSON.stringify(
        { ...JSON.parse(sessionStorage.getItem('volens-key')), until: Date.now() - 1 }))"""
    )
    page.get_by_role("button", name="Yes").click()  # on a page whose timer slept
    expect(page.get_by_role("alert")).to_contain_text("This tab does not hold your key.")
    assert page.evaluate(kept) is None
    visit.open("/sign-in")
    open_locked(page, file)
    visit.context.clear_cookies()
    visit.open("/trail")
    assert page.evaluate(kept) is None


def test_a_code_is_drawn_of_an_address_alone(deployment) -> None:
    """Never of what could be a key: 64 hex digits are none, and a wrong letter is seen."""
    address = Wallet.new().address
    drawn = httpx.get(f"{deployment.url}/pages/keys/{address}/qr")
    assert drawn.headers["content-type"] == "image/svg+xml"
    expected = io.BytesIO()
    segno.make(address, error="m", micro=False).save(
        expected, kind="svg", xmldecl=False, scale=4, border=4, dark="#000", light="#fff"
    )
    assert drawn.content == expected.getvalue()
    for other in (secrets.token_hex(32), address.swapcase().replace("0X", "0x"), address[:-1]):
        assert httpx.get(f"{deployment.url}/pages/keys/{other}/qr").status_code in (404, 422)


def test_a_session_is_renewed_before_it_ends(deployment, visit, tmp_path: Path) -> None:
    page = visit.page
    page.clock.install()
    visit.open("/sign-in")
    open_locked(page, locked_file(deployment, tmp_path, "noor"))
    visit.open("/permits/new?dataset=" + deployment.dataset.hex())
    until = page.locator(".who time")
    assert re.fullmatch(r"\d\d:\d\d UTC", until.inner_text())
    plan, warning = page.get_by_label("Your plan"), page.locator(".session")
    plan.fill("# Half a plan")

    def pass_by(seconds: int) -> None:
        page.clock.fast_forward(seconds * 1000)
        page.clock.set_system_time(time.time())  # the service's clock does not run ahead

    pass_by(770)
    expect(warning).to_be_empty()
    pass_by(15)
    expect(warning).to_contain_text(f"Your session ends at {until.inner_text()}.")
    assert Axe().run(page, options=VIOLATIONS).response["violations"] == []
    before = visit.context.cookies()
    (earlier,) = [cookie["value"] for cookie in before if cookie["name"] == SESSION]
    warning.get_by_role("button", name="Stay signed in").click()
    expect(warning).to_contain_text("You stay signed in until")
    assert visit.context.cookies() != before
    token = {"Authorization": f"Bearer {earlier}"}
    assert httpx.get(f"{deployment.url}/notices", headers=token).status_code == 401
    expect(plan).to_have_value("# Half a plan")
    pass_by(11)
    expect(warning).to_be_empty()
    pass_by(775)  # the first session's end is over: the key is here still
    expect(warning).to_contain_text("Your session ends at")
    assert page.evaluate("sessionStorage.getItem('volens-key')")
    page.clock.fast_forward(900_000)
    expect(warning).to_contain_text("Your session has ended.")
    assert page.evaluate("sessionStorage.getItem('volens-key')") is None


def test_drafts_are_their_authors(deployment, visit, tmp_path: Path) -> None:
    """Whoever signs out, or signs in after another in the same tab, leaves nothing to be signed."""
    form = "/permits/new?dataset=" + deployment.dataset.hex()

    def sign_in(name: str) -> Page:
        open_locked(visit.open("/sign-in"), locked_file(deployment, tmp_path, name))
        return visit.open(form)

    page = sign_in("noor")
    page.get_by_label("Your plan").fill("# Noor's plan")
    plan = visit.open(form).get_by_label("Your plan")
    expect(plan).to_have_value("# Noor's plan")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/")
    plan = sign_in("noor").get_by_label("Your plan")
    expect(plan).not_to_have_value("# Noor's plan")
    plan.fill("# Noor's other plan")
    visit.context.clear_cookies(name=SESSION)  # her session ends
    sign_in("vera")
    kept = page.evaluate(
        "Object.keys(sessionStorage).filter((name) => name.startsWith('volens-draft:'))"
    )
    assert kept == []


def test_a_tab_without_the_key_only_warns(deployment, visit, tmp_path: Path) -> None:
    open_locked(visit.open("/sign-in"), locked_file(deployment, tmp_path, "noor"))
    page = visit.context.new_page()
    page.clock.install()
    page.goto(f"{visit.url}/permits")
    page.clock.fast_forward(790_000)
    warning = page.locator(".session")
    expect(warning).to_contain_text("Save what you are writing, then sign in again.")
    expect(warning.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("patient", [True, False])
def test_a_key_made_in_the_browser_opens_everywhere(
    deployment, visit, tmp_path: Path, patient: bool
) -> None:
    """In the full strength: by `volens`, and in the browser again. None of it is sent."""
    sent = watch(visit)
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=visit.url)
    page = visit.open("/keys/new")
    page.get_by_label("A patient" if patient else "Somebody who works here").check()
    page.get_by_label("A password for the file").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    with page.expect_download() as download:
        page.get_by_role("button", name="Make the key").click()
    file = tmp_path / "own.json"
    download.value.save_as(file)
    body = json.loads(file.read_text())
    assert body["keystore"]["crypto"]["kdfparams"]["n"] == 1 << 18
    shown, own = page.locator("#public").inner_text(), body.get("subject")
    assert body["address"] in shown
    assert (len(own or "") == 64 and own in shown) is patient
    code = page.get_by_role("img", name="QR code of the address")
    assert code.get_attribute("src") == f"/pages/keys/{body['address']}/qr"
    assert code.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    assert Axe().run(page, options=VIOLATIONS).response["violations"] == []
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied == [f"address: {body['address']}"] + patient * [f"id: {own}"]
    everything = "".join(sent)
    assert PASSWORD not in everything
    assert body["keystore"]["crypto"]["ciphertext"] not in everything
    if patient:
        wallet, facts = load(file, PASSWORD)
        assert facts == {"address": wallet.address, "subject": own}
        again = page.evaluate(
            """async ([text, password]) =>
            (await import("/pages/static/sign.js")).openFile(text, password)""",
            [file.read_text(), PASSWORD],
        )
        assert again["key"] == wallet.key.hex()
        assert not any(secret in everything for secret in (wallet.key.hex(), own))


def test_a_new_key_needs_a_long_password_twice(deployment, visit) -> None:
    page = visit.open("/keys/new")
    page.get_by_label("A patient").check()
    for first, second, sentence in (
        ("eleven char", "eleven char", "at least 12 characters"),
        (PASSWORD, PASSWORD + "s", "The two passwords differ"),
    ):
        page.get_by_label("A password for the file").fill(first)
        page.get_by_label("The same password again").fill(second)
        page.get_by_role("button", name="Make the key").click()
        page.get_by_role("alert").get_by_text(sentence).wait_for()
    assert page.locator("#made").is_hidden()


def test_key_files_agree_with_foreign_programs(visit) -> None:
    """Both ways of deriving, any password: a file of eth_account opens here, and one of ours there."""
    visit.open("/keys/new")
    for kdf, password in (("scrypt", "naïve 🧬"), ("pbkdf2", "x"), ("scrypt", PASSWORD)):
        wallet = Wallet.new()
        facts = {
            "type": "volens/key/1",
            "address": wallet.address,
            "subject": secrets.token_hex(32),
        }
        text = json.dumps(facts | {"keystore": Account.encrypt(wallet.key, password, kdf, 1 << 10)})
        opened, made = visit.page.evaluate(
            """async ([text, password]) => {
            const signing = await import("/pages/static/sign.js");
            return [await signing.openFile(text, password),
                    await signing.makeFile(true, password, undefined, { n: 1024, r: 8, p: 2 })];
        }""",
            [text, password],
        )
        assert opened == facts | {"key": wallet.key.hex()}
        own = json.loads(made["text"])
        assert own["keystore"].keys() == Account.encrypt(b"\1" * 32, "", iterations=2).keys()
        key = bytes(Account.decrypt(own["keystore"], password))
        assert Wallet.of(key).address == own["address"] == made["address"]
        assert own["subject"] == made["subject"]


# --- wallets of other programs

ANNOUNCED = r"""(() => {
    const request = async (question) => {
        const answer = await window.askWallet(question);
        if (answer.silent) return new Promise(() => {});
        if (answer.error) throw answer.error;
        return answer.result;
    };
    const icon = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='stolen = 1'/>";
    const name = "\u202e<b>Own</b>\u2066 wallet\u0000";
    const info = { uuid: crypto.randomUUID(), name, rdns: "org.example.wallet", icon };
    const announce = () => dispatchEvent(
        new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider: { request } }) }));
    addEventListener("eip6963:requestProvider", announce);
    announce();
})()"""
ORDER = 2 * HALF_ORDER + 1


@dataclass
class ScriptedWallet:
    """A wallet as a browser's extension is one: it signs with a foreign program, on its own
    network.
    """

    key: bytes
    network: int
    knows: set[int] = field(default_factory=set)
    connected: bool = True
    nothing: set[str] = field(default_factory=set)  # methods that it answers with null
    silent: set[str] = field(default_factory=set)  # methods that it never answers
    forgets: bool = False  # a network that it says it has added
    stays: bool = False  # on its network, whatever it answers
    others: list[str] = field(default_factory=list)  # accounts it names in place of its own
    fails: dict[str, int] = field(default_factory=dict)  # error by method
    change: Callable[[bytes], bytes] = bytes
    asked: list[str] = field(default_factory=list)
    added: list[dict] = field(default_factory=list)

    def answer(self, question: dict) -> dict:
        method, params = question["method"], question.get("params", [])
        self.asked.append(method)
        if method in self.silent:
            return {"silent": True}
        if method in self.fails:
            return {"error": {"code": self.fails[method], "message": "<i>words of a wallet</i>"}}
        if method in self.nothing:
            return {"result": None}
        own = [Wallet.of(self.key).address.lower()] if self.connected else []
        if method in ("eth_requestAccounts", "eth_accounts"):
            return {"result": self.others or own}
        if method == "eth_chainId":
            return {"result": hex(self.network)}
        if method == "wallet_switchEthereumChain":
            wanted = int(params[0]["chainId"], 16)
            if wanted not in self.knows:
                return {"error": {"code": -32603, "data": {"originalError": {"code": 4902}}}}
            self.network = self.network if self.stays else wanted
            return {"result": None}
        if method == "wallet_addEthereumChain":
            self.added.append(params[0])
            if not self.forgets:
                self.knows.add(int(params[0]["chainId"], 16))
            return {"result": None}
        assert method == "eth_signTypedData_v4"
        typed = json.loads(params[1])
        if typed["domain"]["chainId"] != self.network:
            return {"error": {"code": -32602, "message": "another chain"}}
        signed = Account.sign_message(encode_typed_data(full_message=typed), self.key)
        return {"result": "0x" + self.change(bytes(signed.signature)).hex()}


@pytest.fixture
def wallet_of(deployment, visit):
    """Puts the wallet of a name into the browser."""

    def announce(name: str) -> ScriptedWallet:
        key = bytes.fromhex(json.loads(deployment.key_file(name).read_text())["key"])
        wallet = ScriptedWallet(key, deployment.client("noor").domain.chain_id)
        visit.context.expose_function("askWallet", wallet.answer)
        visit.context.add_init_script(ANNOUNCED)
        return wallet

    return announce


def sign_in_with_wallet(visit) -> None:
    visit.open("/sign-in").get_by_role("button", name="Sign in with <b>Own</b> wallet").click()
    visit.page.wait_for_url(lambda url: "/sign-in" not in url)


def vote_form(deployment, visit) -> str:
    permit, ballot = ask_for_permit(deployment)
    open_form(visit, form_of("Vote", "vote", f"/permits/{permit}/votes", ballot, YES_OR_NO))
    return permit


def refused(visit, sentence: str) -> None:
    visit.page.get_by_role("button", name="Yes").click()
    expect(visit.page.get_by_role("alert")).to_contain_text(sentence)
    expect(visit.page.get_by_role("button", name="Yes")).to_be_enabled()


def high_s(signature: bytes) -> bytes:
    other = ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + other.to_bytes(32) + bytes([55 - signature[64]])


def test_a_wallet_signs_in_and_votes(deployment, visit, wallet_of) -> None:
    """In each form of a signature that wallets write; its name is text and its icon is not shown."""
    wallet = wallet_of("pia")
    visit.open("/sign-in").get_by_role("heading", name="Or use a wallet").wait_for()
    assert Axe().run(visit.page, options=VIOLATIONS).response["violations"] == []
    sign_in_with_wallet(visit)
    for change in (bytes, high_s, lambda it: it[:64] + bytes([it[64] - 27])):
        wallet.change = change
        permit = vote_form(deployment, visit)
        visit.page.get_by_role("button", name="No").click()
        visit.page.wait_for_url("**/runs")
        row = deployment.client("noor").permit(permit)
        assert (row["yes"], row["no"]) == (0, 1)
    assert visit.page.evaluate("typeof stolen") == "undefined"
    visit.page.get_by_role("button", name="Sign out").click()
    visit.page.wait_for_url(visit.url + "/")
    kept = "Object.keys(sessionStorage).filter((name) => name.startsWith('volens'))"
    assert visit.page.evaluate(kept) == []


def test_a_patient_signs_in_with_a_wallet_that_knows_no_id(deployment, visit, wallet_of) -> None:
    wallet_of("person-001")
    sign_in_with_wallet(visit)
    visit.page.wait_for_url("**/me")
    assert deployment.subjects[1].hex() in visit.page.content()


def test_a_patient_appoints_her_clinician_with_a_wallet(deployment, visit, wallet_of) -> None:
    clinic = deployment.clinic
    wallet_of("bea")
    sign_in_with_wallet(visit)
    query = f"dataset={clinic.dataset.hex()}&clinician={clinic.cleo.wallet.address}"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    page = visit.open(f"/me/care/appoint?{query}&until={tomorrow}&wish=no")
    page.get_by_role("button", name="Yes, sign").click()
    expect(page.get_by_role("heading", name="You appointed Cleo.")).to_be_visible()
    (mine,) = clinic.bea.appointments()
    assert (mine["clinician"], mine["live"]) == (clinic.cleo.wallet.address, True)
    assert mine["resultToMe"] is False


def test_a_sign_in_that_a_wallet_or_the_service_refuses(visit, wallet_of) -> None:
    wallet = wallet_of("pia")
    page = visit.open("/sign-in")
    button, alert = (
        page.get_by_role("button", name="Sign in with <b>Own</b> wallet"),
        page.locator("[data-act=wallet] [role=alert]"),
    )
    for fails, key, sentence in (
        ({"eth_requestAccounts": 4001}, wallet.key, "You refused in your wallet."),
        ({"eth_requestAccounts": -32002}, wallet.key, "is still waiting for an answer"),
        ({}, Wallet.new().key, "holds no role now, and nobody is enrolled with it"),
    ):
        wallet.fails, wallet.key = fails, key
        button.click()
        expect(alert).to_contain_text(sentence)
    wallet.nothing = {"eth_requestAccounts"}
    button.click()
    expect(alert).to_contain_text("Your wallet names no account.")
    assert page.evaluate("sessionStorage.getItem('volens-wallet')") is None


def test_without_a_wallet_none_is_offered(visit) -> None:
    page = visit.open("/sign-in")
    page.get_by_label("Your key file").wait_for()
    assert page.get_by_role("heading", name="Or use a wallet").is_hidden()


def test_a_wallet_that_never_answers_is_told_and_can_be_asked_again(
    deployment, visit, wallet_of
) -> None:
    """At the sign-in, before a signature and at it; the button is of use again."""
    wallet, page = wallet_of("pia"), visit.page
    page.clock.install()
    button = visit.open("/sign-in").get_by_role("button", name="Sign in with <b>Own</b> wallet")
    late = "Your wallet has not answered for two minutes, and nothing was sent."

    def wait_in_vain(method: str, alert) -> None:
        wallet.silent, before = {method}, wallet.asked.count(method)
        button.click()
        while wallet.asked.count(method) == before:
            page.wait_for_timeout(20)
        expect(button).to_be_disabled()
        page.clock.fast_forward(121_000)
        expect(alert).to_contain_text(late)
        expect(alert).to_contain_text("then try again")
        expect(button).to_be_enabled()
        wallet.silent = set()

    wait_in_vain("eth_requestAccounts", page.locator("[data-act=wallet] [role=alert]"))
    button.click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    permit = vote_form(deployment, visit)
    button = page.get_by_role("button", name="Yes")
    for method in ("eth_accounts", "eth_signTypedData_v4"):
        wait_in_vain(method, page.get_by_role("alert"))
    button.click()
    page.wait_for_url("**/runs")
    row = deployment.client("noor").permit(permit)
    assert (row["yes"], row["no"]) == (1, 0)


def test_what_a_wallet_refuses_or_forges_is_told_in_plain_words(
    deployment, visit, wallet_of
) -> None:
    """Nothing of it reaches the service, and no word of the wallet is shown."""
    wallet = wallet_of("pia")
    sign_in_with_wallet(visit)
    vote_form(deployment, visit)
    signs, mine = "eth_signTypedData_v4", Wallet.of(wallet.key).address
    for code, sentence in (
        (4001, "You refused in your wallet. Nothing was signed."),
        (-32002, "Your wallet is still waiting for an answer of yours."),
        (4100, "does not let this page use that account"),
        (4200, "cannot sign this kind of message"),
        (4900, "Your wallet is disconnected."),
        (-32000, "Your wallet could not do it (error -32000). Nothing was signed."),
    ):
        wallet.fails = {signs: code}
        refused(visit, sentence)
    wallet.fails, wallet.others = {}, [Wallet.new().address]
    refused(visit, f"Your wallet now uses another account. Choose {mine} there")
    wallet.others, wallet.connected = [], False
    refused(visit, "no longer connected with this page")
    wallet.connected, wallet.nothing = True, {"eth_accounts"}
    refused(visit, "no longer connected with this page")
    wallet.nothing = set()
    for change in (
        lambda it: it[:64],  # the short form of EIP-2098
        lambda it: it[:64] + b"\x1d",
        lambda it: it[:31] + bytes([it[31] ^ 1]) + it[32:],
        lambda it: it[:32] + bytes(32) + it[64:],
        lambda it: it + bytes(64),
    ):
        wallet.change = change
        refused(visit, "is not this account's signature over this message. Nothing was sent.")
    own, wallet.key, wallet.change = wallet.key, Wallet.new().key, bytes
    wallet.others = [mine]  # it says one account, and signs with another
    refused(visit, "is not this account's signature over this message. Nothing was sent.")
    wallet.key = own
    assert not any("/votes" in url for url in visit.asked)
    visit.page.get_by_role("button", name="Yes").click()  # the control
    visit.page.wait_for_url("**/runs")


def test_a_wallet_on_another_network_is_led_to_the_ledgers(deployment, visit, wallet_of) -> None:
    wallet = wallet_of("pia")
    sign_in_with_wallet(visit)
    vote_form(deployment, visit)
    ledger, wallet.network = wallet.network, 1
    by_hand = f"in the wallet's settings: name volens ledger {ledger}, chain id {ledger}, RPC URL "
    refused(visit, f"{by_hand}the address of a node that this service's operator names")
    wallet.fails = {"wallet_switchEthereumChain": 4001}
    refused(visit, "You refused in your wallet.")
    wallet.fails = {"wallet_switchEthereumChain": 4200}
    refused(visit, f"Choose volens ledger {ledger} (chain id {ledger}) there.")
    wallet.fails, wallet.stays, wallet.knows = {}, True, {ledger}
    refused(visit, f"Choose volens ledger {ledger} (chain id {ledger}) there.")
    wallet.stays, wallet.knows = False, set()
    assert wallet.asked.count("eth_signTypedData_v4") == 1  # the sign-in
    spec = visit.page.evaluate("fetch('/pages/signing').then((answer) => answer.json())")
    assert spec["chain"] == {"id": ledger, "node": ""}
    spec["chain"]["node"] = "https://node.example"
    visit.page.route("**/pages/signing", lambda route: route.fulfill(json=spec))
    visit.page.reload()
    wallet.forgets = True
    refused(visit, f"{by_hand}https://node.example, currency ETH. Then try again.")
    wallet.fails = {"wallet_addEthereumChain": -32601}
    refused(visit, f"{by_hand}https://node.example, currency ETH.")
    wallet.fails, wallet.forgets, wallet.added = {}, False, []
    visit.page.get_by_role("button", name="Yes").click()
    visit.page.wait_for_url("**/runs")
    assert [(network["chainId"], network["rpcUrls"]) for network in wallet.added] == [
        (hex(ledger), ["https://node.example"])
    ]
    assert wallet.network == ledger


# --- the key that opens a result


def run_form(deployment) -> str:
    """What a page shows to ask for a run; nonce and key are made in the browser."""
    fields = {"permit": deployment.permit.hex(), "paramsHash": sha256(deployment.short).hexdigest()}
    fields |= {"resultKey": "", "nonce": "", "deadline": int(time.time()) + 3600}
    params = f'<pre data-extra="params">{html.escape(deployment.short.decode())}</pre>'
    return form_of(
        "RunRequest", "request", "/runs", fields, params + "<button>Ask</button>", act="request-run"
    )


def test_a_run_is_asked_for_with_a_key_that_follows_from_hers(
    deployment, visit, tmp_path: Path
) -> None:
    open_locked(visit.open("/sign-in"), locked_file(deployment, tmp_path, "noor"))
    page, noor = open_form(visit, run_form(deployment)), deployment.client("noor")
    with page.expect_request("**/runs") as sent:
        page.get_by_role("button", name="Ask").click()
    page.wait_for_url("**/runs/*")
    run, nonce = page.url.rpartition("/")[2], sent.value.post_data_json["request"]["nonce"]
    assert run == run_id(noor.wallet.address, int(nonce)).hex()
    derived = derived_pair(noor.wallet.key, RESULT_KEY, bytes.fromhex(run))[1]
    assert noor.run(run)["resultKey"] == derived.hex()
    assert page.evaluate("Object.keys(localStorage).filter((name) => name.includes('-key'))") == []


def test_with_a_wallet_the_key_of_a_result_is_kept_here_and_in_a_file(
    deployment, visit, wallet_of, tmp_path: Path
) -> None:
    """And before the run is on the ledger: a refused request leaves a key, never a run without one."""
    wallet_of("noor")
    sign_in_with_wallet(visit)
    page, noor = open_form(visit, run_form(deployment)), deployment.client("noor")
    page.route("**/runs", lambda route: route.fulfill(status=503, json={"detail": "Later."}))
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("Later.")
    names = "Object.keys(localStorage).filter((name) => name.includes('-key/'))"
    assert len(page.evaluate(names)) == 1
    page.unroute("**/runs")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_url("**/runs/*")
    run = page.url.rpartition("/")[2]
    form = f'''<form data-act="open-output" data-run="{run}" data-attempt="1" data-role="analyst">
        <div data-choose-key hidden><label>Its key <input type="file"></label></div>
        <a data-own-key href="#" hidden>Keep its key</a><p role="alert"></p><button>Open</button></form>'''
    page = open_form(visit, form)
    assert page.get_by_label("Its key").is_hidden()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Keep its key").click()
    kept = json.loads(Path(saved.value.path()).read_bytes())
    assert new_public(kept["key"]) == kept["public"] == noor.run(run)["resultKey"]
    name = f"volens/result-key/1:{run}"
    assert page.evaluate("(name) => localStorage.getItem(name)", name) == kept["key"]
    page.evaluate("(name) => localStorage.removeItem(name)", name)
    page.reload()
    assert page.get_by_role("link", name="Keep its key").is_hidden()
    for content, sentence in (
        (kept | {"purpose": "volens/result-key/1:" + "00" * 32}, "for another run, or damaged"),
        (kept | {"public": "00" * 32}, "for another run, or damaged"),
        ({"type": "volens/key/1"}, "not a file of such a key"),
        (kept, "has no sealed output"),  # it is taken; there is none yet
    ):
        file = tmp_path / "key.json"
        file.write_text(json.dumps(content))
        page.get_by_label("Its key").set_input_files(file)
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("alert")).to_contain_text(sentence)
    assert page.evaluate("(name) => localStorage.getItem(name)", name) == kept["key"]


def new_public(private: str) -> str:
    return load_pair(bytes.fromhex(private))[1].hex()
