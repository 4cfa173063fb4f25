// Who signs in this tab: a key file's key, or a wallet. Both are forgotten with the session.
import { hexToBytes } from "@noble/hashes/utils.js";
import { drop, dropWithSession, keep, kept } from "./keys.js";
import { Problem, signing } from "./requests.js";
import { digest, sign } from "./typed.js";
import { signInWallet } from "./wallet.js";

const FILE = "volens-key",
  WALLET = "volens-wallet";

/** A signer: address, subject of a patient's file, `sign(kind, message)` → hex, `keep()` for this tab, and a file's `key`. */
export function signerOfFile(file) {
  const key = hexToBytes(file.key);
  return {
    address: file.address,
    subject: file.subject,
    key,
    keep: () => replace(FILE, file),
    sign: async (kind, message) => sign(key, digest((await signing())[kind], message)),
  };
}

export function signerOfWallet(account) {
  return {
    address: account.address,
    keep: () => replace(WALLET, account),
    sign: (kind, message) => signInWallet(account, kind, message),
  };
}

/** The signer of this tab, which must be the visitor who is signed in. */
export function signerHere() {
  const file = kept(FILE),
    account = kept(WALLET),
    visitor = document.body.dataset.account;
  const signer = file ? signerOfFile(file) : account && signerOfWallet(account);
  if (!signer)
    throw new Problem("This tab does not hold your key. Sign in again in this tab, then sign.");
  if (visitor && signer.address !== visitor)
    throw new Problem("This tab holds another person's key. Sign in again.");
  return signer;
}

/** Whether this tab can sign for the visitor who is signed in. */
export function holdsKey() {
  try {
    return Boolean(signerHere());
  } catch {
    return false;
  }
}

export const usesWallet = () => kept(WALLET) !== null;

export function dropSigner() {
  [FILE, WALLET].forEach(drop);
}

export function dropSignerWithSession() {
  [FILE, WALLET].forEach((name) => dropWithSession(name, "account" in document.body.dataset));
}

function replace(name, value) {
  dropSigner();
  keep(name, value);
}
