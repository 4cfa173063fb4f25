"""What a ledger of one deployment keeps of strangers' transactions: what changes its state, within
a limit.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from api.demo.stage import MemoryOutbox, World, random32
from chain.devnode.anvil import NodeRefused
from chain.devnode.gateway import SENDERS
from chain.devnode.process import DevChain
from chain.devnode.strangers import BURST, MAX_OWN, MAX_RAW, Share, Strangers, read_transaction
from chain.errors import Refused
from chain.events import ConsentRevoked, RevokeStale, event_topic
from chain.ledger import Ledger, message_tuple
from chain.wallets import Wallet

CALLS = 20  # of a stranger: they once added 29 MB


@dataclass
class GuardedChain:
    """The ledger of one deployment, whose relay is `world.relayer`."""

    chain: DevChain
    world: World

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.chain.folder.iterdir() if path.is_file())

    def stranger(self) -> Ledger:
        identity = self.world.ledger.identity
        return Ledger.connect(self.chain.url, identity, Wallet.new(), MemoryOutbox())

    def send(self, wallet: Wallet | None = None, **change: Any) -> str:
        """The node's error for a raw transaction, "" if it was mined."""
        wallet = wallet or Wallet.new()
        fields = {
            "type": 2,
            "chainId": int(self.world.ledger.identity["chainId"]),
            "nonce": 0,
            "gas": 8_000_000,
            "maxFeePerGas": 0,
            "maxPriorityFeePerGas": 0,
            "value": 0,
            "to": self.world.ledger.domain.contracts["ConsentRegistry"],
            "data": b"",
        } | change
        raw = Account.sign_transaction(fields, wallet.key).raw_transaction
        return self.send_raw("0x" + bytes(raw).hex())

    def send_raw(self, raw: str) -> str:
        import urllib3

        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}
        answer = urllib3.request("POST", self.chain.url, json=call).json()
        return str(answer.get("error", {}).get("message", ""))

    def revocation(self, subject: bytes, epoch: int = 0) -> tuple[Any, ...]:
        message = {"subject": subject, "dataset": self.world.dataset, "epoch": epoch}
        wallet = self.world.subjects[subject]
        signature = wallet.sign(self.world.ledger.domain, "Revoke", message)
        return message_tuple("Revoke", message), wallet.signer, signature

    def grant(self, subject: bytes) -> tuple[Any, ...]:
        return self.world.grant_item(self.world.grant_message(subject))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedChain]:
    """Set up as `volens serve` does: before there is an identity, contracts are taken; then only
    steps are.
    """
    folder = tmp_path_factory.mktemp("own")
    identity = folder / "identity.json"
    with DevChain.start(folder / "chain", identity=identity) as chain:
        world = World.create(chain.url)
        identity.write_text(json.dumps(world.ledger.identity))
        (folder / "chain" / SENDERS).write_text(world.relayer.address + "\n")
        yield GuardedChain(chain, world)


def big(guarded: GuardedChain) -> dict[str, Any]:
    return {"data": secrets.token_bytes(1_000_000), "to": "0x" + "11" * 20, "gas": 16_700_000}


def creation(guarded: GuardedChain) -> dict[str, Any]:
    return {"to": b"", "data": bytes.fromhex("6d5f54600101805f555f5260205ff35f52600e6012f3")}


def nothing(guarded: GuardedChain) -> dict[str, Any]:
    return {"to": "0x" + "11" * 20, "value": 0, "data": b"hello"}


def reverting(guarded: GuardedChain) -> dict[str, Any]:
    return {"data": bytes.fromhex("deadbeef") + bytes(3_000)}


def forged_grants(guarded: GuardedChain) -> dict[str, Any]:
    """A batch of which the contract skips every item, with an event for each."""
    message = guarded.world.grant_message(random32())
    item = guarded.world.grant_item(message, Wallet.new())
    return {"data": guarded.world.ledger.encode("ConsentRegistry", "grant", [item] * 20)}


@pytest.mark.parametrize("what", [big, creation, nothing, reverting, forged_grants])
def test_what_changes_nothing_is_not_kept(guarded: GuardedChain, what: Any) -> None:
    """Twenty such calls: the ledger's folder does not grow by a byte, and no block is made of them."""
    guarded.world.ledger.now()
    before = guarded.size()
    heads = guarded.world.ledger.head()
    assert all(guarded.send(**what(guarded)) for _ in range(CALLS))
    assert guarded.size() - before < 4_000  # an idle head is renewed meanwhile
    assert guarded.world.ledger.head() == heads


def test_a_call_that_acts_is_taken_from_anybody(guarded: GuardedChain) -> None:
    """A patient can consent and withdraw without the service."""
    (subject,) = guarded.world.enrol()
    stranger = guarded.stranger()
    count = guarded.world.ledger.head()[0]
    stranger.relay("ConsentRegistry", "grant", [guarded.grant(subject)])
    stranger.relay("ConsentRegistry", "revoke", *guarded.revocation(subject))
    assert guarded.world.ledger.head()[0] == count + 2
    assert guarded.world.slot(subject) >> 248 == 2


def test_the_contracts_error_is_returned(guarded: GuardedChain) -> None:
    (subject,) = guarded.world.enrol()
    message, signer, _ = guarded.revocation(subject)
    with pytest.raises(Refused, match="SignatureInvalid"):
        guarded.stranger().relay(
            "ConsentRegistry", "revoke", message, signer, b"\x01" * 64 + b"\x1b"
        )


def test_what_was_sent_once_is_not_kept_again(guarded: GuardedChain) -> None:
    """A mined transaction of the relay is public: sent again by anybody it once grew the journal
    each time.
    """
    receipt = guarded.world.register_dataset(random32())
    transaction = guarded.world.ledger.transaction("0x" + receipt.tx.hex())
    fields = {
        "type": 2,
        "chainId": int(guarded.world.ledger.identity["chainId"]),
        "nonce": int(transaction["nonce"], 16),
        "gas": int(transaction["gas"], 16),
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "value": 0,
        "to": guarded.world.ledger.domain.contracts["PermitRegistry"],
        "data": bytes.fromhex(transaction["input"][2:]),
    }
    raw = bytes(Account.sign_transaction(fields, guarded.world.relayer.key).raw_transaction)
    journal = guarded.chain.folder / "journal.jsonl"
    before = journal.read_text().count(raw.hex())
    assert before == 1
    assert guarded.send_raw("0x" + raw.hex()) == "nonce too low"
    assert guarded.send_raw("0x" + raw.hex()[:-2] + "00") != ""
    assert journal.read_text().count(raw.hex()) == before
    assert guarded.send(guarded.world.relayer, nonce=10_000) == "nonce too high"


@pytest.mark.parametrize(
    "raw", ["0x00", "0xc0", "0x02c0", "0x03" + "ab" * 50, "0x04c0", "0xf8" + "00" * 90, "0x7f"]
)
def test_bytes_that_are_no_transaction_are_not_kept(guarded: GuardedChain, raw: str) -> None:
    before = (guarded.chain.folder / "journal.jsonl").read_text()
    assert guarded.send_raw(raw)
    assert f'"{raw}"' not in (guarded.chain.folder / "journal.jsonl").read_text()
    assert len((guarded.chain.folder / "journal.jsonl").read_text()) - len(before) < 300


def test_both_forms_of_transactions_are_read() -> None:
    wallet = Wallet.new()
    same = {"nonce": 7, "gas": 90_000, "value": 5, "data": b"abc", "chainId": 31337}
    forms = [
        same | {"gasPrice": 0, "to": "0x" + "11" * 20},
        same | {"type": 1, "gasPrice": 0, "to": "0x" + "11" * 20, "accessList": []},
        same | {"type": 2, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "to": "0x" + "11" * 20},
    ]
    for fields in forms:
        raw = bytes(Account.sign_transaction(fields, wallet.key).raw_transaction)
        sent = read_transaction(raw)
        assert (sent.sender, sent.nonce, sent.gas) == (wallet.address.lower(), 7, 90_000)
        assert (sent.to, sent.value, sent.data) == ("0x" + "11" * 20, 5, b"abc")
        assert sent.size == len(raw)


# -- one limit for all of them


@dataclass
class Ledgerlike:
    """What a node says of the calls of strangers: every one leaves so many events of the trail."""

    trail: str
    events: int = 3
    topic: str = ""  # of one more event, of the consents
    slot: int = 1 << 248  # of whose consent it is: live

    def __call__(self, method: str, params: list[object]) -> dict[str, object]:
        if method == "debug_traceCall":
            consents = [{"address": CONSENTS, "topics": [self.topic]}] if self.topic else []
            return {
                "result": {"logs": [{"address": self.trail}] * self.events + consents, "calls": []}
            }
        is_question = method == "eth_call" and params[0].get("data", "").startswith(SLOT_OF)
        return {"result": hex(self.slot) if is_question else "0x0"}


TRAIL, CONSENTS = "0x" + "22" * 20, "0x" + "33" * 20
SLOT_OF = "0x" + keccak(text="slotOf(bytes32,bytes32)")[:4].hex()
WITHDRAWN = 2 << 248 | 1 << 216  # and nothing was agreed to since
REVOKED, STALE = ("0x" + event_topic(kind).hex() for kind in (ConsentRevoked, RevokeStale))


def call_of(function: str, types: list[str], *values: object) -> bytes:
    """The call's data; types are eth_abi's names of its arguments."""
    signature = f"{function}({','.join(types)})"
    return keccak(text=signature)[:4] + encode(types, values)


REVOKE = call_of(
    "revoke",
    ["(bytes32,bytes32,uint32)", "bytes", "bytes"],
    (bytes(32), bytes(32), 0),
    bytes(20),
    bytes(65),
)
ITEM = "((bytes32,bytes,uint8,uint40),bytes,bytes)"
ENROL = call_of("enrol", [f"{ITEM}[]"], [((bytes(32), bytes(20), 1, 9), bytes(65), bytes(65))])


@pytest.fixture
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Strangers, list[float]]:
    """A limit with a test clock, for a deployment whose node accepts every call."""
    contracts = [
        {"name": "Trail", "address": TRAIL},
        {"name": "ConsentRegistry", "address": CONSENTS},
        {"name": "PermitRegistry", "address": "0x" + "44" * 20},
        {"name": "AccessLedger", "address": "0x" + "55" * 20},
        {"name": "CareLedger", "address": "0x" + "66" * 20},
    ]
    (tmp_path / "identity.json").write_text(json.dumps({"contracts": contracts}))
    (tmp_path / "senders").write_text("")
    now = [0.0]
    return Strangers(tmp_path / "identity.json", tmp_path / "senders", clock=lambda: now[0]), now


def raw_of(data: bytes, to: str = CONSENTS) -> str:
    fields = {
        "nonce": 0,
        "gas": 90_000,
        "value": 0,
        "data": data,
        "chainId": 1,
        "gasPrice": 0,
        "to": to,
    }
    return "0x" + bytes(Account.sign_transaction(fields, Wallet.new().key).raw_transaction).hex()


def taken(rule: Strangers, raw: str, topic: str = "", slot: int = 1 << 248) -> bool:
    try:
        rule.admit(raw, Ledgerlike(TRAIL, topic=topic, slot=slot))
    except NodeRefused as refusal:
        if "strangers have sent much lately" not in str(refusal):
            raise
        return False
    return True


def test_all_strangers_share_one_limit_and_withdrawals_have_their_own(
    rule: tuple[Strangers, list[float]],
) -> None:
    """Each comes from another address; when they have used it up, a withdrawal is still taken."""
    strangers_, now = rule
    grant, revoke = raw_of(ENROL), raw_of(REVOKE)
    count = 0
    while taken(strangers_, grant):
        count += 1
        assert count < 1_000
    assert 50 < count <= BURST // 4_000
    # One that was withdrawn long ago, copied from the ledger: recorded as stale, and nobody's
    # withdrawal.
    assert not taken(strangers_, revoke, STALE)
    # One of nothing, by somebody who withdraws again and again.
    assert not taken(strangers_, revoke, REVOKED, WITHDRAWN)
    assert taken(strangers_, revoke, REVOKED, 0)  # her first word on this dataset
    assert all(taken(strangers_, revoke, REVOKED) for _ in range(10))
    while taken(strangers_, revoke, REVOKED):
        pass
    now[0] += 60.0
    assert taken(strangers_, revoke, REVOKED)
    assert taken(strangers_, grant)


def test_a_strangers_call_has_no_extra_bytes(
    rule: tuple[Strangers, list[float]],
) -> None:
    """One person's own withdrawals with 124,000 zero bytes in each would make the trail unreadable
    in ten hours.
    """
    strangers_, _ = rule
    for padded in (REVOKE + bytes(124_000), b"\x01\x02\x03\x04" + bytes(600), REVOKE[:-1]):
        with pytest.raises(NodeRefused, match="one shortest encoding"):
            strangers_.admit(raw_of(padded), Ledgerlike(TRAIL, topic=REVOKED))
    with pytest.raises(NodeRefused, match="one shortest encoding"):
        strangers_.admit(raw_of(REVOKE, to=TRAIL), Ledgerlike(TRAIL))


def test_an_access_list_is_not_taken() -> None:
    """Read by the library, one of 36,000 entries takes seven seconds."""
    entry = {"address": "0x" + "11" * 20, "storageKeys": []}
    fields = {"type": 2, "nonce": 0, "gas": 90_000, "value": 0, "data": b"", "chainId": 1}
    fields |= {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "to": CONSENTS, "accessList": [entry]}
    raw = bytes(Account.sign_transaction(fields, Wallet.new().key).raw_transaction)
    with pytest.raises(NodeRefused, match="access list"):
        read_transaction(raw)


def test_the_size_is_looked_at_before_anything_is_decoded(
    rule: tuple[Strangers, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.devnode.strangers.read_transaction", None)
    with pytest.raises(NodeRefused, match="at most"):
        rule[0].admit("0x" + "00" * (MAX_OWN + 1), Ledgerlike(TRAIL))


def test_refused_transactions_use_up_no_limit(rule: tuple[Strangers, list[float]]) -> None:
    """Otherwise a sender of forged withdrawals would block the valid ones."""
    strangers_, _ = rule
    raw = raw_of(REVOKE)
    refuses: dict[str, object] = {"error": {"code": 3, "message": "execution reverted"}}

    def node(method: str, params: list[object]) -> dict[str, object]:
        return refuses if method == "eth_call" else {"result": "0x0"}

    for _ in range(500):
        with pytest.raises(NodeRefused, match="reverted"):
            strangers_.admit(raw, node)
    for _ in range(500):
        with pytest.raises(NodeRefused, match="change nothing"):
            strangers_.admit(raw, Ledgerlike(CONSENTS))
    assert taken(strangers_, raw)


def test_events_of_reverted_frames_do_not_count(rule: tuple[Strangers, list[float]]) -> None:
    strangers_, _ = rule
    inner = {"logs": [{"address": TRAIL}], "error": "execution reverted"}

    def node(method: str, params: list[object]) -> dict[str, object]:
        traced: dict[str, object] = {"logs": [], "calls": [inner]}
        return {"result": traced if method == "debug_traceCall" else "0x0"}

    with pytest.raises(NodeRefused, match="change nothing"):
        strangers_.admit(raw_of(REVOKE), node)


def test_a_large_transaction_is_refused_before_it_is_simulated(
    rule: tuple[Strangers, list[float]],
) -> None:
    def node(method: str, params: list[object]) -> dict[str, object]:
        assert method == "eth_getTransactionCount"
        return {"result": "0x0"}

    with pytest.raises(NodeRefused, match="at most"):
        rule[0].admit(raw_of(bytes(MAX_RAW)), node)


def test_without_a_readable_identity_nothing_of_a_stranger_is_taken(tmp_path: Path) -> None:
    """Before there is one the deployment is being set up; one that cannot be read takes nobody's
    word.
    """
    rule = Strangers(tmp_path / "identity.json", tmp_path / "senders")
    rule.admit("0x00", Ledgerlike(TRAIL))
    (tmp_path / "identity.json").write_text("{")
    with pytest.raises(NodeRefused, match="identity cannot be read"):
        rule.admit(raw_of(b"abcd"), Ledgerlike(TRAIL))


def test_a_senders_file_is_read_as_it_changes(
    rule: tuple[Strangers, list[float]], tmp_path: Path
) -> None:
    strangers_, _ = rule
    wallet = Wallet.new()
    fields = {"nonce": 0, "gas": 90_000, "value": 0, "data": b"", "chainId": 1, "gasPrice": 0}
    fields |= {"to": CONSENTS}
    raw = "0x" + bytes(Account.sign_transaction(fields, wallet.key).raw_transaction).hex()
    with pytest.raises(NodeRefused):
        strangers_.admit(raw, Ledgerlike(CONSENTS))
    (tmp_path / "senders").write_text(f"0x{'11' * 20}\n{wallet.address}\n")
    strangers_.admit(raw, Ledgerlike(CONSENTS))
    (tmp_path / "senders").write_text("")
    with pytest.raises(NodeRefused):
        strangers_.admit(raw, Ledgerlike(CONSENTS))


def test_a_rate_limit_refills_up_to_its_burst() -> None:
    now = [0.0]
    share = Share(100, 10.0, lambda: now[0])
    assert share.take(100)
    assert not share.take(1)
    now[0] = 5.0
    assert share.take(50)
    assert not share.take(1)
    now[0] = 1_000.0
    assert share.take(100)
    assert not share.take(1)
