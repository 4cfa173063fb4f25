// Requests to the API, and the error whose message people read.

/** A failure in plain words, which the page shows as it is. */
export class Problem extends Error {}

export async function send(method, path, text, more = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      body: text,
      headers: { Accept: "application/json", "Content-Type": "application/json", ...more },
    });
  } catch {
    throw new Problem(
      "The service does not answer. Nothing was sent twice; try again in a minute.",
    );
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw Object.assign(
    new Problem([problem.detail ?? "It did not work.", problem.hint ?? ""].join(" ").trim()),
    { status: answer.status, reason: problem.reason },
  );
}

export async function ask(method, path, body, more) {
  const answer = await send(
    method,
    path,
    body === undefined ? undefined : JSON.stringify(body),
    more,
  );
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

let kinds;

/** Fields and domain of each kind of message that pages sign, and the ledger's network under `chain`. */
export async function signing() {
  kinds ??= await ask("GET", "/pages/signing");
  return kinds;
}
