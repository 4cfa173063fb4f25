"""Python and the browser's script agree: the same digest, signature, address, commitment and
receipt bytes.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import _hash_eip191_message

from chain.signatures import Domain, _encode, recover, sign, typed_data
from chain.wallets import Wallet
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
}
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
                signature: signing.sign(bytes, hash), address: signing.addressOf(bytes)};
    }""",
        [spec, sent, KEY.hex()],
    )


def test_same_digest_and_signature_as_in_python(visit) -> None:
    """Every kind of message whose fields are single values."""
    assert {"Grant", "Revoke", "Cancel", "SignIn"} <= set(KINDS)
    visit.open("/sign-in")
    for kind in KINDS:
        message = {name: ANY[type_] for name, type_ in typed_data()["types"][kind]}
        found = _in_browser(visit, kind, message)
        assert (
            found["digest"] == bytes(_hash_eip191_message(_encode(DOMAIN, kind, message))).hex()
        ), kind
        assert found["signature"] == sign(KEY, DOMAIN, kind, message).hex(), kind
        signer = recover(DOMAIN, kind, message, bytes.fromhex(found["signature"]))
        assert signer == found["address"] == Wallet.of(KEY).address, kind


def test_same_commitment_and_canonical_json(visit) -> None:
    salt, value = sha256(b"salt").digest(), {"ü": [TEXT, {"b": 1, "a": True}], "a": TEXT, "Z": []}
    visit.open("/sign-in")
    found = visit.page.evaluate(
        """async ([terms, salt, value]) => {
        const signing = await import("/pages/static/sign.js");
        const bytes = Uint8Array.from(salt.match(/../g), (pair) => parseInt(pair, 16));
        return [signing.commitment(terms, bytes), signing.canonical(value)];
    }""",
        [TEXT, salt.hex(), value | {"gone": None}],
    )
    assert (
        found[0]
        == sha256(canonical(b"volens/terms/1", salt, sha256(TEXT.encode()).digest())).hexdigest()
    )
    assert found[1].encode() == canonical_json(value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"type": "volens/key/1", "keystore": {}, "address": "0x"}, "passkeys come later"),
        ({"type": "volens/key/1", "key": "11" * 32, "address": Wallet.of(KEY).address}, "damaged"),
        ({"key": KEY.hex()}, "not a volens key file"),
        ("no JSON", "not a key file"),
    ],
)
def test_other_key_files_are_refused_in_plain_words(
    visit, tmp_path: Path, content, said: str
) -> None:
    page = visit.open("/sign-in")
    file = tmp_path / "key.json"
    file.write_text(json.dumps(content) if isinstance(content, dict) else content)
    page.get_by_label("Your key file").set_input_files(file)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator("[data-act=key-file] [role=alert]", has_text=said).wait_for()
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
