// Data that only the person holds: the salt of her terms, and the receipt that proves them against the ledger.
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, concatBytes, utf8ToBytes } from "@noble/hashes/utils.js";

/** sha256 over the length-prefixed tag, salt and hash of the terms, as governance/consent.py computes it; hex. */
export function commitment(terms, salt) {
  const parts = [utf8ToBytes("volens/terms/1"), salt, sha256(utf8ToBytes(terms))];
  return bytesToHex(sha256(concatBytes(...parts.flatMap((part) => [u32(part.length), part]))));
}

/** The canonical form of a JSON value: keys sorted, no spaces, without fields that are null. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value).filter((name) => value[name] !== null).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

/** A file name that says which receipt it is. */
export function nameOf(receipt) {
  return `volens-receipt-${bytesToHex(sha256(utf8ToBytes(receipt))).slice(0, 16)}.json`;
}

function u32(length) {
  return new Uint8Array([length >>> 24, length >>> 16, length >>> 8, length]);
}
