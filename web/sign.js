// Signing in the browser. The key stays in this tab (sessionStorage): it is never sent, only signatures are.
// The signed values are read from the table on the page, field by field.
import { sha256 } from "@noble/hashes/sha2.js";
import {
  bytesToHex,
  concatBytes,
  hexToBytes,
  randomBytes,
  utf8ToBytes,
} from "@noble/hashes/utils.js";
import { canonical } from "./encoding.js";
import { openMessage, publicOf } from "./hpke.js";
import { hidden, planId, sealNotes } from "./care.js";
import { all, copy, offer, query, textOf, withProgress, write } from "./dom.js";
import { LEAST_PASSWORD, makeFile, openFile, SESSION } from "./keys.js";
import { openOutput, check, joined, open, pieces, split } from "./outputs.js";
import { accept, derive, fileOf, keyFor, keyForNew, purpose } from "./reading-keys.js";
import { commitment, nameOf } from "./receipt.js";
import { ask, Problem, send, signing } from "./requests.js";
import {
  dropSigner,
  dropSignerWithSession,
  holdsKey,
  signerHere,
  signerOfFile,
  signerOfWallet,
  usesWallet,
} from "./signer.js";
import { addressOf, canonicalSignature, digest, recover, sign, typedData } from "./typed.js";
import { connect, eachWallet } from "./wallet.js";

// For the tests, which compare each of these with another program.
export const outputs = {
  check,
  derive,
  joined,
  open,
  openMessage,
  pieces,
  publicOf,
  purpose,
  split,
};
export const care = { hidden, planId, sealNotes };
export {
  addressOf,
  canonical,
  canonicalSignature,
  commitment,
  digest,
  makeFile,
  openFile,
  recover,
  sign,
  typedData,
};

const UNKNOWN = "This did not work. Open this page again to see whether anything was recorded.";
const DEADLINE = 3600; // seconds in which a review that the page does not show must be recorded
const SIGNED_OUT = "volens-signed-out";
const DRAFTS_OF = "volens-drafts-of"; // the account that wrote this tab's drafts
const WORD = "volens-demo"; // gives access to the keys of the demo accounts (api/pages/demo_accounts.py)

// ---- signing in

async function signIn(who) {
  const opened = await openSession(who);
  location.assign(query("[data-next]")?.dataset.next || opened.next);
}

/** A session of this signer in this browser; where it leads to first. */
async function openSession(who) {
  if (sessionStorage.getItem(DRAFTS_OF) !== who.address) dropDrafts(); // another person's
  sessionStorage.setItem(DRAFTS_OF, who.address);
  const challenge = await ask("POST", "/sign-in/challenge");
  if (challenge.audience !== location.origin) {
    throw new Problem(`This page is not at its own address. Open ${challenge.audience} instead.`);
  }
  const message = {
    audience: challenge.audience,
    account: who.address,
    subject: who.subject ?? "0".repeat(64),
    nonce: challenge.nonce,
    issuedAt: Math.floor(Date.now() / 1000),
  };
  const session = await ask("POST", "/sign-in", {
    account: who.address,
    subject: who.subject ?? null,
    nonce: challenge.nonce,
    issuedAt: message.issuedAt,
    signature: await who.sign("SignIn", message),
  });
  const opened = await ask("POST", "/pages/session", { token: session.token });
  who.keep();
  return opened;
}

async function openAndSignIn(form) {
  const text = await query("input[type=file]", form).files[0].text();
  const password = query("input[type=password]", form);
  const file = await withProgress(form, (progress) => openFile(text, password.value, progress));
  password.value = "";
  await signIn(signerOfFile(file));
}

async function useWallet(form, button) {
  await signIn(signerOfWallet(await connect(button.value)));
}

/** Accept an invitation with the key that it names: the person signs it too, then she is signed in. */
async function acceptInvitation(form, button) {
  const shownHere = form.closest("[data-invitation]"),
    file = query("input[type=file]", form)?.files[0];
  let who;
  if (file) {
    const password = query("input[type=password]", form),
      text = await file.text();
    who = signerOfFile(
      await withProgress(form, (progress) => openFile(text, password.value, progress)),
    );
    password.value = "";
  } else who = signerOfWallet(await connect(button.value));
  const enrolment = await read("Enrolment", shownHere);
  const own =
    who.address.slice(2).toLowerCase() === enrolment.signer &&
    (who.subject ?? enrolment.subject) === enrolment.subject;
  if (!own)
    throw new Problem(
      "This invitation is for another key. Choose the key that you showed to the registrar.",
    );
  const answer = await ask("POST", "/enrolments", {
    items: [
      {
        enrolment,
        registrarSignature: shownHere.dataset.invitation,
        signerSignature: await who.sign("Enrolment", enrolment),
      },
    ],
  });
  if (!answer.items[0].accepted)
    throw new Problem("The ledger did not accept it. Ask the registrar for a new invitation.");
  await signIn(who);
}

/** A button for each wallet of this browser, by its name and the name of who publishes it. */
function listWallets(form) {
  eachWallet(({ uuid, name, rdns }) => {
    const row = document.createElement("li"),
      button = document.createElement("button"),
      publisher = document.createElement("span");
    button.value = uuid;
    button.textContent = `${form.dataset.wallets} ${name}`;
    publisher.textContent = rdns;
    row.append(button, publisher);
    query("ul", form).append(row);
    form.closest("section").hidden = false;
  });
}

async function makeKey(form) {
  const [password, again] = all("input[type=password]", form);
  if ([...password.value].length < LEAST_PASSWORD)
    throw new Problem(`Take at least ${LEAST_PASSWORD} characters.`);
  if (password.value !== again.value)
    throw new Problem("The two passwords differ. Type them again.");
  const patient = query("input[type=radio]:checked", form).value === "patient";
  const made = await withProgress(form, (progress) => makeFile(patient, password.value, progress));
  password.value = again.value = "";
  const link = query("#key-file");
  offer(link, `volens-key-${made.address.slice(2, 10)}.json`, made.text);
  query("#made-address").textContent = made.address;
  query("#made-id").textContent = made.subject ?? "";
  query("#made-id").closest("div").hidden = !patient;
  query("#made-qr").src = `/pages/keys/${made.address}/qr`;
  form.hidden = true;
  query("#made").hidden = false;
  query("#made h2").focus();
  link.click();
}

// ---- signing what is shown

/** The message of this kind that the page shows. 256-bit numbers stay decimal texts, as the API wants them. */
async function read(kind, within) {
  const message = {};
  for (const [name, type] of (await signing())[kind].fields) {
    const element = query(`[data-field="${name}"]`, within);
    if (!element)
      throw new Problem("The page does not show everything that is signed. Nothing was signed.");
    message[name] = typed(type, textOf(element).trim());
  }
  return message;
}

function typed(type, text) {
  const number = type.startsWith("uint");
  const fits =
    type === "bool" ? ["true", "false"].includes(text) : !number || /^(0|[1-9][0-9]*)$/.test(text);
  if (!fits || (number && type !== "uint256" && !Number.isSafeInteger(Number(text)))) {
    throw new Problem("The page shows a value that cannot be signed. Nothing was signed.");
  }
  if (type === "bool") return text === "true";
  return number && type !== "uint256" ? Number(text) : text;
}

/** What a form of data-act="sign" or "cosign" shows, after the pressed button has set its field. */
async function shown(form, button) {
  const [name, text] = button?.dataset.set?.split("=") ?? [];
  if (name) write(form, name, text);
  return read(form.dataset.kind, form);
}

/** Sign what the form shows, record it, then send the documents whose hashes it names. */
async function signShown(form, button) {
  await record(form, await shown(form, button));
  goOn(form);
}

/** `more`: what is sent beside the message, besides what the form shows of it. */
async function record(form, message, more = {}) {
  const who = signerHere();
  const documents = all("[data-document]", form).map((element) => [
    element.dataset.document,
    textOf(element),
  ]);
  if (documents.some(([hash, text]) => bytesToHex(sha256(utf8ToBytes(text))) !== hash)) {
    throw new Problem(
      "The page shows another text than the one whose hash it signs. Nothing was signed.",
    );
  }
  const answer = await ask("POST", form.dataset.endpoint, {
    [form.dataset.name]: message,
    signature: await who.sign(form.dataset.kind, message),
    ...unsigned(form),
    ...more,
  });
  for (const [hash, text] of documents) await sendDocument(hash, text);
  return answer;
}

/** What is sent beside the signed message, e.g. why it is signed. */
function unsigned(form) {
  return Object.fromEntries(
    all("[data-extra]", form).map((element) => [element.dataset.extra, textOf(element)]),
  );
}

async function sendDocument(hash, text) {
  try {
    await send("PUT", `/documents/${hash}`, text, { "Content-Type": "text/plain; charset=utf-8" });
  } catch {
    throw new Problem(
      "It is recorded, but its text could not be sent; open this page again to send it.",
    );
  }
}

/** Send the text of something that is on the ledger, from a file. */
async function sendFile(form) {
  const text = await query("input[type=file]", form).files[0].text();
  if (bytesToHex(sha256(utf8ToBytes(text))) !== form.dataset.documentHash) {
    throw new Problem(
      "This is not the text whose hash is on the ledger. Choose exactly the file that was signed.",
    );
  }
  await send("PUT", `/documents/${form.dataset.documentHash}`, text, {
    "Content-Type": "text/plain; charset=utf-8",
  });
  location.reload();
}

/** Add one signature to an order that several people sign. */
async function cosign(form, button) {
  const who = signerHere();
  const message = await shown(form, button),
    kind = form.dataset.kind;
  await ask("POST", form.dataset.endpoint, {
    kind,
    message,
    signature: await who.sign(kind, message),
    ...unsigned(form),
  });
  goOn(form);
}

function goOn(form) {
  dropDrafts();
  if (form.dataset.next) location.assign(form.dataset.next);
  else location.reload();
}

async function give(form) {
  const who = signerHere();
  const salt = randomBytes(32),
    terms = query("[data-terms]", form).textContent;
  query('[data-field="termsCommitment"]', form).textContent = commitment(terms, salt);
  const grant = await read("Grant", form);
  const answer = await ask("POST", "/consents", {
    items: [
      {
        grant,
        signer: who.address.slice(2).toLowerCase(),
        signature: await who.sign("Grant", grant),
      },
    ],
  });
  const receipt = canonical({ ...answer.items[0].proof, terms, termsSalt: bytesToHex(salt) });
  offer(query("#receipt"), nameOf(receipt), receipt);
  query("#block").textContent = answer.receipt.block;
  query("#step").textContent = answer.receipt.count;
  query("#note").textContent = answer.note ?? "";
  form.hidden = true;
  query("#done").hidden = false;
  query("#done h2").focus();
}

async function stop(form) {
  const who = signerHere();
  const mined = [];
  for (const part of all("[data-message]", form)) {
    const revoke = await read("Revoke", part);
    const answer = await ask("POST", "/consents/revocations", {
      revoke,
      signer: who.address.slice(2).toLowerCase(),
      signature: await who.sign("Revoke", revoke),
    });
    if (!answer.acted)
      throw new Problem(
        "A newer permission stands. Open this page again, look at it, and stop that one.",
      );
    mined.push(answer.receipt.tx);
  }
  location.assign(`/me/stopped?${mined.map((tx) => `tx=${tx}`).join("&")}`);
}

async function cancel(form) {
  const who = signerHere();
  const message = await read("Cancel", form);
  await ask("POST", `/runs/${message.run}/cancel`, {
    cancel: message,
    signature: await who.sign("Cancel", message),
  });
  location.reload();
}

// ---- runs and their outputs

/** As signShown for a RunRequest: nonce and result key are made here, and the run's id follows from the nonce. */
async function requestRun(form, button) {
  const who = signerHere(),
    nonce = randomBytes(32);
  const account = concatBytes(new Uint8Array(12), hexToBytes(who.address.slice(2)));
  const run = bytesToHex(sha256(concatBytes(account, nonce)));
  write(form, "nonce", BigInt(`0x${bytesToHex(nonce)}`).toString());
  write(form, "resultKey", bytesToHex(publicOf(keyForNew(who, purpose(run)))));
  const answer = await record(form, await shown(form, button));
  if (answer.run !== run)
    throw new Problem(
      "The service names another run than the one that you asked for. Tell the operator.",
    );
  location.assign(`/runs/${run}`);
}

/** Open a sealed output: the analyst's after its release, a checker's once her view is on the ledger. */
async function openSealed(form) {
  const { run, role, endpoint } = form.dataset,
    attempt = Number(form.dataset.attempt),
    viewer = role === "viewer";
  const who = signerHere(),
    wanted = purpose(run, viewer ? attempt : 0);
  const chosen = query("input[type=file]", form)?.files[0];
  const description = await ask("GET", `/runs/${run}`);
  const sealedTo = viewer ? undefined : description.resultKey;
  if (chosen) accept(new Uint8Array(await chosen.arrayBuffer()), wanted, sealedTo);
  if (description.outputs.at(-1)?.attempt !== attempt) {
    throw new Problem(
      "This attempt has no sealed output, or there is a newer one. Open this page again.",
    );
  }
  const key = viewer
    ? await viewKey(form, who, wanted, description, attempt)
    : keyFor(who, wanted, sealedTo);
  if (!key) {
    query("[data-choose-key]", form)?.removeAttribute("hidden");
    throw new Problem(
      viewer
        ? "The key of your view is in the browser where you opened this output first. Open it there."
        : "The key that opens this is not here. Choose its file, or open it where the run was asked for.",
    );
  }
  offerKey(form);
  const { result, disclosure, salt } = await openOutput(who, description, key, viewer);
  const text = `{"result":${result},"disclosure":${disclosure},"salt":"${salt}"}`;
  const target = query(form.dataset.target || "#result");
  await show(target, text, endpoint);
  const links = document.createElement("p");
  links.className = "actions";
  target.append(links);
  addLink(
    links,
    "Download it",
    `volens-${viewer ? "output" : "result"}-${run.slice(0, 8)}.json`,
    text,
  );
  if (viewer) allowAfterView();
  else {
    const receipt = canonical({
      ...(await ask("GET", `/pages/runs/${run}/receipt`)),
      outputSalt: salt,
    });
    addLink(links, "Download my receipt", nameOf(receipt), receipt);
  }
}

/** What a checker may do once she has viewed an output, without loading the page again. */
function allowAfterView() {
  for (const button of all("[data-after-view]")) {
    button.disabled = false;
    button.removeAttribute("data-why");
  }
  all("[data-before-view]").forEach((text) => {
    text.hidden = true;
  });
}

/** The checker's key for this output; her view of it is recorded first, under that key. */
async function viewKey(form, who, wanted, description, attempt) {
  const viewed = description.attempts
    .find((entry) => entry.attempt === attempt)
    .checkers.includes(who.address);
  if (viewed) return keyFor(who, wanted);
  const key = keyForNew(who, wanted),
    viewerKey = bytesToHex(publicOf(key));
  const deadline = Math.floor(Date.now() / 1000) + DEADLINE;
  let review = { run: description.run, attempt, viewerKey, deadline };
  if (query('[data-field="viewerKey"]', form)) {
    write(form, "viewerKey", viewerKey);
    review = await read("Review", form);
  }
  await ask("POST", `/runs/${description.run}/attempts/${attempt}/views`, {
    review,
    signature: await who.sign("Review", review),
  });
  return key;
}

/** Show an opened output: as a page's part that the endpoint makes of it, or word for word where there is none. */
async function show(target, text, endpoint) {
  if (endpoint) {
    target.innerHTML = await (await send("POST", endpoint, text)).text(); // made by our own templates, which escape every value
  } else {
    const words = document.createElement("pre");
    words.tabIndex = 0;
    words.textContent = text;
    target.replaceChildren(words);
  }
  query("h2", target)?.focus();
}

function addLink(within, label, name, text) {
  const link = document.createElement("a");
  link.className = "button quiet";
  link.textContent = label;
  offer(link, name, text);
  within.append(link);
}

/** For wallets: let a drawn key be downloaded, and a file of it be chosen where there is none. */
function offerKey(form) {
  const { run, role, attempt } = form.dataset,
    link = query("[data-own-key]", form),
    choose = query("[data-choose-key]", form);
  const file = fileOf(purpose(run, role === "viewer" ? Number(attempt) : 0));
  if (link && file) {
    offer(link, file.name, file.text);
    link.hidden = false;
  }
  if (choose) choose.hidden = Boolean(file) || !usesWallet();
}

// ---- a patient's own care

/** Appoint a clinician, or end that: the salt that hides who it is on the ledger is drawn here. */
async function appoint(form) {
  const who = signerHere(),
    salt = randomBytes(32);
  write(form, "clinician", hidden(textOf(query('[data-extra="clinician"]', form)).trim(), salt));
  await record(form, await read("Appoint", form), {
    signer: who.address.slice(2).toLowerCase(),
    salt: bytesToHex(salt),
  });
  goOn(form);
}

/** As signShown for a PlanRequest: the nonce is drawn here, and the plan's id follows from it. */
async function requestPlan(form) {
  const who = signerHere(),
    nonce = randomBytes(32);
  write(form, "nonce", BigInt(`0x${bytesToHex(nonce)}`).toString());
  const message = await read("PlanRequest", form);
  const run = planId(message.permit, who.address, nonce);
  const answer = await record(form, message);
  if (answer.run !== run)
    throw new Problem(
      "The service names another plan than the one that you asked for. Tell the operator.",
    );
  location.assign(`/care/${run}`);
}

/** Open a plan: its clinician after a recorded view, or its patient after a recorded opening. The key is of this
 *  opening alone, and kept nowhere. */
async function openPlan(form) {
  const { kind, name, endpoint, run, show: shownBy } = form.dataset;
  const who = signerHere(),
    key = randomBytes(32);
  const description = await ask("GET", `/pages/plans/${run}`);
  write(form, "viewerKey", bytesToHex(publicOf(key)));
  const message = await read(kind, form);
  if (description.outputs.at(-1)?.attempt !== message.attempt)
    throw new Problem("There is a newer one. Open this page again.");
  await record(form, message, name === "opening" && { signer: who.address.slice(2).toLowerCase() });
  const { result, disclosure, salt } = await openOutput(who, description, key, true, "plans");
  await show(
    query("#opened"),
    `{"plan":${result},"disclosure":${disclosure},"salt":"${salt}"}`,
    shownBy,
  );
  all("form", query("#opened")).forEach(wire);
}

/** Countersign a plan: the clinician's decisions are encrypted here, and their hash is signed. */
async function countersign(form) {
  const items = {};
  for (const item of all("[data-item]", form)) {
    const decision = query("input[type=radio]:checked", item)?.value;
    if (!decision) throw new Problem("Decide on each item first. Nothing was signed.");
    items[item.dataset.item] = { decision, note: query("textarea", item).value.trim() };
  }
  const comment = query("[data-comment]", form).value.trim();
  const text = canonical({ type: "volens/plan-notes/1", items, comment });
  const { run, attempt, salt } = form.dataset;
  const notes = sealNotes(salt, run, Number(attempt), text);
  write(form, "notesHash", bytesToHex(sha256(notes)));
  await record(form, await read("Countersign", form), { notes: bytesToHex(notes) });
  goOn(form);
}

async function openResult(form) {
  const text = await query("input[type=file]", form).files[0].text();
  const target = query(form.dataset.target || "#result");
  await show(target, text, form.dataset.endpoint);
  all("form", target).forEach(wire);
}

/** Add a comment, and show the list again; the rest of the page stays, with the output that was opened. */
async function comment(form) {
  const answer = await send(
    "POST",
    form.action,
    new URLSearchParams(new FormData(form)).toString(),
    { "Content-Type": "application/x-www-form-urlencoded" },
  );
  query("#comment-list").innerHTML = await answer.text(); // made by our own templates, which escape every value
  form.reset();
}

// ---- wiring

function busy(form, yes) {
  for (const button of all("button:not([data-why])", form)) {
    button.disabled = yes;
    button.toggleAttribute("aria-busy", yes);
  }
}

function wire(form) {
  const act = ACTS[form.dataset.act];
  if (act) onSubmit(form, act);
  else form.addEventListener("submit", () => setTimeout(() => busy(form, true)));
  if (form.dataset.act === "sign-out") {
    form.addEventListener("submit", () => {
      forget();
      localStorage.setItem(SIGNED_OUT, String(Date.now()));
    });
  }
}

function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const alert = query("[role=alert]", form);
    if (alert) alert.textContent = "";
    busy(form, true);
    try {
      await act(form, event.submitter);
    } catch (error) {
      if (alert) alert.textContent = error instanceof Problem ? error.message : UNKNOWN;
      if (!(error instanceof Problem)) console.error(error.name);
    }
    busy(form, false);
  });
}

// ---- drafts: what was written stays in this tab until it is signed, also over the end of a session

const DRAFT = "volens-draft:";

function keepDraft(area) {
  const name = DRAFT + area.dataset.draft,
    draft = sessionStorage.getItem(name);
  const keep = () => sessionStorage.setItem(name, area.value);
  if (area.value !== area.defaultValue)
    keep(); // written before this script was there
  else if (draft !== null) area.value = draft;
  area.addEventListener("input", keep);
}

function dropDrafts() {
  Object.keys(sessionStorage)
    .filter((name) => name.startsWith(DRAFT))
    .forEach((name) => sessionStorage.removeItem(name));
}

/** Nothing of a person who signs out stays for whoever uses this tab next. */
function forget() {
  dropSigner();
  dropDrafts();
  sessionStorage.removeItem(DRAFTS_OF);
}

// ---- the end of the session

const WARNING = 120; // seconds before it

/** Say before the session ends that it will, with a way to go on where this tab holds the key; and when it has ended. */
function warnOfEnd(region) {
  const left = Number(region.dataset.left),
    end = region.dataset.end;
  const timers = [
    setTimeout(
      () => {
        const button = document.createElement("button");
        button.textContent = "Stay signed in";
        button.className = "quiet";
        button.addEventListener("click", () => renew(region, button, timers));
        const mine = holdsKey();
        tell(
          region,
          mine
            ? `Your session ends at ${end}.`
            : `Your session ends at ${end}. Save what you are writing, then sign in again.`,
          ...(mine ? [button] : []),
        );
      },
      Math.max(0, left - WARNING) * 1000,
    ),
    setTimeout(() => tell(region, "Your session has ended. Sign in again to go on."), left * 1000),
  ];
}

/** A new session with the key of this tab, without leaving the page. */
async function renew(region, button, timers) {
  button.disabled = true;
  try {
    await openSession(signerHere());
  } catch (error) {
    button.disabled = false;
    tell(region, error instanceof Problem ? error.message : UNKNOWN, button);
    return;
  }
  timers.forEach(clearTimeout);
  const until = new Date(Date.now() + SESSION);
  Object.assign(region.dataset, {
    left: SESSION / 1000,
    end: `${until.toISOString().slice(11, 16)} UTC`,
  });
  tell(region, `You stay signed in until ${region.dataset.end}.`);
  query(".who time").textContent = region.dataset.end;
  query(".who time").dateTime = until.toISOString();
  setTimeout(() => region.replaceChildren(), 10_000);
  warnOfEnd(region);
}

function tell(region, text, ...more) {
  const line = document.createElement("p");
  line.textContent = text;
  region.replaceChildren(line, ...more);
}

/** A pasted list goes into this field and those after it, a line each. Nothing of it is kept or sent. */
function spread(event, fields) {
  const lines = event.clipboardData
    .getData("text")
    .split(/\r?\n/)
    .map((line) => line.trim());
  if (lines.length < 2) return;
  event.preventDefault();
  const from = fields.indexOf(event.target);
  lines.slice(0, fields.length - from).forEach((line, at) => {
    fields[from + at].value = line.slice(0, fields[from + at].maxLength);
  });
}

const ACTS = {
  "key-file": openAndSignIn,
  "act-as": async (form, button) => {
    const name = button.value || query("select", form).value;
    const word = { "Volens-Demo": localStorage.getItem(WORD) ?? "" };
    const file = await ask(
      "POST",
      `/pages/demo-accounts/${encodeURIComponent(name)}`,
      undefined,
      word,
    );
    await signIn(signerOfFile(await openFile(JSON.stringify(file))));
  },
  "new-key": makeKey,
  comment,
  "send-document": sendFile,
  accept: acceptInvitation,
  wallet: useWallet,
  give,
  stop,
  cancel,
  sign: signShown,
  cosign,
  "request-run": requestRun,
  "open-output": openSealed,
  "open-result": openResult,
  appoint,
  "request-plan": requestPlan,
  "open-plan": openPlan,
  countersign,
};
if (location.hash.startsWith(`#${WORD}=`)) {
  // bound to this port, as no cookie is; for every tab of this browser
  localStorage.setItem(WORD, location.hash.slice(WORD.length + 2));
  history.replaceState(null, "", location.pathname);
}
all("textarea[data-draft]").forEach(keepDraft);
all("[data-label]").forEach((field, _, fields) =>
  field.addEventListener("paste", (event) => spread(event, fields)),
);
all("form").forEach(wire);
all("form[data-wallets]").forEach(listWallets);
all("form[data-act=open-output]").forEach(offerKey);
for (const button of all("[data-copy]")) button.addEventListener("click", () => copy(button));
addEventListener("pageshow", () => all("form").forEach((form) => busy(form, false)));
addEventListener("storage", (event) => event.key === SIGNED_OUT && forget()); // in another tab
dropSignerWithSession();
all(".session").forEach(warnOfEnd);
document.documentElement.classList.add("script");
