"""Who signed a message: EIP-712 with the salt of the deployment. Only `load_crypto` needs packages."""

from collections.abc import Mapping
from typing import Any

from governance.rules.abi import is_dynamic, split_fields
from governance.rules.encoding import to_int, words
from governance.rules.ledger_data import Identity
from governance.rules.tables import CALLS, STRUCTS

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1
Args = Mapping[str, Any]  # a message by the field names in STRUCTS, or a call's arguments
SIGNED_FOR = {
    call.split(" ")[2].removesuffix("Item[]"): call.split(" ")[0] for call in CALLS.values()
} | {
    "Identity": "PermitRegistry",
    "Witness": "PermitRegistry",
}  # each message is for the contract that takes it


class Crypto:
    """Who signed what, for one deployment (EIP-712 with its salt). The packages come from `load_crypto`."""

    def __init__(
        self, ledger: Identity, keccak: Any, signature: Any, error: type[Exception]
    ) -> None:
        self._keccak, self._signature, self._error = keccak, signature, error
        layout = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
        named, at = (
            (keccak(layout), keccak(b"volens"), keccak(b"1"), ledger.chain_id),
            ledger.contracts,
        )
        self._kinds = {
            kind: (
                keccak(words(*named, at[contract][0], ledger.salt)),
                keccak(f"{kind}({STRUCTS[kind]})".encode()),
            )
            for kind, contract in SIGNED_FOR.items()
        }

    def signer(self, kind: str, message: Args, signature: bytes) -> bytes:
        """The address that signed, or b"" for nobody: 65 bytes, v 27 or 28, s in the lower half (EIP-2)."""
        if (
            len(signature) != 65
            or signature[64] not in (27, 28)
            or to_int(signature[32:64]) > HALF_ORDER
        ):
            return b""
        domain, body = self._kinds[kind]
        for inner, name in split_fields(STRUCTS[kind]):
            body += self._keccak(message[name]) if is_dynamic(inner) else words(message[name])
        digest = self._keccak(b"\x19\x01" + domain + self._keccak(body))
        try:
            pair = self._signature(signature[:64] + bytes([signature[64] - 27]))
            return bytes(pair.recover_public_key_from_msg_hash(digest).to_canonical_address())
        except self._error:
            return b""


def load_crypto(identity: Identity) -> Crypto:
    """Signature checks through eth-account's own parts (faster with coincurve). Raises ImportError without them."""
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.crypto import keccak

    return Crypto(identity, keccak, Signature, BadSignature)
