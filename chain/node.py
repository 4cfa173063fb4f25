"""The connection to one node: web3's HTTP provider with our limits; every failure is a ChainError.

Importing this module loads web3, a quarter of a second and 20 MB. So it is imported inside
functions, where a ledger is connected to: help of a command, broker, auditor's program and confined
children do without.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import chain.accounts  # noqa: F401  # before web3, which would load all of eth_account

# isort: split
import requests
from eth_abi.exceptions import DecodingError
from urllib3.exceptions import ReadTimeoutError
from web3 import HTTPProvider, Web3
from web3.types import RPCEndpoint, RPCResponse
from web3.utils import get_abi_input_names, get_abi_input_types, get_create_address

from chain.artifacts import error_entries, error_names
from chain.errors import ChainError, LedgerDown, LedgerSlow, Refused
from chain.paging import TOO_LARGE

MAX_ANSWER = 64 << 20  # bytes of one answer, as the dev chain's gateway gives


class Node(HTTPProvider):
    """JSON-RPC to one node: each request is sent once, to this address and nowhere else."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        session = requests.Session()
        session.trust_env = False  # neither proxies nor .netrc
        # The system's authorities, or SSL_CERT_FILE; requests would trust a list that it brings.
        authorities = ssl.get_default_verify_paths()
        session.verify = authorities.cafile or authorities.capath or True
        session.hooks["response"] = [_read_bounded]
        super().__init__(url, {"timeout": timeout}, session, exception_retry_configuration=None)
        self.url = url

    @cached_property
    def w3(self) -> Web3:
        """web3 over this node, without its middleware, and without names instead of addresses."""
        return Web3(self, middleware=[], ens=cast("Any", None))

    def call(self, method: str, params: list[Any]) -> Any:
        """The result of one request, as the node gave it. Raises as `make_request`."""
        return self.make_request(RPCEndpoint(method), params)["result"]

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """The answer to one request. Raises LedgerDown (LedgerSlow), Refused (a revert) or
        ChainError.

        Errors are read here, not by web3: its exceptions differ by method and by the words of the
        node's message, and hold a contract's error undecoded. Nor does web3 see a revert that names
        addresses to fetch (EIP-3668), which it would do.
        """
        try:
            answer: Any = super().make_request(method, params)
        except (OSError, ValueError, RecursionError) as error:
            # Before a body begins and within it, requests has two classes for the same time-out.
            if any(isinstance(cause, ReadTimeoutError) for cause in error.args):
                raise LedgerSlow(
                    "the ledger did not answer in time", "try again when it has less to do"
                ) from None
            raise _down(type(error).__name__) from None
        if not isinstance(answer, dict) or not answer.keys() & {"error", "result"}:
            raise _down("no result")
        if "error" in answer:
            raise self._refusal(answer["error"] if isinstance(answer["error"], dict) else {})
        return {"jsonrpc": "2.0", "id": 0, "result": answer["result"]}

    def _refusal(self, error: Mapping[str, Any]) -> ChainError:
        """A JSON-RPC error as a ChainError: a contract's error becomes Refused with its fields."""
        if error.get("code") == TOO_LARGE:
            return _too_large()
        data = error.get("data")
        if not isinstance(data, str) or len(data) < 10:
            return ChainError(
                f"the node refused the request (code {error.get('code')})",
                "look at the ledger's log",
            )
        try:
            raw = bytes.fromhex(data[2:])
            entry = cast("Any", error_entries()[raw[:4]])
            values = self.w3.codec.decode(get_abi_input_types(entry), raw[4:])
        except (KeyError, ValueError, DecodingError):
            return Refused("Reverted", {}, "the contract refused without a name")
        if entry["name"] == "NothingRecorded" and values[0] in error_names():
            return Refused(error_names()[values[0]], {}, "correct it and sign again")
        names = [str(name) for name in get_abi_input_names(entry)]
        fields = dict(zip(names, map(_shown, values), strict=True))
        return Refused(entry["name"], fields, "the ledger's rules do not allow this")


def created_at(sender: str, nonce: int) -> str:
    """The address of the contract that `sender` creates with its transaction number `nonce`."""
    return str(get_create_address(cast("Any", sender), cast("Any", nonce)))


def _read_bounded(response: requests.Response, *_: object, **__: object) -> None:
    """Read the body. Raise LedgerDown unless the status is 200 (called before requests would follow
    a redirection), LedgerSlow if the body has more than MAX_ANSWER bytes.
    """
    if response.status_code != requests.codes.ok:
        response.close()
        raise _down(f"status {response.status_code}")
    body = bytearray()
    for piece in response.iter_content(1 << 16):
        body += piece
        if len(body) > MAX_ANSWER:
            response.close()
            raise _too_large()
    response._content = bytes(body)  # where requests keeps what it has read


def _too_large() -> LedgerSlow:
    return LedgerSlow(
        "the ledger's answer is larger than it gives", "ask about fewer blocks at once"
    )


def _down(what: str) -> LedgerDown:
    return LedgerDown(
        f"the ledger does not answer ({what})", "start it: volens serve, then try again"
    )


def _shown(value: Any) -> object:
    return value.hex() if isinstance(value, bytes) else value
