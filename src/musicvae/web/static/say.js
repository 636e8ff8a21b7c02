// What the page says: results to screen readers, errors to all, and that the server has gone.

import { models } from "./api.js";
import { find, icon, make } from "./dom.js";

const RETRY = 2000; // milliseconds between looks whether the server is back
const STAYS = 9000; // milliseconds that a message stays; under the pointer or focus it waits

/** Tell a result to those who do not see it appear. */
export function tell(text) {
  find("#live").textContent = text;
}

/** A message that goes by itself. Errors interrupt a screen reader, others wait. */
export function toast(text, { hint = "", error = false } = {}) {
  const close = make(
    "button",
    { class: "bare", type: "button", "aria-label": "Dismiss", onclick: () => box.remove() },
    icon("close"),
  );
  const words = make("p", {}, make("strong", {}, text), hint ? ` ${hint}` : "");
  const box = make("div", { class: error ? "toast error" : "toast", role: error ? "alert" : "status" }, words, close);
  const toasts = find("#toasts");
  for (const other of [...toasts.children]) {
    if (other.firstChild.textContent === words.textContent || toasts.children.length > 2) other.remove();
  }
  toasts.append(box);
  const leave = () => (box.matches(":hover, :focus-within") ? setTimeout(leave, 1000) : box.remove());
  setTimeout(leave, error ? 2 * STAYS : STAYS / 2);
}

/** Take away the errors of before: something new was begun. */
export function clearErrors() {
  for (const box of document.querySelectorAll("#toasts .error")) box.remove();
}

let waiting = null;

/** Show an error of any kind; what gave up on purpose is none. */
export function fail(error) {
  if (error.name === "AbortError") return;
  if (error.name !== "ApiError") {
    toast("Something on this page went wrong.", { hint: String(error.message), error: true });
    console.error(error);
  } else if (error.status === 0) {
    lost(error);
  } else {
    toast(error.message, { hint: error.hint, error: true });
  }
}

/** The server does not answer: say so until it does, then `back` is dispatched on the document. */
function lost(error) {
  const banner = find("#gone");
  banner.hidden = false;
  banner.textContent = `${error.message} ${error.hint}`;
  waiting ??= setInterval(async () => {
    try {
      await models();
    } catch {
      return;
    }
    clearInterval(waiting);
    waiting = null;
    banner.hidden = true;
    toast("The server is back.");
    document.dispatchEvent(new Event("back"));
  }, RETRY);
}
