"""The files of a private Besu ledger: what `volens init besu` writes, read without its code.

Besu itself is not run. The extra data is compared with the example of its documentation, decoded by
`rlp`, and the genesis file is read by anvil; the shell's words of docker-compose.yml are tested in
tests/test_containers.py, and volens on the file's ledger in tests/test_plain_ledger.py.
"""

from __future__ import annotations

import json
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_keys import keys
from founders import Founders, Result
from plain_node import plain_node

from chain.artifacts import SETTINGS
from chain.besu import FORKS, extra_data, failures_borne
from chain.devnode.anvil import FLAGS
from chain.devnode.process import DevChain
from chain.node import Node

# The example of a genesis file in Besu's documentation, page "QBFT", block header validators.
DOCUMENTED = (
    "0xf87aa00000000000000000000000000000000000000000000000000000000000000000f8549464a702e6263b7297a96638ca"
    "c6ae65e6541f4169943923390ad55e90c237593b3b0e401f3b08a0318594aefdb9a738c9f433e5b6b212a6d62f6370c2f692"
    "94c7eeb9a4e00ce683cf93039b212648e01c6c6b78c080c0"
)
ROOT = Path(__file__).resolve().parents[2]
EMPTY_STATE = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"  # no account


@pytest.fixture
def operator(tmp_path: Path) -> Founders:
    return Founders(tmp_path)


def init(operator: Founders, *options: str) -> Result:
    return operator.run("op", "init", "besu", *options)


def shared(operator: Founders, name: str) -> Path:
    return operator.op / "besu" / "network" / name


def genesis_of(operator: Founders) -> dict[str, Any]:
    return dict(json.loads(shared(operator, "genesis.json").read_text()))


def node_keys(operator: Founders) -> list[Path]:
    return sorted((operator.op / "besu").glob("validator-*/key"))


def test_extra_data_has_the_documented_form_with_the_validators_in_order() -> None:
    vanity, validators, vote, round_, seals = rlp.decode(bytes.fromhex(DOCUMENTED[2:]))
    addresses = ["0x" + address.hex() for address in validators]
    assert addresses != sorted(addresses)  # their example does not do as the page asks
    documented = rlp.encode([vanity, sorted(validators), vote, round_, seals])
    assert extra_data(addresses) == extra_data(addresses[::-1]) == "0x" + documented.hex()


def test_the_genesis_file_names_the_validators_whose_keys_were_written(operator: Founders) -> None:
    assert init(operator).code == 0
    private = [keys.PrivateKey(bytes.fromhex(path.read_text())) for path in node_keys(operator)]
    assert len({key.to_hex() for key in private}) == 4
    extra = rlp.decode(bytes.fromhex(genesis_of(operator)["extraData"][2:]))
    addresses = sorted(key.public_key.to_canonical_address() for key in private)
    assert extra == [bytes(32), addresses, [], b"", []]
    enodes = json.loads(shared(operator, "static-nodes.json").read_text())
    assert enodes == [
        f"enode://{key.public_key.to_bytes().hex()}@127.0.0.1:{30303 + number}"
        for number, key in enumerate(private)
    ]
    allowed = tomllib.loads(shared(operator, "permissions.toml").read_text())
    assert allowed == {"nodes-allowlist": enodes}


def test_the_ledger_has_the_rules_that_the_contracts_need_and_costs_nothing(
    operator: Founders,
) -> None:
    before = int(time.time())
    assert init(operator, "--chain-id", "20260").code == 0
    genesis = genesis_of(operator)
    config = genesis["config"]
    assert FORKS[-1] == SETTINGS["evmVersion"]
    assert (config["chainId"], config["londonBlock"], config[f"{FORKS[-1]}Time"]) == (20260, 0, 0)
    assert config["zeroBaseFee"] is True
    assert set(config["qbft"]) == {"blockperiodseconds", "epochlength", "requesttimeoutseconds"}
    assert int(genesis["gasLimit"], 16) == int(FLAGS[FLAGS.index("--gas-limit") + 1])
    assert before <= int(genesis["timestamp"], 16) <= time.time()
    assert bytes.fromhex(genesis["mixHash"][2:]) == b"ctical byzantine fault tolerance"


def test_another_node_reads_the_same_first_block(operator: Founders) -> None:
    """anvil takes the file as it is, but neither its gas limit nor its extra data."""
    assert init(operator).code == 0
    genesis = genesis_of(operator)
    with plain_node(shared(operator, "genesis.json")) as url:
        node = Node(url)
        block = node.call("eth_getBlockByNumber", ["0x0", False])
        assert int(node.call("eth_chainId", []), 16) == genesis["config"]["chainId"]
    read = {name: block[name] for name in ("timestamp", "baseFeePerGas", "stateRoot")}
    assert read == {
        "timestamp": genesis["timestamp"],
        "baseFeePerGas": genesis["baseFeePerGas"],
        "stateRoot": EMPTY_STATE,
    }


def test_a_second_call_changes_nothing_and_says_so(operator: Founders) -> None:
    assert init(operator).code == 0
    folder = operator.op / "besu"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for options in ((), ("--validators", "7", "--chain-id", "5")):
        again = init(operator, *options)
        assert (again.code, "nothing was changed" in again.text) == (2, True), again
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_call_is_finished_with_the_keys_that_it_left(operator: Founders) -> None:
    assert init(operator).code == 0
    before = [path.read_bytes() for path in node_keys(operator)]
    shared(operator, "genesis.json").unlink()
    assert init(operator).code == 0
    assert [path.read_bytes() for path in node_keys(operator)] == before


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("0" * 64, 0o600, "no private key"),
        ("x" * 64, 0o600, "no private key"),
        ("ab", 0o600, "damaged"),
        ("11" * 32, 0o644, "thers may read"),
    ],
)
def test_a_key_that_is_none_or_open_to_others_is_refused(
    operator: Founders, text: str, mode: int, words: str
) -> None:
    path = operator.op / "besu" / "validator-2" / "key"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)
    refused = init(operator)
    assert (refused.code != 0, words in refused.text) == (True, True), refused
    assert path.read_text() == text
    assert not shared(operator, "genesis.json").exists()


def test_only_its_owner_reads_what_was_written(operator: Founders) -> None:
    assert init(operator).code == 0
    made = [operator.op / "besu", *(operator.op / "besu").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}


@pytest.mark.parametrize("name", ["identity.json", "ceremony/state.json"])
def test_a_deployment_that_has_a_ledger_gets_no_other(operator: Founders, name: str) -> None:
    path = operator.op / name
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    refused = init(operator)
    assert (refused.code, "has a ledger already" in refused.text) == (2, True), refused
    assert not (operator.op / "besu").exists()


def test_fewer_than_four_validators_are_warned_of_and_none_is_refused(operator: Founders) -> None:
    assert [failures_borne(count) for count in (1, 3, 4, 6, 7)] == [0, 0, 1, 1, 2]
    for count in ("0", "101", "-1"):
        assert init(operator, "--validators", count).code == 2
    assert not (operator.op / "besu").exists()
    alone = init(operator, "--validators", "1")
    assert (alone.code, "no block is made while one of them is down" in alone.text) == (0, True)
    assert len(node_keys(operator)) == 1


@pytest.mark.parametrize(("number", "name"), [("1", "Ethereum"), ("137", "Polygon")])
def test_no_id_of_a_public_ledger_is_taken(operator: Founders, number: str, name: str) -> None:
    refused = init(operator, "--chain-id", number)
    assert (refused.code, f"is that of {name}, and wallets" in refused.text) == (2, True), refused
    assert not (operator.op / "besu").exists()


@pytest.mark.parametrize("command", ["init", "serve"])
def test_nothing_is_deployed_on_another_ledger_than_the_one_that_was_written(
    operator: Founders, devchain: DevChain, command: str
) -> None:
    operator.run("op", "init")  # writes the example of a plan
    operator.plan()
    assert init(operator).code == 0
    for url, sentence in (("", "no node of it is named"), (devchain.url, "is of another ledger")):
        operator.chain = url
        result = operator.run("op", command)
        assert result.code != 0
        assert sentence in " ".join(result.text.split()), result
    assert not (operator.op / "ceremony" / "state.json").exists()
    assert not (operator.op / "identity.json").exists()


def test_what_it_wrote_is_told_to_people_and_to_programs(operator: Founders) -> None:
    for number in (0, -1, 4_503_599_627_370_477):
        assert (init(operator, "--chain-id", str(number)).code == 2) == (number != 0)
    result = init(operator, "--json")
    assert result.code == 2  # the ledger with a drawn id is there
    others = Founders(operator.op / "others")
    answer = json.loads(init(others, "--json", "--chain-id", "77").text)
    assert (answer["chainId"], answer["failures"]) == (77, 1)
    assert genesis_of(operator)["config"]["chainId"] >= 2**31
    help_text = operator.run("op", "init", "besu", "--help").text
    assert "VOLENS_CHAIN_URL=" in help_text
    assert "never overwritten" in " ".join(help_text.replace("│", " ").split())


def test_no_other_room_asks_a_node_for_what_only_a_development_node_has() -> None:
    """Besu is started with the groups ETH and WEB3 (docker-compose.yml)."""
    asked = set()
    for room in ("chain", "governance", "api", "volens"):
        for path in (ROOT / room).rglob("*.py"):
            if "devnode" not in path.parts:
                asked |= set(re.findall(r'"([a-z0-9]+_[a-z]+[A-Z]\w+)"', path.read_text()))
    assert {"eth_getLogs", "eth_sendRawTransaction", "web3_clientVersion"} <= asked
    assert {name.partition("_")[0] for name in asked} == {"eth", "web3"}
