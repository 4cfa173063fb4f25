// Data that only the person holds: the salt of her terms, and the receipt that proves them against the ledger.
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { canonicalBytes } from "./encoding.js";

/** sha256 over the length-prefixed tag, salt and hash of the terms, as governance/consent.py computes it; hex. */
export function commitment(terms, salt) {
  return bytesToHex(sha256(canonicalBytes("volens/terms/1", salt, sha256(utf8ToBytes(terms)))));
}

/** A file name that says which receipt it is. */
export function nameOf(receipt) {
  return `volens-receipt-${bytesToHex(sha256(utf8ToBytes(receipt))).slice(0, 16)}.json`;
}
