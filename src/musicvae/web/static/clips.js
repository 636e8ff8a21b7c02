// From sources (state.js) to clips with notes: asks the server, remembers the answers.
// A clip of this page is the API's, frozen, with its `source` and, after a bend, its `distance`.

import * as api from "./api.js";
import { hueWord } from "./colour.js";
import { unpack } from "./notes.js";

const MOST = 1500; // clips remembered; some 5 kB each

const known = new Map(); // key → clip
const asked = new Map(); // key → promise of a clip, while the server works on it
let drawing = []; // draws that the server works on: {model, seed, temperature, n, clips: promise}

const keyOf = (model, source) => `${model} ${JSON.stringify(source)}`;

function remember(model, source, clip) {
  const key = keyOf(model, source);
  const whole = Object.freeze({ ...clip, model, source });
  known.delete(key); // the newest stand last
  known.set(key, whole);
  if (known.size > MOST) known.delete(known.keys().next().value);
  return whole;
}

/** The clip of a source if it is here already. */
export const peek = (model, source) => (source ? known.get(keyOf(model, source)) : undefined);

/** The clip of a source. */
export function resolve(model, source) {
  const here = peek(model, source);
  if (here) return Promise.resolve(here);
  const key = keyOf(model, source);
  if (!asked.has(key))
    asked.set(
      key,
      fetchClip(model, source).finally(() => asked.delete(key)),
    );
  return asked.get(key);
}

async function fetchClip(model, source) {
  if (source.from === "notes") return remember(model, source, unpack(source.packed));
  if (source.from === "generate") {
    const { seed, temperature, index } = source;
    const coming = drawing.find(
      (one) => one.model === model && one.seed === seed && one.temperature === temperature && one.n > index,
    );
    return (await (coming?.clips ?? draw(model, { kind: "generate", seed, temperature, n: index + 1 })))[index];
  }
  if (source.from === "z") {
    const { z, temperature, seed, index } = source;
    return remember(model, source, (await api.decode({ model, z: [z], temperature, seed, index }))[0]);
  }
  if (source.from === "walk") {
    const corners = await Promise.all(source.corners.map((corner) => resolve(model, corner)));
    const { temperature, seed, index } = nearest(corners, source.at);
    const clip = await api.walk({
      model,
      corners: corners.map((corner) => corner.z),
      at: source.at,
      temperature: source.likeliest ? 0 : temperature,
      seed,
      index,
    });
    return remember(model, source, clip);
  }
  const base = await resolve(model, source.of);
  const { z, temperature, seed, index } = base;
  const { clip, distance } = await api.bend({ model, z, amounts: source.amounts, temperature, seed, index });
  return remember(model, source, { ...clip, distance });
}

/** A corner is heard as the clip that it is, so a walk borrows the noise of the corner that it is nearest to. */
function nearest(corners, [x, y = 0]) {
  return corners[(x > 0.5 ? 1 : 0) + (y > 0.5 ? 2 : 0)];
}

/** All clips of a batch (state.js). */
export async function draw(model, batch, signal) {
  if (batch.kind === "generate") {
    const { n, temperature, seed } = batch;
    const sources = Array.from({ length: n }, (_, index) => ({ from: "generate", seed, temperature, index }));
    const here = sources.map((source) => peek(model, source));
    if (here.every(Boolean)) return here;
    const asking = api.generate({ model, n, temperature, seed }, signal);
    const clips = asking.then((drawn) => drawn.map((clip, i) => remember(model, sources[i], clip)));
    drawing.push({ model, seed, temperature, n, clips });
    return clips.finally(() => (drawing = drawing.filter((one) => one.clips !== clips)));
  }
  const base = await resolve(model, batch.of);
  const { z, temperature, seed, index } = base;
  const { amount, n, targets } = batch;
  const clips = await api.vary({ model, z, amount, n, targets, temperature, seed, index }, signal);
  return clips.map((clip) => remember(model, point(clip), clip));
}

/** The source of a clip as a place of its own, free of how one came there: what corners, bends and favourites keep. */
export function point(clip) {
  if (clip.source?.from === "generate" || clip.source?.from === "notes") return clip.source;
  const { z, temperature, seed, index } = clip;
  return { from: "z", z, temperature, seed, index };
}

/** Take in a clip that came by another way, as favourites and files do. */
export const admit = (model, source, clip) => peek(model, source) ?? remember(model, source, clip);

/** A short name for a source: what captions, the history and file names say. */
export function nameOf(source) {
  if (!source) return "Nothing yet";
  if (source.from === "generate") return `Clip ${source.index + 1} of seed ${source.seed}`;
  if (source.from === "walk") return "On the way";
  if (source.from === "bend") return `${nameOf(source.of)}, bent`;
  if (source.from === "notes") return "Your music";
  const word = hueWord(source.z);
  return `${word[0].toUpperCase()}${word.slice(1)} point`;
}

/** A shorter one for a card of the favourites, which has little room. */
export const shortName = (source) => (source.from === "generate" ? `${source.seed}, ${source.index + 1}` : nameOf(source));
