"""Python and the browser's script agree: the same digest, signature, address, commitment and
receipt bytes.
"""

from __future__ import annotations

import html
import json
import secrets
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from signed_forms import PASSWORD, YES_OR_NO, ask_for_permit, form_of, open_form, sign_in_with

from chain.signatures import Domain, _encode, recover, sign, typed_data
from chain.wallets import Wallet
from governance.care import hidden as hide
from governance.care import plan_id
from governance.errors import MessageRefused
from governance.objects.envelope import (
    CHUNK,
    MAGIC,
    OUTPUT,
    TAG,
    WRAPPED,
    Header,
    Label,
    Piece,
    WrappedShare,
    encode_pieces,
    key_commitment,
    output_commitment,
    seal_message,
    seal_object,
    split_key,
)
from governance.objects.keys import RESULT_KEY, derived_pair, new_pair
from governance.objects.notes import open_notes
from governance.rules.encoding import canonical, canonical_json

KEY = sha256(b"a key that everybody knows").digest()
DOMAIN = Domain(
    31337,
    sha256(b"salt").digest(),
    {
        name: Account.from_key(sha256(name.encode()).digest()).address
        for name in typed_data()["contracts"]
    },
)
TEXT = 'two "quotes", a\\slash, ñ, \u2028 and a 🧬'
ANY = {
    "uint256": 2**255 + 7,
    "uint40": 1_795_500_000,
    "uint32": 4_294_967_295,
    "uint24": 77,
    "uint16": 9,
    "uint8": 3,
    "bool": True,
    "string": "http://127.0.0.1:8000",
    "address": Wallet.of(KEY).address,
    "bytes32": sha256(b"thirty-two").digest(),
    "bytes": bytes.fromhex(Wallet.of(KEY).address[2:]),
}
LOCKED = {
    "type": "volens/key/1",
    "address": Wallet.of(KEY).address,
    "keystore": Account.encrypt(KEY, PASSWORD, "scrypt", 1 << 10),
}


def altered(kdfparams: dict | None = None, **crypto) -> dict:
    """The locked file with other values in it, and the right password."""
    kept = LOCKED["keystore"]["crypto"]
    changed = {**kept, **crypto, "kdfparams": kept["kdfparams"] | (kdfparams or {})}
    return LOCKED | {"keystore": LOCKED["keystore"] | {"crypto": changed}, "password": PASSWORD}


KINDS = [
    kind
    for kind, fields in typed_data()["types"].items()
    if all(type_ in ANY for _, type_ in fields)
]


@pytest.fixture(scope="module")
def people_on_the_pages() -> int:
    """Enough where nothing is computed."""
    return 2


def _in_browser(visit, kind: str, message: dict) -> dict:
    spec = {
        "name": kind,
        "fields": typed_data()["types"][kind],
        "domain": DOMAIN.for_type(kind) | {"salt": DOMAIN.salt.hex()},
    }
    sent = {
        name: value.hex()
        if isinstance(value, bytes)
        else str(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else value
        for name, value in message.items()
    }
    return visit.page.evaluate(
        """async ([spec, message, key]) => {
        const signing = await import("/pages/static/sign.js");
        const bytes = Uint8Array.from(key.match(/../g), (pair) => parseInt(pair, 16));
        const hash = signing.digest(spec, message);
        return {digest: [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
                signature: signing.sign(bytes, hash), address: signing.addressOf(bytes),
                recovered: signing.recover(hash, signing.sign(bytes, hash)),
                typed: signing.typedData(spec, message)};
    }""",
        [spec, sent, KEY.hex()],
    )


def test_same_digest_and_signature_as_in_python(visit) -> None:
    """Of every kind of message, also as wallets get it, by a foreign program's reading."""
    assert set(KINDS) == set(typed_data()["types"]) - {"Witness"}  # uint64, and no page signs it
    visit.open("/sign-in")
    for kind in KINDS:
        message = {name: ANY[type_] for name, type_ in typed_data()["types"][kind]}
        signed = _in_browser(visit, kind, message)
        assert (
            signed["digest"] == bytes(_hash_eip191_message(_encode(DOMAIN, kind, message))).hex()
        ), kind
        assert signed["signature"] == sign(KEY, DOMAIN, kind, message).hex(), kind
        foreign = encode_typed_data(full_message=signed["typed"])
        assert bytes(_hash_eip191_message(foreign)).hex() == signed["digest"], kind
        assert signed["recovered"] == signed["address"], kind
        signer = recover(DOMAIN, kind, message, bytes.fromhex(signed["signature"]))
        assert signer == signed["address"] == Wallet.of(KEY).address, kind


def test_same_hidden_clinician_plan_id_and_notes(visit) -> None:
    """What a browser hides and encrypts of a patient's own care, as the program does."""
    salt, run, nonce = (sha256(name).digest() for name in (b"salt", b"plan", b"nonce"))
    account = Wallet.of(KEY).address
    visit.open("/sign-in")
    hidden, named, vector, drawn = visit.page.evaluate(
        """async ([salt, account, run, nonce, text]) => {
        const { care } = await import("/pages/static/sign.js");
        const raw = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
        const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        return [care.hidden(account, raw(salt)), care.planId(run, account, raw(nonce)),
                hex(care.sealNotes(salt, run, 3, text, raw(nonce).subarray(0, 12))),
                hex(care.sealNotes(salt, run, 3, text))];
    }""",
        [salt.hex(), account, run.hex(), nonce.hex(), TEXT],
    )
    assert hidden == hide(account, salt).hex()
    assert named == plan_id(run, account, int.from_bytes(nonce, "big")).hex()
    assert bytes.fromhex(vector)[:12] == nonce[:12]
    for sealed in (vector, drawn):
        assert open_notes(salt, run, 3, bytes.fromhex(sealed)) == TEXT.encode()
    assert drawn[:24] != vector[:24]  # a nonce of its own
    # Of one form for good: notes that are kept stay readable.
    digest = "057337aab434a0c65c1404efce6d1cab52136b14b6b7d82a23af6d4256e067f1"
    assert sha256(bytes.fromhex(vector)).hexdigest() == digest
    for other in ((salt, run, 2), (salt, nonce, 3), (nonce, run, 3)):
        with pytest.raises(MessageRefused):
            open_notes(*other, bytes.fromhex(vector))


def test_same_commitment_and_canonical_json(visit) -> None:
    salt, value = sha256(b"salt").digest(), {"ü": [TEXT, {"b": 1, "a": True}], "a": TEXT, "Z": []}
    visit.open("/sign-in")
    computed = visit.page.evaluate(
        """async ([terms, salt, value]) => {
        const signing = await import("/pages/static/sign.js");
        const bytes = Uint8Array.from(salt.match(/../g), (pair) => parseInt(pair, 16));
        return [signing.commitment(terms, bytes), signing.canonical(value)];
    }""",
        [TEXT, salt.hex(), value | {"gone": None}],
    )
    assert (
        computed[0]
        == sha256(canonical(b"volens/terms/1", salt, sha256(TEXT.encode()).digest())).hexdigest()
    )
    assert computed[1].encode() == canonical_json(value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"type": "volens/key/1", "keystore": {}, "address": "0x"}, "damaged"),
        (LOCKED, "Type its password"),
        (LOCKED | {"password": "another password"}, "The password is wrong, or this key file"),
        (LOCKED | {"password": PASSWORD, "address": "0x" + "ab" * 20}, "to another address"),
        (LOCKED | {"password": PASSWORD, "subject": "5e"}, "damaged"),
        (altered(mac="00" * 32), "The password is wrong, or this key file"),
        (altered(mac="00"), "damaged"),
        (altered(ciphertext="zz"), "damaged"),
        (altered(cipher="aes-256-ctr"), "damaged"),
        (altered(kdf="argon2"), "damaged"),
        (altered(kdfparams={"n": 1 << 22}), "more memory or time than a browser should give"),
        (altered(kdfparams={"n": 3}), "damaged"),
        (altered(kdfparams={"dklen": 16}), "damaged"),
        ({"type": "volens/key/1", "key": "11" * 32, "address": Wallet.of(KEY).address}, "damaged"),
        ({"key": KEY.hex()}, "not a volens key file"),
        ("no JSON", "not a key file"),
    ],
)
def test_other_key_files_are_refused_in_plain_words(
    visit, tmp_path: Path, content, sentence: str
) -> None:
    page = visit.open("/sign-in")
    file = tmp_path / "key.json"
    password = content.pop("password", "") if isinstance(content, dict) else ""
    file.write_text(json.dumps(content) if isinstance(content, dict) else content)
    page.get_by_label("Its password").fill(password)
    page.get_by_label("Your key file").set_input_files(file)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator("[data-act=key-file] [role=alert]", has_text=sentence).wait_for()
    assert page.evaluate("sessionStorage.getItem('volens-key')") is None


def test_a_key_file_signs_in_and_the_key_is_never_sent(deployment, visit) -> None:
    sent: list[str] = []
    visit.context.on("request", lambda request: sent.append(request.post_data or ""))
    page = visit.open("/sign-in")
    page.get_by_label("Your key file").set_input_files(deployment.key_file("person-001"))
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/me")
    key = json.loads(deployment.key_file("person-001").read_text())["key"]
    assert any("signature" in body for body in sent)
    assert not any(key in body for body in sent)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(deployment.url + "/")
    assert page.evaluate("sessionStorage.getItem('volens-key')") is None
    assert visit.open("/me").get_by_role("heading", level=1).inner_text() == "Nobody is signed in."


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_a_form_signs_what_it_shows_with_the_pressed_button(deployment, visit, answer) -> None:
    sign_in_with(visit.open("/sign-in"), deployment.key_file("pia"))
    permit, ballot = ask_for_permit(deployment)
    page = open_form(visit, form_of("Vote", "vote", f"/permits/{permit}/votes", ballot, YES_OR_NO))
    with page.expect_request(f"**/permits/{permit}/votes") as sent:
        page.get_by_role("button", name=answer).click()
    page.wait_for_url("**/runs")
    assert sent.value.post_data_json["vote"] == ballot | {"yes": answer == "Yes"}
    assert sent.value.response().status == 200


def test_a_form_sends_its_documents_after_the_ledger_has_the_message(deployment, visit) -> None:
    """Or says that only the text is missing; another text than the signed one stops it."""
    sign_in_with(visit.open("/sign-in"), deployment.key_file("omar"))
    text, taken = "What the data is.\nAnd why: <100 people.", []
    hashed = sha256(text.encode()).hexdigest()
    message = {"dataset": secrets.token_hex(32), "documentHash": hashed}
    message["deadline"] = int(time.time()) + 600
    area = f'<textarea data-document="{hashed}">{html.escape(text)}</textarea><button>Sign</button>'
    form = form_of("RegisterDataset", "registration", "/datasets", message, area)
    page = open_form(visit, form.replace("And why", "And not why"))
    page.get_by_role("button").click()
    page.get_by_text("shows another text than the one whose hash it signs").wait_for()
    page = open_form(visit, form)
    page.route("**/documents/*", lambda route: route.fulfill(status=503, json={}))
    page.get_by_role("button").click()
    page.get_by_text("It is recorded, but its text could not be sent").wait_for()
    assert [row["dataset"] for row in deployment.client("omar").datasets()].count(
        message["dataset"]
    ) == 1

    def take(route) -> None:
        taken.append((route.request.headers["content-type"], route.request.post_data))
        route.fulfill(json={})

    page.route("**/documents/*", take)
    page = open_form(visit, form.replace(message["dataset"], secrets.token_hex(32)))
    page.get_by_role("button").click()
    page.wait_for_url("**/runs")
    assert taken == [("text/plain; charset=utf-8", text)]


def test_a_form_that_shows_too_little_or_nonsense_signs_nothing(deployment, visit) -> None:
    sign_in_with(visit.open("/sign-in"), deployment.key_file("pia"))
    permit, ballot = "ab" * 32, {"permit": "ab" * 32, "requestHash": "cd" * 32}
    for message, sentence in (
        (ballot | {"yes": "true"}, "does not show everything"),
        (ballot | {"yes": "maybe", "deadline": 5}, "a value that cannot be signed"),
        (ballot | {"yes": "true", "deadline": "0x5"}, "a value that cannot be signed"),
    ):
        button = "<button>Vote</button>"
        page = open_form(
            visit, form_of("Vote", "vote", f"/permits/{permit}/votes", message, button)
        )
        page.get_by_role("button").click()
        page.get_by_text(sentence).wait_for()
    assert not any("/votes" in url for url in visit.asked)


def test_an_order_of_several_is_signed_and_handed_on(deployment, visit) -> None:
    sign_in_with(visit.open("/sign-in"), deployment.key_file("pia"))
    change = {"account": Wallet.of(KEY).address, "role": 2, "start": 0, "end": 2**40 - 1}
    change |= {"replaces": 0, "deadline": 1_795_500_000}
    form = form_of("RoleChange", "", "/orders/1", change, "<button>Sign</button>", act="cosign")
    page = open_form(visit, form)
    sent: list[dict] = []
    page.route(
        "**/orders/1",
        lambda route: (sent.append(route.request.post_data_json), route.fulfill(status=204)),
    )
    page.get_by_role("button").click()
    page.wait_for_url("**/runs")
    pia = deployment.client("pia")
    assert (sent[0]["kind"], sent[0]["message"]) == ("RoleChange", change)
    assert (
        recover(pia.domain, "RoleChange", change, bytes.fromhex(sent[0]["signature"]))
        == pia.wallet.address
    )


# --- outputs: what Python seals opens here, and nothing that was altered does

RUN, DATASET, IDENTITY = (sha256(text).digest() for text in (b"run", b"dataset", b"identity"))
BROKER, ATTEMPT = bytes.fromhex(Wallet.of(KEY).address[2:]), 3


def _outputs(visit, calls: list[tuple]) -> list[str]:
    """What each call of the script gives, as hex, or "refused"; bytes are sent as hex."""
    return visit.page.evaluate(
        """async (calls) => {
        const { outputs } = await import("/pages/static/sign.js");
        const raw = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
        const read = (value) => value?.hex !== undefined ? raw(value.hex)
            : value && typeof value === "object"
                ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, read(one)])) : value;
        const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        const ways = {
            ...outputs,
            object: (blob, label, key) => outputs.open(outputs.split(blob, label), key),
            shared: (...all) => outputs.joined(outputs.pieces(...all)),
            output: (...all) => raw(outputs.check(...all).salt),
            derived: (key, run, attempt) => outputs.derive(key, outputs.purpose(run, attempt)),
        };
        return calls.map(([name, ...all]) => {
            try { return hex(ways[name](...all.map(read))); } catch { return "refused"; }
        });
    }""",
        [[name, *map(_sent, values)] for name, *values in calls],
    )


def _sent(value):
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return {k: _sent(v) for k, v in value.items()} if isinstance(value, dict) else value


def _flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_keys_that_follow_from_a_key_are_the_same_as_in_python(visit) -> None:
    visit.open("/sign-in")
    context = RUN + ATTEMPT.to_bytes(4, "big")
    assert _outputs(visit, [("derived", KEY, RUN.hex()), ("derived", KEY, RUN.hex(), ATTEMPT)]) == [
        HKDF(SHA256(), 32, None, purpose).derive(KEY).hex()
        for purpose in (b"volens/result-key/1" + RUN, b"volens/view-key/1" + context)
    ]
    pair, key = derived_pair(KEY, RESULT_KEY, RUN), b"volens/result-key/1" + RUN
    assert pair[0].private_bytes_raw() == HKDF(SHA256(), 32, None, key).derive(KEY)
    assert _outputs(visit, [("publicOf", pair[0].private_bytes_raw())]) == [pair[1].hex()]


def test_a_message_of_hpke_opens_and_an_altered_one_does_not(visit) -> None:
    private, public = new_pair()
    secret, info, message = private.private_bytes_raw(), sha256(b"info").digest(), b"pieces " * 40
    sealed = seal_message(public, info, message)
    visit.open("/sign-in")
    right = ("openMessage", secret, info, sealed)
    assert _outputs(
        visit, [right, ("openMessage", secret, info, seal_message(public, info, b""))]
    ) == [
        message.hex(),
        "",
    ]
    wrong = [
        ("openMessage", new_pair()[0].private_bytes_raw(), info, sealed),
        ("openMessage", secret, _flipped(info, 0), sealed),
        ("openMessage", secret, info, bytes(32) + sealed[32:]),  # a point of small order
        *[("openMessage", secret, info, _flipped(sealed, at)) for at in (0, 40, -1)],
        *[
            ("openMessage", secret, info, sealed[:size])
            for size in (0, 31, 32, 47, len(sealed) - 1)
        ],
    ]
    assert set(_outputs(visit, wrong)) == {"refused"}


def test_a_sealed_object_opens_and_an_altered_one_does_not(visit) -> None:
    key, label = sha256(b"object").digest(), Label(IDENTITY, RUN, RUN, DATASET, OUTPUT, ATTEMPT)
    shares = [WrappedShare(BROKER, j, bytes([j]) * WRAPPED) for j in range(3)]
    texts = [b"", b"x", bytes(CHUNK), bytes(CHUNK) + b"more", b"y" * (2 * CHUNK + 5)]
    blobs = [seal_object(key, label, shares, text) for text in texts]
    named = {"identity": IDENTITY, "run": RUN, "dataset": DATASET, "attempt": ATTEMPT}
    visit.open("/sign-in")
    assert _outputs(visit, [("object", blob, named, key) for blob in blobs]) == [
        text.hex() for text in texts
    ]
    blob, start = blobs[-1], len(blobs[-1]) - 2 * (CHUNK + TAG) - 5 - TAG
    first, second = (blob[start + at * (CHUNK + TAG) :][: CHUNK + TAG] for at in range(2))
    others = [WrappedShare(bytes(20), 0, bytes(WRAPPED)), *shares[1:]]
    two_keys = Header(label, tuple(shares), key_commitment(RUN)).encode()
    sealed = MAGIC + b"\0\1" + len(two_keys).to_bytes(4, "big") + two_keys
    sealed += AESGCM(key).encrypt(bytes(11) + b"\1", b"x", two_keys)
    wrong = [
        ("object", blob, named, _flipped(key, 0)),
        ("object", sealed, named, key),  # it opens, and the key is not the one committed to
        *[("object", blob, named | {name: _flipped(RUN, 0)}, key) for name in ("run", "dataset")],
        ("object", blob, named | {"identity": RUN}, key),
        ("object", blob, named | {"attempt": 4}, key),
        ("object", seal_object(key, label, others, b"x"), named, key),
        *[("object", _flipped(blob, at), named, key) for at in (0, 5, 9, 30, start - 1, start, -1)],
        ("object", blob[:start], named, key),
        ("object", blob[: start + 5], named, key),
        ("object", blob[: -TAG - 5], named, key),  # without its last chunk
        ("object", blob[:start] + second + first + blob[-TAG - 5 :], named, key),
        ("object", blob + bytes(TAG), named, key),
        ("object", b"", named, key),
    ]
    assert set(_outputs(visit, wrong)) == {"refused"}


def test_pieces_are_read_strictly(visit) -> None:
    """Exactly the three shares of this run and attempt, by this broker."""
    private, public = new_pair()
    secret, info = private.private_bytes_raw(), sha256(b"info").digest()
    shares = split_key(KEY)
    pieces = [Piece(RUN, ATTEMPT, j, share) for j, share in enumerate(shares)]
    right = encode_pieces(BROKER, pieces)
    other = sha256(b"other").digest()
    wrong = [
        encode_pieces(bytes(20), pieces),
        encode_pieces(BROKER, pieces[:2]),
        encode_pieces(BROKER, [*pieces, Piece(other, ATTEMPT, 0, other)]),
        encode_pieces(BROKER, [replace(piece, record=other) for piece in pieces]),
        encode_pieces(BROKER, [replace(piece, version=4) for piece in pieces]),
        encode_pieces(BROKER, [*pieces[:2], replace(pieces[2], share=b"short")]),
        right + canonical(b"more"),
        right[:-1],
        b"",
    ]

    def call(message: bytes) -> tuple:
        return ("shared", secret, info, seal_message(public, info, message), BROKER, RUN, ATTEMPT)

    visit.open("/sign-in")
    assert _outputs(visit, [call(right)]) == [KEY.hex()]
    assert set(_outputs(visit, [call(message) for message in wrong])) == {"refused"}


def test_an_output_is_the_one_that_the_ledger_commits_to(visit) -> None:
    salt, result = sha256(b"salt").digest(), '{"a":"ü"}'
    inside = {"result": result, "disclosure": "{}", "salt": salt.hex()}
    committed = output_commitment(RUN, ATTEMPT, result.encode(), salt).hex()

    def call(change: dict, run: bytes = RUN, attempt: int = ATTEMPT, body: bytes = b"") -> tuple:
        return ("output", body or json.dumps(inside | change).encode(), run, attempt, committed)

    visit.open("/sign-in")
    assert _outputs(visit, [call({})]) == [salt.hex()]
    wrong = [
        call({"result": '{"a":"b"}'}),
        call({"salt": RUN.hex()}),
        call({"salt": "5e"}),
        call({"disclosure": None}),
        call({}, run=DATASET),
        call({}, attempt=4),
        call({}, body=b"no JSON"),
        call({}, body=b"\xff"),
    ]
    assert set(_outputs(visit, wrong)) == {"refused"}
