// Small helpers of the page: finding elements, their texts, progress, files to download, copying.
import { Problem } from "./requests.js";

export const query = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

const FIELD = "input, select, textarea";

export function textOf(element) {
  return element.matches(FIELD) ? element.value : element.textContent;
}

/** Set the text of the element that shows this field. */
export function write(within, name, text) {
  const element = query(`[data-field="${name}"]`, within);
  if (!element)
    throw new Problem("The page does not show everything that is signed. Nothing was signed.");
  element[element.matches(FIELD) ? "value" : "textContent"] = text;
}

/** Show the progress of a slow step; it runs in parts, so the page stays usable. */
export async function withProgress(form, step) {
  const bar = query("progress", form);
  bar.hidden = false;
  try {
    return await step((part) => {
      bar.value = part;
    });
  } finally {
    bar.hidden = true;
    bar.value = 0;
  }
}

/** Make a link offer a text as a file. */
export function offer(link, name, text) {
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
}

/** Copy each named value of an element, a line for each, and say so beside the button. */
export async function copy(button) {
  const lines = all("[data-copied]", query(button.dataset.copy)).filter(
    (element) => !element.closest("[hidden]"),
  );
  const text = lines
    .map((element) => `${element.dataset.copied}: ${element.textContent}`)
    .join("\n");
  const status = query("[role=status]", button.parentElement);
  try {
    await navigator.clipboard.writeText(text);
    status.textContent = "Copied.";
  } catch {
    // no permission, or a page that is not served over https
    status.textContent = "This browser does not let pages copy. Select the text and copy it.";
  }
}
