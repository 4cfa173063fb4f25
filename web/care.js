// A patient's own care: her clinician hidden on the ledger, and the clinician's notes on a plan, encrypted here.
// The formats are those of governance/care.py and governance/objects/notes.py.
import { gcm } from "@noble/ciphers/aes.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import {
  bytesToHex,
  concatBytes,
  hexToBytes,
  randomBytes,
  utf8ToBytes,
} from "@noble/hashes/utils.js";
import { canonicalBytes } from "./encoding.js";

const NONCE = 12; // bytes

/** How the ledger names a clinician's account under a salt of 32 bytes; hex. */
export function hidden(account, salt) {
  return bytesToHex(sha256(concatBytes(word(account), salt)));
}

/** The id of the plan that this clinician asks for with this nonce (32 bytes); hex. */
export function planId(permit, account, nonce) {
  return bytesToHex(sha256(concatBytes(hexToBytes(permit), word(account), nonce)));
}

/** 12 random bytes and the notes (a text), encrypted under the salt of the plan's commitment. */
export function sealNotes(salt, run, attempt, text, nonce = randomBytes(NONCE)) {
  const context = canonicalBytes("volens/plan-notes/1", hexToBytes(run), attempt);
  const key = hkdf(sha256, hexToBytes(salt), undefined, context, 32);
  return concatBytes(nonce, gcm(key, nonce, context).encrypt(utf8ToBytes(text)));
}

/** An account (0x and 40 hex digits) as a word of 32 bytes. */
function word(account) {
  return concatBytes(new Uint8Array(12), hexToBytes(account.slice(2)));
}
