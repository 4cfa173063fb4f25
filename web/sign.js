// Signing in the browser. The key stays in this tab (sessionStorage): it is never sent, only signatures are.
// The signed values are read from the table on the page, field by field.
import { hexToBytes, randomBytes, bytesToHex } from "@noble/hashes/utils.js";
import { canonical, commitment, nameOf } from "./receipt.js";
import { addressOf, digest, sign } from "./typed.js";

export { addressOf, canonical, commitment, digest, sign };

const KEPT = "volens-key";
const WORD = "volens-demo";  // gives access to the keys of the demo accounts (api/pages/demo_accounts.py)
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

class Told extends Error {}

// ---- the key of this tab

function keyOf(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Told("This is not a key file. Choose the JSON file that volens made.");
  }
  if (file?.keystore) {
    throw new Told("This key is locked with a password. Pages cannot open such a key; passkeys come later. " +
      "Use the command line until then.");
  }
  if (file?.type !== "volens/key/1" || !/^[0-9a-f]{64}$/.test(file.key ?? "")) {
    throw new Told("This is not a volens key file.");
  }
  if (addressOf(hexToBytes(file.key)) !== file.address) throw new Told("This key file is damaged.");
  return file;
}

function kept() {
  const text = sessionStorage.getItem(KEPT);
  const account = document.body.dataset.account;
  if (!text) throw new Told("This tab does not hold your key. Sign in again in this tab, then sign.");
  const file = keyOf(text);
  if (account && file.address !== account) throw new Told("This tab holds another person's key. Sign in again.");
  return file;
}

// ---- requests to the API

async function send(method, path, text, more = {}) {
  let answer;
  try {
    answer = await fetch(path, { method, body: text,
      headers: { Accept: "application/json", "Content-Type": "application/json", ...more } });
  } catch {
    throw new Told("The service does not answer. Nothing was sent twice; try again in a minute.");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Told([problem.detail ?? "It did not work.", problem.hint ?? ""].join(" ").trim());
}

async function ask(method, path, body, more) {
  return (await send(method, path, body === undefined ? undefined : JSON.stringify(body), more)).json();
}

let kinds;
async function signed(name, message, file) {
  kinds ??= await ask("GET", "/pages/signing");
  return sign(hexToBytes(file.key), digest(kinds[name], message));
}

// ---- signing in

async function signIn(file) {
  const challenge = await ask("POST", "/sign-in/challenge");
  if (challenge.audience !== location.origin) {
    throw new Told(`This page is not at its own address. Open ${challenge.audience} instead.`);
  }
  const message = { audience: challenge.audience, account: file.address, subject: file.subject ?? "0".repeat(64),
    nonce: challenge.nonce, issuedAt: Math.floor(Date.now() / 1000) };
  const session = await ask("POST", "/sign-in", { account: file.address, subject: file.subject ?? null,
    nonce: challenge.nonce, issuedAt: message.issuedAt, signature: await signed("SignIn", message, file) });
  const place = await ask("POST", "/pages/session", { token: session.token });
  sessionStorage.setItem(KEPT, JSON.stringify(file));
  location.assign(one("[data-next]")?.dataset.next || place.next);
}

// ---- signing what is shown

function read(kind, within) {
  const message = {};
  for (const [name, type] of kinds[kind].fields) {
    const shown = one(`[data-field="${name}"]`, within)?.textContent.trim();
    if (shown === undefined) throw new Told("The page does not show everything that is signed. Nothing was signed.");
    message[name] = type.startsWith("uint") ? Number(shown) : shown;
  }
  return message;
}

async function give(form) {
  const file = kept();
  const salt = randomBytes(32), terms = one("[data-terms]", form).textContent;
  one('[data-field="termsCommitment"]', form).textContent = commitment(terms, salt);
  kinds ??= await ask("GET", "/pages/signing");
  const grant = read("Grant", form);
  const answer = await ask("POST", "/consents", { items: [{ grant, signer: file.address.slice(2).toLowerCase(),
    signature: await signed("Grant", grant, file) }] });
  const receipt = canonical({ ...answer.items[0].proof, terms, termsSalt: bytesToHex(salt) });
  const link = one("#receipt");
  link.href = URL.createObjectURL(new Blob([receipt], { type: "application/json" }));
  link.download = nameOf(receipt);
  one("#block").textContent = answer.receipt.block;
  one("#step").textContent = answer.receipt.count;
  one("#note").textContent = answer.note ?? "";
  form.hidden = true;
  one("#done").hidden = false;
  one("#done h2").focus();
}

async function stop(form) {
  const file = kept();
  kinds ??= await ask("GET", "/pages/signing");
  const mined = [];
  for (const part of all("[data-message]", form)) {
    const revoke = read("Revoke", part);
    const answer = await ask("POST", "/consents/revocations", { revoke, signer: file.address.slice(2).toLowerCase(),
      signature: await signed("Revoke", revoke, file) });
    if (!answer.acted) throw new Told("A newer permission stands. Open this page again, look at it, and stop that one.");
    mined.push(answer.receipt.tx);
  }
  location.assign(`/me/stopped?${mined.map((tx) => `tx=${tx}`).join("&")}`);
}

async function cancel(form) {
  const file = kept();
  kinds ??= await ask("GET", "/pages/signing");
  const message = read("Cancel", form);
  await ask("POST", `/runs/${message.run}/cancel`, { cancel: message, signature: await signed("Cancel", message, file) });
  location.reload();
}

async function openResult(form) {
  const text = await one("input[type=file]", form).files[0].text();
  const answer = await send("POST", form.dataset.endpoint, text);
  one("#result").innerHTML = await answer.text(); // made by our own templates, which escape every value
  one("#result h2")?.focus();
}

// ---- wiring

function busy(form, yes) {
  for (const button of all("button:not([data-why])", form)) {
    button.disabled = yes;
    button.toggleAttribute("aria-busy", yes);
  }
}

function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = one("[role=alert]", form);
    if (said) said.textContent = "";
    busy(form, true);
    try {
      await act(form, event.submitter);
    } catch (error) {
      if (said) said.textContent = error instanceof Told ? error.message : "This did not work. Nothing was signed.";
      if (!(error instanceof Told)) console.error(error.name);
    }
    busy(form, false);
  });
}

const ACTS = {
  "key-file": async (form) => signIn(keyOf(await one("input[type=file]", form).files[0].text())),
  "act-as": async (form, button) => {
    const name = button.value || one("select", form).value;
    const word = { "Volens-Demo": localStorage.getItem(WORD) ?? "" };
    const file = await ask("POST", `/pages/demo-accounts/${encodeURIComponent(name)}`, undefined, word);
    await signIn(keyOf(JSON.stringify(file)));
  },
  give, stop, cancel, "open-result": openResult,
};
if (location.hash.startsWith(`#${WORD}=`)) {  // bound to this port, as no cookie is; for every tab of this browser
  localStorage.setItem(WORD, location.hash.slice(WORD.length + 2));
  history.replaceState(null, "", location.pathname);
}
for (const form of all("form")) {
  const act = ACTS[form.dataset.act];
  if (act) onSubmit(form, act);
  else form.addEventListener("submit", () => setTimeout(() => busy(form, true)));
  if (form.dataset.act === "sign-out") form.addEventListener("submit", () => sessionStorage.removeItem(KEPT));
}
addEventListener("pageshow", () => all("form").forEach((form) => busy(form, false)));
document.documentElement.classList.add("script");
