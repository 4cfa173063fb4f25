// Sealed outputs, opened here: the ciphertext and the broker's answer come through the API, which can read neither.
// The checks are those of api/client/results.py; the formats those of governance/objects/envelope.py.
import { gcm } from "@noble/ciphers/aes.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import { canonical, canonicalBytes, fieldsOf, same } from "./encoding.js";
import { openMessage, publicOf } from "./hpke.js";
import { ask, Problem, send, signing } from "./requests.js";
import { canonicalSignature, checksummed, digest, recover } from "./typed.js";

const OUTPUT = 255,
  CHUNK = 1 << 16,
  TAG = 16,
  SHARES = 3,
  WRAPPED = 60,
  MAX_HEADER = 1 << 12;
const hex = bytesToHex;

/** Open the newest sealed output of a run (as GET /runs/{run} describes it) with an X25519 key.
 *  `viewer`: the signer's view or opening is on the ledger. `kind`: "plans" for a plan of somebody's own care.
 *  Returns {result, disclosure, salt}, texts. */
export async function openOutput(signer, description, key, viewer, kind = "runs") {
  const { identity, Statement } = await signing();
  const sealed = description.outputs.at(-1),
    run = hexToBytes(description.run),
    attempt = sealed.attempt;
  const answered = await send("GET", `/pages/${kind}/${description.run}/output`);
  const blob = new Uint8Array(await answered.arrayBuffer());
  if (hex(sha256(blob)) !== sealed.ciphertext) throw altered();
  const label = {
    identity: hexToBytes(identity),
    run,
    dataset: hexToBytes(description.dataset),
    attempt,
  };
  const object = split(blob, label);
  const question = {
    run: description.run,
    attempt,
    records: [
      {
        record: description.run,
        version: attempt,
        shares: object.shares.map(({ j, wrapped }) => ({ j, wrapped: hex(wrapped) })),
      },
    ],
  };
  if (viewer) question.viewer = signer.address.slice(2).toLowerCase();
  const asked = sha256(canonicalBytes("volens/question/1", utf8ToBytes(canonical(question))));
  const answer = await ask("POST", `/${kind}/${description.run}/output-pieces`, {
    ...question,
    signature: await signer.sign("Statement", { digest: hex(asked) }),
  });
  const info = piecesInfo(label, object.broker, publicOf(key), {
    tx: hexToBytes(description.attempts.find((entry) => entry.attempt === attempt).tx),
    block: hexToBytes(answer.blockHash),
    lease: answer.leaseUntil,
  });
  const message = hexToBytes(answer.sealed);
  const stated = sha256(canonicalBytes("volens/answer/1", info, sha256(message)));
  const own = canonicalSignature(`0x${answer.signature}`) === answer.signature;
  if (
    !own ||
    recover(digest(Statement, { digest: hex(stated) }), answer.signature) !==
      checksummed(hex(object.broker))
  ) {
    throw new Problem(
      "The answer is not signed by the key broker that the output names. Nothing was opened; tell the operator.",
    );
  }
  const opened = check(
    open(object, joined(pieces(key, info, message, object.broker, run, attempt))),
    run,
    attempt,
    sealed.outputCommitment,
  );
  const disclosed = sha256(
    canonicalBytes(
      "volens/disclosure/1",
      run,
      attempt,
      sha256(utf8ToBytes(opened.disclosure)),
      hexToBytes(opened.salt),
    ),
  );
  if (hex(disclosed) !== sealed.disclosureCommitment) throw altered();
  return opened;
}

/** HPKE's info: what the broker's message is bound to (pieces_info in governance/objects/envelope.py). */
function piecesInfo({ identity, run, attempt }, broker, reader, { tx, block, lease }) {
  const listed = sha256(canonicalBytes("volens/records/1", 1, run));
  return sha256(
    canonicalBytes(
      "volens/info/1",
      identity,
      run,
      attempt,
      tx,
      block,
      broker,
      reader,
      listed,
      lease,
    ),
  );
}

/** The object's header, body and shares, if it is the output that the label names. */
export function split(blob, { identity, run, dataset, attempt }) {
  const size = blob.length > 10 ? new DataView(blob.buffer, blob.byteOffset).getUint32(6) : 0;
  const magic = concatBytes(utf8ToBytes("VOLN"), Uint8Array.of(0, 1));
  if (
    !same(blob.subarray(0, 6), magic) ||
    size < 1 ||
    size > MAX_HEADER ||
    blob.length <= 10 + size
  )
    throw altered();
  const header = blob.subarray(10, 10 + size),
    fields = fieldsOf(header) ?? [];
  const count = (fields.length - 10) / 3;
  if (count !== SHARES) throw altered();
  const shares = [...Array(count).keys()].map((at) => ({
    broker: fields[10 + 3 * at],
    j: at,
    wrapped: fields[12 + 3 * at],
  }));
  const broker = shares[0].broker,
    commitment = fields[8];
  const expected = canonicalBytes(
    "volens/object/1",
    identity,
    run,
    run,
    dataset,
    OUTPUT,
    attempt,
    CHUNK,
    commitment,
    count,
    ...shares.flatMap(({ j, wrapped }) => [broker, j, wrapped]),
  );
  const sized =
    broker.length === 20 &&
    commitment.length === 32 &&
    shares.every(({ wrapped }) => wrapped.length === WRAPPED);
  if (!sized || !same(header, expected)) throw altered();
  return { header, broker, shares, commitment, body: blob.subarray(10 + size) };
}

/** The three shares of a broker's message, which must be exactly their encoding. */
export function pieces(key, info, message, broker, run, attempt) {
  let plain;
  try {
    plain = openMessage(key, info, message);
  } catch {
    throw new Problem(
      "The broker's message is not sealed for your key. Open the output where you asked for it or viewed it first.",
    );
  }
  const fields = fieldsOf(plain) ?? [];
  const shares = [...Array(SHARES).keys()].map((j) => fields[6 + 4 * j] ?? new Uint8Array(0));
  const expected = canonicalBytes(
    "volens/pieces/1",
    broker,
    SHARES,
    ...shares.flatMap((share, j) => [run, attempt, j, share]),
  );
  if (shares.some((share) => share.length !== 32) || !same(plain, expected)) throw altered();
  return shares;
}

export function joined(shares) {
  return shares.reduce((left, right) => left.map((byte, at) => byte ^ right[at]));
}

/** The plaintext, after the key's commitment and every chunk were checked (STREAM). */
export function open({ header, body, commitment }, key) {
  if (!same(sha256(concatBytes(utf8ToBytes("volens-kc"), key)), commitment)) throw altered();
  const count = Math.ceil(body.length / (CHUNK + TAG));
  if (body.length < TAG || (count > 1 && body.length % (CHUNK + TAG) === TAG)) throw altered();
  const chunks = [];
  for (let at = 0; at < count; at++) {
    const nonce = new Uint8Array(12);
    new DataView(nonce.buffer).setUint32(7, at);
    nonce[11] = Number(at === count - 1);
    try {
      chunks.push(
        gcm(key, nonce, header).decrypt(
          body.subarray(at * (CHUNK + TAG), (at + 1) * (CHUNK + TAG)),
        ),
      );
    } catch {
      throw altered();
    }
  }
  return concatBytes(...chunks);
}

/** The parts of an output, whose result is the one that the ledger commits to. */
export function check(plaintext, run, attempt, commitment) {
  let inside = {};
  try {
    inside = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plaintext));
  } catch {
    /* it has no result, below */
  }
  const { result, disclosure, salt } = inside;
  if (typeof result !== "string" || typeof disclosure !== "string" || !/^[0-9a-f]{64}$/.test(salt))
    throw altered();
  const computed = sha256(
    canonicalBytes("volens/output/1", run, attempt, sha256(utf8ToBytes(result)), hexToBytes(salt)),
  );
  if (hex(computed) !== commitment) throw altered();
  return { result, disclosure, salt };
}

function altered() {
  return new Problem(
    "The output is not the one that was sealed on the ledger. Nothing was shown; tell the operator and an auditor.",
  );
}
