// The address's fragment ⇄ the state, so that a link brings back exactly what was heard. Settings are plain words;
// a source is one word with parts between ~:  g~seed~temperature~index   p~z~temperature~seed~index   n~packed notes

import { BEGINNING, ENTER, MODES } from "./state.js";
import { unpack } from "./notes.js";

/** Text of a source; walks and bends are written as fields of their own, never nested. */
function writeSource(source) {
  if (!source) return "";
  if (source.from === "generate") return ["g", source.seed, source.temperature, source.index].join("~");
  if (source.from === "notes") return `n~${source.packed}`;
  return ["p", source.z, source.temperature, source.seed, source.index ?? ""].join("~");
}

function readSource(text) {
  if (!text) return null;
  const [kind, ...parts] = text.split("~");
  if (kind === "g" && parts.length === 3) {
    return { from: "generate", seed: whole(parts[0]), temperature: within(parts[1], 0, 2), index: whole(parts[2], 63) };
  }
  if (kind === "n" && parts.length === 1) {
    unpack(parts[0]); // a damaged link is told now, not when it is to sound
    return { from: "notes", packed: parts[0] };
  }
  if (kind !== "p" || parts.length !== 4 || !/^[\w-]+$/.test(parts[0])) throw new RangeError(text);
  return {
    from: "z",
    z: parts[0],
    temperature: within(parts[1], 0, 2),
    seed: whole(parts[2]),
    index: parts[3] === "" ? null : whole(parts[3], 63),
  };
}

function within(text, low, high) {
  const number = Number(text);
  if (text.trim() === "" || !(number >= low && number <= high)) throw new RangeError(text);
  return number;
}

function whole(text, high = Number.MAX_SAFE_INTEGER, low = 0) {
  const number = within(text, low, high);
  if (!Number.isInteger(number)) throw new RangeError(text);
  return number;
}

const writeAmounts = (amounts) =>
  Object.entries(amounts)
    .map(([name, amount]) => `${name}~${amount}`)
    .join("~");

function readAmounts(text) {
  const parts = text ? text.split("~") : [];
  const amounts = {};
  for (let i = 0; i < parts.length; i += 2) amounts[parts[i]] = within(parts[i + 1] ?? "", -3, 3);
  return amounts;
}

/** The state as a fragment, without #. What is as in the beginning is left out. */
export function write(state) {
  const { settings, batch, walk, bend, bring } = state;
  const fields = {
    model: state.model,
    mode: state.mode,
    tempo: state.tempo,
    loop: state.loop ? "" : "off",
    enter: state.enter,
    settings: [settings.n, settings.temperature, settings.seed, settings.fresh ? "fresh" : "same"].join("~"),
    batch: !batch
      ? ""
      : batch.kind === "generate"
        ? ["g", batch.n, batch.temperature, batch.seed].join("~")
        : ["v", batch.n, batch.amount, batch.targets].join("~"),
    neighbours: batch?.kind === "vary" ? writeSource(batch.of) : "",
    clip: writeSource(state.clip),
    way: [walk.four ? "pad" : "line", ...walk.at, ...(walk.likeliest ? ["likeliest"] : [])].join("~"),
    bent: writeSource(bend.of),
    amounts: writeAmounts(bend.amounts),
    side: bring?.side,
    file: bring?.name,
    window: bring ? [bring.bar, bring.temperature].join("~") : "",
    original: bring?.packed,
    z: bring?.z,
  };
  walk.corners.forEach((corner, i) => (fields[`corner${i + 1}`] = writeSource(corner)));
  const kept = Object.entries(fields).filter(([, value]) => value !== "" && value != null);
  return kept.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
}

/** The state of a fragment. Raises RangeError, with the field's name as message, where it is damaged. */
export function read(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, "").replaceAll("+", "%2B"));
  const state = structuredClone(BEGINNING);
  const take = (name, change) => {
    const text = fields.get(name);
    if (text === null) return;
    try {
      change(text);
    } catch {
      throw new RangeError(name);
    }
  };
  const oneOf = (known, text) => {
    if (!known.includes(text)) throw new RangeError(text);
    return text;
  };
  take("model", (text) => (state.model = text));
  take("mode", (text) => (state.mode = oneOf(MODES, text)));
  take("tempo", (text) => (state.tempo = within(text, 20, 400)));
  take("loop", (text) => (state.loop = text !== "off"));
  take("enter", (text) => (state.enter = oneOf(ENTER, text)));
  take("settings", (text) => {
    const [n, temperature, seed, fresh] = text.split("~");
    state.settings = {
      n: whole(n, 64, 1),
      temperature: within(temperature, 0, 2),
      seed: whole(seed),
      fresh: fresh === "fresh",
    };
  });
  take("batch", (text) => {
    const [kind, n, second, third] = text.split("~");
    if (oneOf(["g", "v"], kind) === "g") {
      state.batch = { kind: "generate", n: whole(n, 64, 1), temperature: within(second, 0, 2), seed: whole(third) };
    } else {
      state.batch = { kind: "vary", of: null, n: whole(n, 64, 1), amount: within(second, 0, 1), targets: whole(third) };
      take("neighbours", (source) => (state.batch.of = readSource(source)));
      if (!state.batch.of) throw new RangeError(text);
    }
  });
  take("clip", (text) => (state.clip = readSource(text)));
  take("way", (text) => {
    const [shape, x, y, likeliest] = text.split("~");
    state.walk.four = oneOf(["pad", "line"], shape) === "pad";
    state.walk.at = [within(x, 0, 1), within(y, 0, 1)];
    state.walk.likeliest = likeliest === "likeliest";
  });
  state.walk.corners = state.walk.corners.map((corner, i) => {
    take(`corner${i + 1}`, (text) => (corner = readSource(text)));
    return corner;
  });
  take("bent", (text) => (state.bend.of = readSource(text)));
  take("amounts", (text) => (state.bend.amounts = readAmounts(text)));
  take("original", (packed) => {
    unpack(packed);
    state.bring = { name: fields.get("file") ?? "", bar: 0, packed, z: null, temperature: 0, side: "original" };
    take("side", (text) => (state.bring.side = oneOf(["original", "reconstruction"], text)));
    take("z", (text) => (state.bring.z = readSource(`p~${text}~0~0~`).z));
    take("window", (text) => {
      const [bar, temperature] = text.split("~");
      state.bring.bar = whole(bar);
      state.bring.temperature = within(temperature, 0, 2);
    });
    if (!state.bring.z) throw new RangeError("z");
  });
  return state;
}
