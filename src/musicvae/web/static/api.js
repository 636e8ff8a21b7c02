// The server's routes, as docs/web.md describes them. The server keeps nothing: all that it needs travels with a request.

/** What went wrong, in words for people. `status` is 0 where the server did not answer at all. */
export class ApiError extends Error {
  constructor(message, { hint = "", field = "", status = 0 } = {}) {
    super(message);
    this.name = "ApiError";
    Object.assign(this, { hint, field, status });
  }
}

const BUSY = 503;
const TRIES = 3;

async function request(path, options = {}) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer.", {
        hint: "Start it again in a terminal: musicvae play. Nothing is lost; this page goes on where it was.",
      });
    }
    if (response.ok) return response;
    if (response.status === BUSY && attempt < TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((done) => setTimeout(done, 1000 * Math.min(seconds, 5)));
      continue;
    }
    const told = await response.json().catch(() => ({}));
    throw new ApiError(told.error || `The server answered with status ${response.status}.`, {
      ...told,
      status: response.status,
    });
  }
}

const post = (path, body, signal) =>
  request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
const ask = async (path, body, signal) => (await post(path, body, signal)).json();

export const models = async () => (await request("/api/models")).json();
export const generate = async (body, signal) => (await ask("/api/generate", body, signal)).clips;
export const decode = async (body) => (await ask("/api/decode", body)).clips;
export const vary = async (body, signal) => (await ask("/api/vary", body, signal)).clips;
export const walk = async (body) => (await ask("/api/walk", body)).clip;
export const bend = (body) => ask("/api/bend", body);
export const midi = async (clips) => (await post("/api/midi", { clips })).blob();
export const wav = async (clips) => (await post("/api/wav", { clips })).blob();

/** Send a MIDI file; `settings` are the fields that encode takes in its address. */
export async function encode(file, settings) {
  const response = await request(`/api/encode?${new URLSearchParams(settings)}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
  });
  return response.json();
}
