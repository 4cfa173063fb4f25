// HPKE (RFC 9180) in base mode, opening only: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
import { gcm } from "@noble/ciphers/aes.js";
import { x25519 } from "@noble/curves/ed25519.js";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8ToBytes } from "@noble/hashes/utils.js";

const KEM = concatBytes(utf8ToBytes("KEM"), Uint8Array.of(0, 0x20));
const SUITE = concatBytes(utf8ToBytes("HPKE"), Uint8Array.of(0, 0x20, 0, 1, 0, 2));
const VERSION = utf8ToBytes("HPKE-v1"),
  NONE = new Uint8Array(0);

export const publicOf = (secret) => x25519.getPublicKey(secret);

/** The plaintext of a message (32 bytes of the sender's key, then the ciphertext). Throws for another key or info. */
export function openMessage(secret, info, sealed) {
  const sent = sealed.subarray(0, 32);
  const context = concatBytes(sent, publicOf(secret));
  const agreed = labeledExtract(KEM, NONE, "eae_prk", x25519.getSharedSecret(secret, sent));
  const shared = labeledExpand(KEM, agreed, "shared_secret", context, 32);
  const schedule = concatBytes(
    Uint8Array.of(0),
    labeledExtract(SUITE, NONE, "psk_id_hash", NONE),
    labeledExtract(SUITE, NONE, "info_hash", info),
  );
  const agreedOn = labeledExtract(SUITE, shared, "secret", NONE);
  const key = labeledExpand(SUITE, agreedOn, "key", schedule, 32);
  return gcm(key, labeledExpand(SUITE, agreedOn, "base_nonce", schedule, 12)).decrypt(
    sealed.subarray(32),
  );
}

function labeledExtract(suite, salt, label, material) {
  return extract(sha256, concatBytes(VERSION, suite, utf8ToBytes(label), material), salt);
}

function labeledExpand(suite, key, label, info, length) {
  const described = concatBytes(
    Uint8Array.of(length >> 8, length & 255),
    VERSION,
    suite,
    utf8ToBytes(label),
    info,
  );
  return expand(sha256, key, described, length);
}
