// The X25519 keys that open outputs: one for each run (an analyst's) and for each view (a checker's).
// With a key file they follow from its key, so that nothing is kept. A wallet's key never leaves it: then one is drawn,
// and kept in this browser (localStorage) and in a file that the person downloads.
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import {
  bytesToHex,
  concatBytes,
  hexToBytes,
  randomBytes,
  utf8ToBytes,
} from "@noble/hashes/utils.js";
import { u32 } from "./encoding.js";
import { publicOf } from "./hpke.js";
import { Problem } from "./requests.js";

const FILE = "volens/reading-key/1";
const HEX = /^[0-9a-f]{64}$/;

/** What a key is for: a run's result, or with an attempt (from 1) a checker's view of its output. */
export function purpose(run, attempt = 0) {
  return attempt
    ? {
        name: `volens/view-key/1:${run}:${attempt}`,
        info: concatBytes(utf8ToBytes("volens/view-key/1"), hexToBytes(run), u32(attempt)),
      }
    : {
        name: `volens/result-key/1:${run}`,
        info: concatBytes(utf8ToBytes("volens/result-key/1"), hexToBytes(run)),
      };
}

/** HKDF-SHA256 of a signing key, as governance/objects/keys.py derives it. */
export function derive(key, { info }) {
  return hkdf(sha256, key, undefined, info, 32);
}

/** The key for a purpose, or null if this browser has none. */
export function keyFor(signer, wanted) {
  if (signer.key) return derive(signer.key, wanted);
  const text = localStorage.getItem(wanted.name);
  return text === null ? null : hexToBytes(text);
}

/** As keyFor, but a wallet gets a new key, which is kept before anything is sealed to it. */
export function keyForNew(signer, wanted) {
  const key = keyFor(signer, wanted);
  if (key) return key;
  const drawn = randomBytes(32);
  store(wanted, bytesToHex(drawn));
  return drawn;
}

/** The file of a kept key, or null: name and text. */
export function fileOf(wanted) {
  const key = localStorage.getItem(wanted.name);
  return (
    key && {
      name: `${wanted.name.slice(7).replaceAll(/[/:]/g, "-").slice(0, 30)}.json`,
      text: JSON.stringify({
        type: FILE,
        purpose: wanted.name,
        public: bytesToHex(publicOf(hexToBytes(key))),
        key,
      }),
    }
  );
}

/** Keep the key of such a file. Throws Problem for another purpose. */
export function accept(text, wanted) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Problem("This is not a file of such a key.");
  }
  if (file?.type !== FILE || !HEX.test(file.key ?? ""))
    throw new Problem("This is not a file of such a key.");
  if (file.purpose !== wanted.name || bytesToHex(publicOf(hexToBytes(file.key))) !== file.public) {
    throw new Problem("This key file is for another run, or damaged.");
  }
  store(wanted, file.key);
}

function store({ name }, hex) {
  try {
    localStorage.setItem(name, hex);
  } catch {
    throw new Problem(
      "This browser keeps nothing for this page, so the key of the result would be lost. Nothing was signed.",
    );
  }
}
