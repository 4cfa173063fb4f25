// EIP-712 for this ledger: the digest of a typed message and its signature, byte for byte as chain/signatures.py.
import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";

const DOMAIN = [
  ["name", "string"],
  ["version", "string"],
  ["chainId", "uint256"],
  ["verifyingContract", "address"],
  ["salt", "bytes32"],
];

/** The 32 bytes that are signed. `kind`: {name, fields: [[name, type], …], domain}. Throws for a missing field. */
export function digest(kind, message) {
  return keccak_256(
    concatBytes(
      new Uint8Array([0x19, 0x01]),
      struct("EIP712Domain", DOMAIN, kind.domain),
      struct(kind.name, kind.fields, message),
    ),
  );
}

/** r ‖ s ‖ v as hex: low s, v 27 or 28, the nonce of RFC 6979. `key`: 32 bytes. */
export function sign(key, hash) {
  const signature = secp256k1.sign(hash, key, { prehash: false, lowS: true, format: "recovered" });
  return bytesToHex(signature.subarray(1)) + (27 + signature[0]).toString(16);
}

/** The checksummed address of a key of 32 bytes. */
export function addressOf(key) {
  return addressOfPoint(secp256k1.getPublicKey(key, false));
}

/** The checksummed address that made a signature (r ‖ s ‖ v as hex) over these 32 bytes; "" for nobody's. */
export function recover(hash, signature) {
  const bytes = hexToBytes(signature);
  try {
    const point = secp256k1.recoverPublicKey(
      concatBytes(
        bytes.subarray(64).map((v) => v - 27),
        bytes.subarray(0, 64),
      ),
      hash,
      { prehash: false },
    );
    return addressOfPoint(secp256k1.Point.fromBytes(point).toBytes(false));
  } catch {
    return "";
  }
}

/** A signature in the one form that the ledger takes (chain/signatures.py): 65 bytes, low s, v 27 or 28; null if it has none. */
export function canonicalSignature(text) {
  if (typeof text !== "string" || !/^0x[0-9a-fA-F]{130}$/.test(text)) return null;
  const [r, s] = [text.slice(2, 66), BigInt(`0x${text.slice(66, 130)}`)],
    { ORDER } = secp256k1.Point.Fn;
  const v = parseInt(text.slice(130), 16),
    high = s > ORDER / 2n;
  const low = high ? ORDER - s : s;
  if (![0, 1, 27, 28].includes(v) || low <= 0n) return null;
  const odd = (v % 27) ^ high; // the other s is the signature of the other point
  return (r + low.toString(16).padStart(64, "0")).toLowerCase() + (27 + odd).toString(16);
}

/** The message as wallets take it (eth_signTypedData_v4): bytes with 0x, 256-bit numbers as decimal texts. */
export function typedData(kind, message) {
  const named = (fields) => fields.map(([name, type]) => ({ name, type }));
  const sent = (type, value) =>
    type.startsWith("bytes") ? `0x${value.replace(/^0x/, "")}` : value;
  const values = kind.fields.map(([name, type]) => [name, sent(type, message[name])]);
  return {
    types: { EIP712Domain: named(DOMAIN), [kind.name]: named(kind.fields) },
    primaryType: kind.name,
    domain: { ...kind.domain, salt: `0x${kind.domain.salt}` },
    message: Object.fromEntries(values),
  };
}

function addressOfPoint(point) {
  return checksummed(bytesToHex(keccak_256(point.subarray(1)).subarray(12)));
}

/** The address (EIP-55) of 40 hex digits. */
export function checksummed(plain) {
  const marks = bytesToHex(keccak_256(utf8ToBytes(plain)));
  return (
    "0x" +
    [...plain]
      .map((digit, at) => (parseInt(marks[at], 16) > 7 ? digit.toUpperCase() : digit))
      .join("")
  );
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
  if (kind === "bytes") return keccak_256(hexToBytes(value.replace(/^0x/, "")));
  if (kind === "address") return padded(bytesOf(value, 20));
  if (kind === "bytes32") return bytesOf(value, 32);
  const number = BigInt(value);
  const bits = kind === "bool" ? 1n : kind.startsWith("uint") ? BigInt(kind.slice(4)) : -1n;
  if (number < 0n || bits < 0n || number >> bits) throw new Error(`a value is no ${kind}`);
  return hexToBytes(number.toString(16).padStart(64, "0"));
}

function bytesOf(value, size) {
  const bytes = hexToBytes(value.replace(/^0x/, ""));
  if (bytes.length !== size) throw new Error("a value has another length");
  return bytes;
}

function padded(bytes) {
  return concatBytes(new Uint8Array(32 - bytes.length), bytes);
}
