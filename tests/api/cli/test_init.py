"""Key ceremony of several machines: signatures in files, and a plain refusal of each bad file."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from founders import FOUNDERS, Founders, Result

from api.errors import NotServing, UsageError, VerificationFailed
from api.operate.bootstrap import founders_here, sign_identity
from api.operate.ceremony import DAYS, DONE, Ceremony
from api.operate.ceremony_files import Request
from api.operate.processes import Parts
from chain.ledger import Ledger
from chain.signatures import domain_of
from chain.wallets import Wallet, load
from governance.rules.encoding import canonical_json


@pytest.fixture(scope="module")
def waiting(devchain, tmp_path_factory) -> Founders:
    """Deployed; the roles wait for signatures."""
    founders = Founders(tmp_path_factory.mktemp("founders"), devchain.url)
    asked = founders.run("op", "init")
    assert (asked.code, "ceremony/plan.json" in asked.text) == (2, True)
    unfilled = founders.run("op", "init")
    assert (unfilled.code, "pia has no address yet" in unfilled.text.lower()) == (2, True)
    founders.plan()
    result = founders.run("op", "init")
    assert (result.code, "Missing: 2 of pia, quinn, rui." in result.text) == (0, True)
    return founders


def roles(founders: Founders) -> dict[str, int]:
    """The roles that stand on the ledger, by name."""
    state = json.loads((founders.op / "ceremony" / "state.json").read_text())
    ledger = Ledger.connect(founders.chain, state["identity"])
    asked = json.loads((founders.op / "ceremony" / "roles-to-sign.json").read_text())["roles"]
    return {
        founder["name"]: ledger.read("PermitRegistry", "roleOf", founder["account"])[0]
        for founder in asked
    }


def refuse(founders: Founders, path: Path, words: str) -> None:
    """The file is refused in one plain sentence, nothing is done, and it is taken away again."""
    assert founders.hand_in(path) is None
    result = founders.run("op", "init")
    (founders.op / "ceremony" / "signed" / path.name).unlink()
    assert (result.code, words in result.text) == (7, True), result
    assert str(founders.base) not in result.text
    assert set(roles(founders).values()) == {0}


def altered(path: Path, **change: object) -> Path:
    copy = path.with_name(f"altered-{secrets.token_hex(4)}.json")
    copy.write_text(json.dumps(json.loads(path.read_text()) | change))
    return copy


def stranger(founders: Founders) -> Path:
    """Good signatures, by somebody who is no founder and says so."""
    request = Request.parse(
        json.loads((founders.op / "ceremony" / "roles-to-sign.json").read_text())
    )
    noor, domain = (
        load(founders.base / "noor" / "keys" / "noor.json")[0],
        domain_of(request.identity),
    )
    path = founders.base / "stranger.json"
    path.write_text(
        json.dumps(
            request.signed(
                noor.address, [noor.sign(domain, *message) for message in request.messages]
            )
        )
    )
    return path


def by_two(founders: Founders, signer: str) -> Path:
    """One file with good signatures of two founders; `signer` says that all of it is hers."""
    files = [json.loads(founders.sign(name, "roles").read_text()) for name in ("pia", "quinn")]
    path = founders.base / f"two-{signer}.json"
    signatures = files[0]["signatures"][:1] + files[1]["signatures"][1:]
    path.write_text(
        json.dumps(files[0] | {"signer": founders.addresses[signer], "signatures": signatures})
    )
    return path


def test_each_person_is_shown_what_she_signs(waiting: Founders) -> None:
    file = str(waiting.op / "ceremony" / "roles-to-sign.json")
    result = waiting.run(
        "pia", "init", "sign", file, "--as", "pia"
    )  # she is asked, and nobody answers yes
    assert result.code != 0
    for words in (
        f"rita, {waiting.addresses['rita']}, becomes registrar: enrols patients",
        "any 2 decide together",
        f"founder pia, {waiting.addresses['pia']}",
        "can be used until",
        "compared with your own node",
        "smallest cohort 10",
    ):
        assert words in result.text, words
    assert not (waiting.base / "roles-pia.json").exists()
    refused = waiting.run("noor", "init", "sign", file, "--as", "noor", "--yes")
    assert (refused.code, "not asked" in refused.text) == (5, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quorum": 1}, "altered"),
        ({"extra": 1}, "altered"),
        ({"type": "volens/identity/1"}, "altered"),
        ({"step": "identity"}, "altered"),
        ({"signers": {}}, "altered"),
        ({"roles": []}, "altered"),
    ],
)
def test_a_file_that_was_altered_is_not_signed(
    waiting: Founders, tmp_path: Path, change, words: str
) -> None:
    request = json.loads((waiting.op / "ceremony" / "roles-to-sign.json").read_text())
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request | change))
    result = waiting.run(
        "pia",
        "init",
        "sign",
        str(file),
        "--as",
        "pia",
        "--yes",
        "--out",
        str(tmp_path / "out.json"),
    )
    assert (result.code, words in result.text) == (2, True), result
    assert not (tmp_path / "out.json").exists()


def test_the_contracts_are_compared_with_her_own_node(waiting: Founders, tmp_path: Path) -> None:
    request = json.loads((waiting.op / "ceremony" / "roles-to-sign.json").read_text())
    request["identity"]["contracts"][0]["codeHash"] = "00" * 32
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request))
    result = waiting.run("pia", "init", "sign", str(file), "--as", "pia", "--yes")
    assert (result.code, "code of Trail" in result.text) == (7, True), result


def attempt(waiting: Founders, request: dict, folder: Path, who: str = "pia", *by: str) -> Result:
    """She is to sign an altered file; nothing is signed, whatever is said."""
    file, out = folder / "request.json", folder / "out.json"
    file.write_text(json.dumps(request))
    result = waiting.run(
        who, "init", "sign", str(file), *(by or ("--as", who)), "--yes", "--out", str(out)
    )
    assert not out.exists()
    assert result.code != 0
    return result


def renamed(request: dict, old: str, new: str) -> None:
    request["signers"] = {
        new if name == old else name: who for name, who in request["signers"].items()
    }


def crowd(request: dict) -> None:
    """More founders than a contract's quorum can count."""
    request["signers"] = {f"f{n}": to_checksum_address(f"0x{n:040x}") for n in range(1, 301)}
    request["identity"].update(founders=list(request["signers"].values()), quorum=300)
    request["quorum"] = 300


@pytest.mark.parametrize(
    "change",
    [
        lambda r: renamed(r, "pia", "\x1b[2J\x1b[Hpia"),
        lambda r: renamed(r, "pia", "pia\nNothing below is signed."),
        lambda r: renamed(r, "pia", "\u202epia"),
        lambda r: renamed(r, "pia", "pia, and"),
        lambda r: r["roles"][0].update(name="ri\x1b[8mta"),
        lambda r: r["roles"][0].update(name=7),
        lambda r: renamed(r, "pia", "noor"),
        lambda r: r["roles"][1].update(name="rita"),
        lambda r: r["roles"][1].update(account=r["roles"][0]["account"]),
        lambda r: r["roles"][0].update(account=r["signers"]["pia"]),
        lambda r: r["signers"].update(pia2=r["signers"]["pia"]),
        lambda r: r["roles"][0].update(name="broker"),
        lambda r: r["roles"][-1].update(name="brooker"),
        lambda r: r["signers"].update(broker="0x" + "12" * 20),
        lambda r: r["roles"][0].update(role=True),
        lambda r: r["roles"][0].update(start=True),
        lambda r: r["roles"][0].update(start=20, end=10),
        lambda r: r["roles"][0].update(deadline=(1 << 37) - 1),
        lambda r: r["roles"][0].update(deadline=-1),
        lambda r: r["roles"][0].update(replaces="0"),
        lambda r: r["roles"][0].update(replaces=1),
        lambda r: r["roles"][0].update(replaces=False),
        lambda r: r["roles"][0].pop("replaces"),
        lambda r: r["identity"].update(cohortFloor=True),
        lambda r: r["identity"].update(cohortFloor=-1),
        lambda r: r["identity"].pop("cohortFloor"),
        lambda r: r["identity"].pop("roleDelay"),
        lambda r: [r["roles"].pop(), r["signers"].update(broker="0x" + "12" * 20)],
        lambda r: crowd(r),
    ],
)
def test_a_file_that_shows_something_else_is_refused_before_it_is_shown(
    waiting: Founders, tmp_path, change
) -> None:
    request = json.loads((waiting.op / "ceremony" / "roles-to-sign.json").read_text())
    change(request)
    result = attempt(waiting, request, tmp_path)
    assert (result.code, "You sign" in result.text, "founder" in result.text) == (
        2,
        False,
        False,
    ), result
    assert not set(result.text) & {"\x1b", "\u202e"}


def test_no_line_that_is_shown_moves_a_cursor(waiting: Founders) -> None:
    request = Request.parse(
        json.loads((waiting.op / "ceremony" / "roles-to-sign.json").read_text())
    )
    places = [{**item, "address": "\x9b2J\u202e"} for item in request.identity["contracts"]]
    for role in (
        replace(request, signers={"\x1b[2Jpia\n": "\r"}),
        replace(
            request, changes=tuple((f"\u2028{name}", change) for name, change in request.changes)
        ),
    ):
        assert all(line.isprintable() for line in role.describe())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.operate.ceremony_files.identity_id", lambda _: b"")
        shown = replace(
            request, step="identity", identity={**request.identity, "contracts": places}
        ).describe()
    assert all(line.isprintable() for line in shown)


def swap(request: dict) -> None:
    """The address of the consent registry, with its own code's hash, under the trail's name."""
    places = request["identity"]["contracts"]
    places[0] = places[2] | {"name": "Trail"}


def other_founder(request: dict) -> None:
    pia, eve = request["signers"]["pia"], Wallet.new().address
    request["signers"]["quinn"], founders = eve, request["identity"]["founders"]
    request["identity"]["founders"] = [
        who if who == pia else eve if n == 1 else who for n, who in enumerate(founders)
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda r: [
                c.update(address=Wallet.new().address, codeHash=sha256(b"").hexdigest())
                for c in r["identity"]["contracts"]
            ],
            "no contract where Trail is said to be",
        ),
        (lambda r: r["identity"].update(cohortFloor=9), "created with another smallest cohort"),
        (lambda r: r["identity"].update(maxLease=9), "created with another longest lease"),
        (lambda r: r["identity"].update(roleDelay=9), "created with another delay"),
        (
            lambda r: r["identity"].update(quorum=3),
            "created with another quorum",
        ),
        (other_founder, "created with other founders"),
        (lambda r: r["identity"].update(salt="00" * 32), "created with another salt"),
        (
            lambda r: r["identity"].update(deployBlock=r["identity"]["deployBlock"] + 1),
            "nothing created it",
        ),
        (swap, "not created from this release's code"),
    ],
)
def test_contracts_that_are_not_what_the_file_says_are_refused(
    waiting: Founders, tmp_path, change, words
) -> None:
    request = json.loads((waiting.op / "ceremony" / "roles-to-sign.json").read_text())
    change(request)
    result = attempt(waiting, request, tmp_path)
    assert (result.code, words in result.text.replace("\n", " "), "You sign" in result.text) == (
        7,
        True,
        False,
    ), result


def test_a_broker_signs_no_roles(waiting: Founders, tmp_path: Path) -> None:
    request = json.loads((waiting.op / "ceremony" / "roles-to-sign.json").read_text())
    result = attempt(waiting, request, tmp_path, "op", "--broker", str(waiting.op / "broker"))
    assert (result.code, "broker signs no roles" in result.text) == (2, True), result


def test_a_home_with_demo_accounts_has_no_complete_ceremony(
    waiting: Founders, tmp_path: Path
) -> None:
    (tmp_path / "op" / "keys").mkdir(parents=True)
    identity = json.loads((waiting.op / "ceremony" / "state.json").read_text())["identity"]
    (tmp_path / "op" / "identity.json").write_text(json.dumps(identity))
    for name in FOUNDERS[:2]:
        shutil.copy(waiting.base / name / "keys" / f"{name}.json", tmp_path / "op" / "keys")
    result = Founders(tmp_path, waiting.chain).run("op", "init")
    assert (result.code, "has demo accounts" in result.text, "complete" in result.text) == (
        2,
        True,
        False,
    ), result
    assert "another VOLENS_HOME" in result.text


def test_bad_stale_and_foreign_signature_files_are_refused(
    waiting: Founders, devchain, tmp_path: Path
) -> None:
    good = waiting.sign("pia", "roles")
    others = Founders(tmp_path, devchain.url)
    others.run("op", "init")
    others.plan()
    others.run("op", "init")
    content = json.loads(good.read_text())
    for path, words in (
        (others.sign("pia", "roles"), "signs another file than the requested one"),
        (altered(good, signatures=content["signatures"][:-1]), "was altered"),
        (
            altered(good, signatures=content["signatures"][::-1]),
            "not signed by one of the requested people",
        ),
        (altered(good, signatures=["00" * 65] * len(content["signatures"])), "was altered"),
        (
            altered(good, signer=waiting.addresses["quinn"]),
            "not signed by one of the requested people",
        ),
        (altered(good, type="x"), "another file"),
        (altered(good, request=[]), "signs another file"),
        (altered(good, request={}), "signs another file"),
        (by_two(waiting, "pia"), "not signed by one of the requested people"),
        (by_two(waiting, "quinn"), "not signed by one of the requested people"),
        (stranger(waiting), "not signed by one of the requested people"),
    ):
        refuse(waiting, path, words)
    broken = tmp_path / "a\x1b[31mb.json"
    broken.write_text('{"type": 1, "type": 2}')
    refuse(waiting, broken, "\\u001b[31mb.json cannot be read")


def test_one_persons_signatures_are_no_quorum_and_nothing_is_half_done(waiting: Founders) -> None:
    good = waiting.sign("pia", "roles")
    again = good.with_name("again.json")
    again.write_bytes(good.read_bytes())
    waiting.hand_in(good, again)
    result = waiting.run("op", "init", "--json")
    standing = json.loads(result.text)
    assert (standing["signed"], standing["missing"], standing["lacking"]) == (
        ["pia"],
        ["quinn", "rui"],
        1,
    )
    assert set(roles(waiting).values()) == {0}
    with pytest.raises(NotServing, match="not finished"):
        Parts.start(waiting.settings)  # a played committee must not take its place
    plan = waiting.op / "ceremony" / "plan.json"
    before = plan.read_text()
    waiting.plan(quorum=3)
    assert "plan was changed" in waiting.run("op", "init").text
    plan.write_text(before)


def test_a_request_whose_time_is_over_is_written_anew(waiting: Founders, monkeypatch) -> None:
    from api.operate import ceremony as ceremony

    stale = waiting.sign("quinn", "roles")
    now = ceremony.Ledger.now
    monkeypatch.setattr(ceremony.Ledger, "now", lambda self: now(self) + (DAYS + 1) * 86_400)
    result = waiting.run("op", "init")
    assert "earlier file has expired" in result.text or "which has expired" in result.text
    monkeypatch.undo()
    for path in (waiting.op / "ceremony" / "signed").glob("*.json"):
        path.unlink()
    refuse(waiting, stale, "which has expired")


def test_the_ceremony_goes_on_after_an_interruption_and_ends(
    waiting: Founders, monkeypatch
) -> None:
    from api.operate import ceremony as ceremony

    waiting.run("op", "init")
    waiting.hand_in(waiting.sign("quinn", "roles"), waiting.sign("rui", "roles"))
    relay, calls = ceremony.relay_role, []

    def interrupted(*arguments: object) -> None:
        if len(calls) == 3:
            raise OSError("the machine went away")
        calls.append(relay(*arguments))

    monkeypatch.setattr(ceremony, "relay_role", interrupted)
    assert waiting.run("op", "init").code == 2
    assert sorted(roles(waiting).values())[:3] == [0, 0, 0]
    monkeypatch.undo()
    assert "The identity of the ledger: signed by broker." in waiting.run("op", "init").text
    people = {"rita": 3, "omar": 2, "noor": 4, "sol": 5, "tess": 5, "vera": 8}
    assert roles(waiting) == people | {"worker": 10, "broker": 9}
    assert not (waiting.op / "identity.json").exists()
    waiting.hand_in(*(waiting.sign(who, "identity") for who in FOUNDERS))
    result = waiting.run("op", "init")
    assert (result.code, "complete" in result.text) == (0, True)
    identity = json.loads((waiting.op / "identity.json").read_text())
    assert len(identity["signatures"]) == 4
    assert founders_here(waiting.op, identity) == []
    keys = {
        load(waiting.base / name / "keys" / f"{name}.json")[0].key.hex()
        for name in (*FOUNDERS, "noor")
    }
    written = b"".join(path.read_bytes() for path in waiting.op.rglob("*") if path.is_file())
    assert not [key for key in keys if key.encode() in written]
    assert canonical_json(identity["founders"]).decode() == json.dumps(
        [waiting.addresses[name] for name in FOUNDERS], separators=(",", ":")
    )


@pytest.fixture
def ended(waiting: Founders, tmp_path: Path) -> Path:
    """A copy of the home whose ceremony ended, without its keys."""
    home = tmp_path / "op"
    shutil.copytree(waiting.op / "ceremony", home / "ceremony")
    shutil.copy(waiting.op / "identity.json", home)
    return home


def tamper(path: Path, change: Callable[[dict], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def sign_as(founders: Founders, document: dict, *names: str) -> None:
    """Its signatures are those of these people, good ones, and the broker's if it stands among
    them.
    """
    before = document["signatures"]
    wallets = [
        Wallet.new() if name == "eve" else load(founders.base / name / "keys" / f"{name}.json")[0]
        for name in names
        if name != "broker"
    ]
    broker = {
        who: content
        for who, content in before.items()
        if who not in document["founders"] and "broker" in names
    }
    document["signatures"] = sign_identity(document, wallets) | broker


@pytest.mark.parametrize(
    ("signers", "words"),
    [
        (("pia", "quinn", "broker"), None),
        (("pia", "quinn", "rui", "broker"), None),
        (("pia", "broker"), "1 of 2 founders' signatures"),
        ((), "0 of 2 founders' signatures"),
        (("pia", "quinn"), "its broker did not sign it"),
        (("pia", "quinn", "eve"), "or somebody else did"),
        (("pia", "quinn", "broker", "eve"), "or somebody else did"),
        (("pia", "quinn", "noor"), "or somebody else did"),
    ],
)
def test_a_ceremony_is_complete_with_its_own_people_only(
    waiting: Founders, ended: Path, signers, words
) -> None:
    tamper(ended / "identity.json", lambda identity: sign_as(waiting, identity, *signers))
    if words is None:
        assert Ceremony(ended).finished().step == DONE
        return
    with pytest.raises(VerificationFailed, match=words):
        Ceremony(ended).finished()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda identity: identity.clear(), "is no ledger identity"),
        (lambda identity: identity.update(quorum=1), "is no ledger identity"),
        (
            lambda identity: [identity.clear(), identity.update(founders=["0x1"], quorum=2)],
            "is no ledger identity",
        ),
        (lambda identity: identity.update(salt="00" * 32), "of another ledger"),
        (
            lambda identity: identity["signatures"].update(
                {identity["founders"][2]: identity["signatures"][identity["founders"][0]]}
            ),
            "1 are not",
        ),
    ],
)
def test_an_identity_that_this_ceremony_did_not_make_ends_none(
    waiting: Founders, ended: Path, change, words
) -> None:
    tamper(ended / "identity.json", change)
    result = Founders(ended.parent, waiting.chain).run("op", "init")
    assert (result.code, words in result.text.replace("\n", " "), "complete." in result.text) == (
        7,
        True,
        False,
    ), result
    assert "then: volens init" in result.text


def test_a_foreign_identity_does_not_finish_a_ceremony(ended: Path, waiting: Founders) -> None:
    state = ended / "ceremony" / "state.json"
    tamper(state, lambda saved: saved.update(given=False))
    with pytest.raises(VerificationFailed, match="roles of this ceremony were not given"):
        Ceremony(ended).finished()
    tamper(state, lambda saved: saved["identity"].update(salt="00" * 32))
    with pytest.raises(VerificationFailed, match="of another ledger"):
        Ceremony(ended).finished()
    state.unlink()
    with pytest.raises(VerificationFailed, match="nothing was deployed here yet"):
        Ceremony(ended).finished()
    shutil.rmtree(ended / "ceremony")  # a home of its own, to which somebody handed identity.json
    assert Ceremony(ended).finished().step == DONE
    tamper(ended / "identity.json", lambda identity: sign_as(waiting, identity, "pia", "quinn"))
    with pytest.raises(VerificationFailed, match="broker did not sign"):
        Ceremony(ended).finished()


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"plan": 1}', "nonsense", "", "torn", "identity", "roles", "given"]
)
def test_a_damaged_state_is_the_operators_own_to_restore(
    waiting: Founders, ended: Path, text: str
) -> None:
    (ended / "identity.json").unlink()
    path = ended / "ceremony" / "state.json"
    content = path.read_text()
    named = {
        name: json.dumps(json.loads(content) | {name: []})
        for name in ("identity", "roles", "given")
    }
    path.write_text({"torn": content[:-9], **named}.get(text, text))
    founders = Founders(ended.parent, waiting.chain)
    result = founders.run("op", "init")
    assert (result.code, "state.json" in result.text, "Ask for it" in result.text) == (
        7,
        True,
        False,
    ), result
    assert "Restore ceremony/state.json from a copy" in result.text
    (ended / "ceremony" / "plan.json").write_text("{")
    assert "Restore it from a copy, or move it away" in founders.run("op", "init").text


def test_the_first_call_makes_folders_for_the_operator_only(tmp_path: Path) -> None:
    home, before = tmp_path / "op", os.umask(0o022)
    try:
        with pytest.raises(UsageError, match="no plan yet"):
            Ceremony(home).prepare()
    finally:
        os.umask(before)
    for folder in (home, home / "ceremony", home / "ceremony" / "signed"):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quorum": 1}, "quorum of two or more"),
        ({"founders": {}}, "three founders"),
        ({"extra": 1}, "form"),
        (
            {"roles": [{"name": "eve", "role": "analyst", "address": "here"}]},
            "must not be made here",
        ),
        ({"roles": [{"name": "eve", "role": "broker", "address": "here"}]}, "cannot be given here"),
        ({"broker": "0x" + "aB" * 20}, "mistyped"),
        ({"smallestCohort": 0}, "form"),
        ({"smallestCohort": 1 << 32}, "form"),
        ({"roleDelayHours": -1}, "form"),
        ({"roleDelayHours": "48"}, "form"),
    ],
)
def test_an_invalid_plan_is_refused(tmp_path: Path, change, words: str) -> None:
    founders = Founders(tmp_path, "http://127.0.0.1:9")
    founders.run("op", "init")
    founders.plan(**change)
    result = founders.run("op", "init")
    assert (result.code, words in result.text) == (2, True), result
    assert not (founders.op / "ceremony" / "state.json").exists()
