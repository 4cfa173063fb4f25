// EIP-712 for this ledger: the digest of a typed message and its signature, byte for byte as chain/signatures.py.
import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";

const DOMAIN = [["name", "string"], ["version", "string"], ["chainId", "uint256"], ["verifyingContract", "address"],
  ["salt", "bytes32"]];

/** The 32 bytes that are signed. `kind`: {name, fields: [[name, type], …], domain}. Throws for a missing field. */
export function digest(kind, message) {
  return keccak_256(concatBytes(new Uint8Array([0x19, 0x01]), struct("EIP712Domain", DOMAIN, kind.domain),
    struct(kind.name, kind.fields, message)));
}

/** r ‖ s ‖ v as hex: low s, v 27 or 28, the nonce of RFC 6979. `key`: 32 bytes. */
export function sign(key, hash) {
  const found = secp256k1.sign(hash, key, { prehash: false, lowS: true, format: "recovered" });
  return bytesToHex(found.subarray(1)) + (27 + found[0]).toString(16);
}

/** The checksummed address (EIP-55) of a key of 32 bytes. */
export function addressOf(key) {
  const point = secp256k1.getPublicKey(key, false).subarray(1);
  const plain = bytesToHex(keccak_256(point).subarray(12));
  const marks = bytesToHex(keccak_256(utf8ToBytes(plain)));
  return "0x" + [...plain].map((digit, at) => (parseInt(marks[at], 16) > 7 ? digit.toUpperCase() : digit)).join("");
}

function struct(name, fields, message) {
  const type = `${name}(${fields.map(([field, kind]) => `${kind} ${field}`).join(",")})`;
  const words = fields.map(([field, kind]) => {
    if (message[field] === undefined) throw new Error(`the message lacks ${field}`);
    return word(kind, message[field]);
  });
  return keccak_256(concatBytes(keccak_256(utf8ToBytes(type)), ...words));
}

function word(kind, value) {
  if (kind === "string") return keccak_256(utf8ToBytes(value));
  if (kind === "address") return padded(bytesOf(value, 20));
  if (kind === "bytes32") return bytesOf(value, 32);
  const whole = BigInt(value);
  const bits = kind === "bool" ? 1n : kind.startsWith("uint") ? BigInt(kind.slice(4)) : -1n;
  if (whole < 0n || bits < 0n || whole >> bits) throw new Error(`a value is no ${kind}`);
  return hexToBytes(whole.toString(16).padStart(64, "0"));
}

function bytesOf(value, size) {
  const bytes = hexToBytes(value.replace(/^0x/, ""));
  if (bytes.length !== size) throw new Error("a value has another length");
  return bytes;
}

function padded(bytes) {
  return concatBytes(new Uint8Array(32 - bytes.length), bytes);
}
