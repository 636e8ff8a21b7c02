// The server's routes. All of them may be asked again: the first answer to a trial stands.

import { find } from "./dom.js";

const RETRY = 1500; // milliseconds

/** What the server refuses, in its words. */
export class Refused extends Error {
  constructor(told, status) {
    super([told.error, told.hint].filter(Boolean).join(". "));
    this.status = status;
  }
}

/** Ask until there is an answer: a network that comes and goes loses nothing. */
async function request(path, options = {}) {
  for (;;) {
    try {
      const response = await fetch(path, options);
      if (response.ok) {
        const content = await (path.endsWith(".wav") ? response.blob() : response.json());
        trouble("");
        return content;
      }
      if (response.status < 500) throw new Refused(await response.json().catch(() => ({ error: `Status ${response.status}` })), response.status);
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    trouble("The server does not answer. Nothing is lost: this page goes on as soon as it is back.");
    await new Promise((done) => setTimeout(done, RETRY));
  }
}

const post = (path, body) =>
  request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const test = () => request("/api/test");
export const begin = (experience) => post("/api/begin", { experience });
export const state = (listener) => post("/api/state", { listener });
export const answer = (listener, number, value) => post("/api/answer", { listener, number, answer: value });
export const clip = (token) => request(`/clip/${encodeURIComponent(token)}.wav`);

/** Say what is wrong until it is not. */
export function trouble(text) {
  const place = find("#trouble");
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
}
