// Key files, and the key of this tab: kept in sessionStorage until sign-out or the session's end, and never sent.
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { bytesToHex, hexToBytes, randomBytes } from "@noble/hashes/utils.js";
import { open, seal } from "./keystore.js";
import { Problem } from "./requests.js";
import { addressOf } from "./typed.js";

export const SESSION = 900_000; // milliseconds: SESSION_SECONDS in governance/sessions.py
const HEX = /^[0-9a-f]{64}$/;
export const LEAST_PASSWORD = 12; // characters

/** The key file of this text, opened with its password if it is locked: {type, address, key, subject?}. Throws Problem. */
export async function openFile(text, password = "", progress) {
  const file = parse(text);
  if (file?.type !== "volens/key/1") throw new Problem("This is not a volens key file.");
  if (!/^0x[0-9a-fA-F]{40}$/.test(file.address ?? "")) throw damaged();
  if (file.subject !== undefined && !HEX.test(file.subject)) throw damaged();
  let key = file.key;
  if (file.keystore !== undefined) {
    if (!password) throw new Problem("This key file is locked. Type its password.");
    key = bytesToHex(await open(file.keystore, password, progress));
  } else if (!HEX.test(key ?? "")) throw new Problem("This is not a volens key file.");
  if (!secp256k1.utils.isValidSecretKey(hexToBytes(key))) throw damaged();
  if (addressOf(hexToBytes(key)) !== file.address) {
    throw new Problem(
      "This key file is damaged: its key belongs to another address than the one that it names.",
    );
  }
  return {
    type: file.type,
    address: file.address,
    key,
    ...(file.subject && { subject: file.subject }),
  };
}

/** A new key under a password: the text of its file, its address, and for a patient her id. */
export async function makeFile(patient, password, progress, cost) {
  const key = secp256k1.utils.randomSecretKey();
  const facts = {
    address: addressOf(key),
    ...(patient && { subject: bytesToHex(randomBytes(32)) }),
  };
  const keystore = await seal(key, password, progress, cost);
  return { ...facts, text: JSON.stringify({ type: "volens/key/1", ...facts, keystore }) };
}

/** Keep something for the session that begins now. The next page drops it in time. */
export function keep(name, value) {
  sessionStorage.setItem(name, JSON.stringify({ ...value, until: Date.now() + SESSION }));
}

export function drop(name) {
  sessionStorage.removeItem(name);
}

/** What this tab keeps under a name, or null; what is older than a session is dropped. */
export function kept(name) {
  const value = JSON.parse(sessionStorage.getItem(name) ?? "null");
  if (value === null) return null;
  const left = value.until - Date.now();
  if (left > 0) return value;
  drop(name);
  return null;
}

/** Drop what this tab keeps when its session has ended: now, where nobody is signed in, or when its time is over. */
export function dropWithSession(name, signedIn) {
  const value = kept(name);
  if (value && !signedIn) drop(name);
  else if (value) setTimeout(() => dropWithSession(name, true), value.until - Date.now()); // it may have been renewed meanwhile
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem("This is not a key file. Choose the JSON file that volens made.");
  }
}

function damaged() {
  return new Problem("This key file is damaged.");
}
