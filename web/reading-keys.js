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
const SIZE = 32; // bytes of a key
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
  return hkdf(sha256, key, undefined, info, SIZE);
}

/** The key for a purpose, or null if this browser has none. `sealedTo`: its public half in hex, where that is known;
 *  then a key that was drawn elsewhere and chosen here is found beside one that follows from a key file. */
export function keyFor(signer, wanted, sealedTo) {
  const text = localStorage.getItem(wanted.name);
  const keys = [signer.key && derive(signer.key, wanted), text && hexToBytes(text)].filter(Boolean);
  return (
    keys.find((key) => sealedTo === undefined || bytesToHex(publicOf(key)) === sealedTo) ?? null
  );
}

/** As keyFor, but a wallet gets a new key, which is kept before anything is sealed to it. */
export function keyForNew(signer, wanted) {
  const key = keyFor(signer, wanted);
  if (key) return key;
  const drawn = randomBytes(SIZE);
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

/** Keep the key of such a file: one that a page made, or the 32 bytes that earlier versions of the command line kept.
 *  Throws Problem for another purpose, or for bytes that do not open what is sealed to `sealedTo`. */
export function accept(bytes, wanted, sealedTo) {
  if (bytes.length === SIZE) {
    if (bytesToHex(publicOf(bytes)) !== sealedTo)
      throw new Problem("This key file is for another run, or damaged.");
    store(wanted, bytesToHex(bytes));
    return;
  }
  let file;
  try {
    file = JSON.parse(new TextDecoder().decode(bytes));
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
