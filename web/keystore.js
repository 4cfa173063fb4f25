// Encrypted key files (Web3 Secret Storage, version 3), opened and made as chain/wallets.py does with eth_account.
import { ctr } from "@noble/ciphers/aes.js";
import { pbkdf2Async } from "@noble/hashes/pbkdf2.js";
import { scryptAsync } from "@noble/hashes/scrypt.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import {
  bytesToHex,
  concatBytes,
  hexToBytes,
  randomBytes,
  utf8ToBytes,
} from "@noble/hashes/utils.js";
import { same } from "./encoding.js";
import { Problem } from "./requests.js";
import { addressOf } from "./typed.js";

const COST = { n: 1 << 18, r: 8, p: 1 }; // 256 MiB and about a second or two, as eth_account writes it
const MOST_MEMORY = 1 << 29; // bytes that scrypt may take in a browser
const MOST_ROUNDS = 10_000_000; // of PBKDF2
const DAMAGED = "This key file is damaged.";

/** The key (32 bytes) of a keystore. `progress` is called with numbers from 0 to 1. Throws Problem. */
export async function open(keystore, password, progress = () => {}) {
  const { crypto, version } = keystore ?? {};
  if (version !== 3 || crypto?.cipher !== "aes-128-ctr") throw new Problem(DAMAGED);
  const [salt, iv, sealed, mac] = [
    crypto.kdfparams?.salt,
    crypto.cipherparams?.iv,
    crypto.ciphertext,
    crypto.mac,
  ].map(bytesOf);
  if (iv.length !== 16 || sealed.length !== 32 || mac.length !== 32) throw new Problem(DAMAGED);
  const derived = await derive(crypto, salt, utf8ToBytes(password), progress);
  if (!same(keccak_256(concatBytes(derived.subarray(16, 32), sealed)), mac)) {
    throw new Problem("The password is wrong, or this key file is damaged.");
  }
  return ctr(derived.subarray(0, 16), iv).decrypt(sealed);
}

/** The keystore of a key of 32 bytes; `cost` is for tests. */
export async function seal(key, password, progress = () => {}, cost = COST) {
  const salt = randomBytes(16),
    iv = randomBytes(16);
  const kdfparams = { dklen: 32, ...cost, salt: bytesToHex(salt) };
  const derived = await derive({ kdf: "scrypt", kdfparams }, salt, utf8ToBytes(password), progress);
  const ciphertext = ctr(derived.subarray(0, 16), iv).encrypt(key);
  return {
    address: addressOf(key).slice(2),
    crypto: {
      cipher: "aes-128-ctr",
      cipherparams: { iv: bytesToHex(iv) },
      ciphertext: bytesToHex(ciphertext),
      kdf: "scrypt",
      kdfparams,
      mac: bytesToHex(keccak_256(concatBytes(derived.subarray(16, 32), ciphertext))),
    },
    id: uuid(),
    version: 3,
  };
}

async function derive({ kdf, kdfparams: asked }, salt, password, onProgress) {
  const { n, r, p, c, dklen } = asked;
  if (dklen !== 32) throw new Problem(DAMAGED);
  if (kdf === "scrypt") {
    if (
      ![n, r, p].every((number) => Number.isSafeInteger(number) && number > 0) ||
      n < 2 ||
      !Number.isInteger(Math.log2(n))
    ) {
      throw new Problem(DAMAGED);
    }
    if (128 * r * (n + p) > MOST_MEMORY || p > 16) throw tooMuch();
    return scryptAsync(password, salt, { N: n, r, p, dkLen: 32, onProgress });
  }
  if (kdf !== "pbkdf2" || asked.prf !== "hmac-sha256" || !Number.isSafeInteger(c) || c < 1)
    throw new Problem(DAMAGED);
  if (c > MOST_ROUNDS) throw tooMuch();
  return pbkdf2Async(sha256, password, salt, { c, dkLen: 32 });
}

function tooMuch() {
  return new Problem(
    "This key file takes more memory or time than a browser should give. Open it on the command line.",
  );
}

function bytesOf(text) {
  if (typeof text !== "string" || !/^([0-9a-fA-F]{2})*$/.test(text)) throw new Problem(DAMAGED);
  return hexToBytes(text);
}

function uuid() {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytesToHex(bytes).replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
