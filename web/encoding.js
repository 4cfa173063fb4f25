// The bytes that are hashed and signed, as governance/rules/encoding.py writes them.
import { concatBytes, utf8ToBytes } from "@noble/hashes/utils.js";

/** Each field as its length in 4 bytes and its bytes; a number has 8 bytes, a text (ASCII here) is UTF-8. */
export function canonicalBytes(...fields) {
  return concatBytes(...fields.map(bytesOf).flatMap((bytes) => [u32(bytes.length), bytes]));
}

/** The fields of such bytes, or null if the lengths do not add up. */
export function fieldsOf(bytes) {
  const fields = [],
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  while (at + 4 <= bytes.length) {
    const end = at + 4 + view.getUint32(at);
    fields.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return at === bytes.length ? fields : null;
}

/** The canonical form of a JSON value: keys sorted, no spaces, without fields that are null. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value)
    .filter((name) => value[name] !== null)
    .sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

/** Whether two arrays are equal, without saying by its time where they differ. */
export function same(left, right) {
  return (
    left.length === right.length &&
    left.reduce((differs, byte, at) => differs | (byte ^ right[at]), 0) === 0
  );
}

export function u32(number) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

function bytesOf(value) {
  if (typeof value === "string") return utf8ToBytes(value);
  return typeof value === "number"
    ? concatBytes(u32(Math.floor(value / 2 ** 32)), u32(value % 2 ** 32))
    : value;
}
