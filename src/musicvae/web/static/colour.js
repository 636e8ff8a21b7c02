// Colour says where a clip lies in the latent space: near points have near hues, and a walk turns from one to another.

import { numbersOf } from "./notes.js";

const HOME = 178; // hue of the page while nothing is on the stage
const GOLDEN = 2.399963229728653; // golden angle: directions that no dimension shares with another

const places = new Map(); // of points that were met already

/** Where a point z lies in a fixed plane through the latent space, in standard deviations of the prior. */
export function placeOf(z) {
  if (!places.has(z)) {
    if (places.size > 3000) places.clear();
    const numbers = numbersOf(z);
    let x = 0,
      y = 0;
    numbers.forEach((value, i) => {
      x += value * Math.cos(i * GOLDEN);
      y += value * Math.sin(i * GOLDEN);
    });
    const spread = Math.sqrt(numbers.length / 2); // the cosines' squares add up to half of the dimensions
    places.set(z, [x / spread, y / spread]);
  }
  return places.get(z);
}

/** Hue (degrees) of a point: its angle in that plane. Music that has no point has no hue. */
export function hueOf(z) {
  if (!z) return null;
  const [x, y] = placeOf(z);
  return ((Math.atan2(y, x) * 180) / Math.PI + 360) % 360;
}

const WORDS = ["rose", "coral", "copper", "ochre", "olive", "fern", "jade", "teal", "azure", "blue", "violet", "plum"];

/** The hue of a point in a word, such as teal. */
export const hueWord = (z) => WORDS[Math.floor(((hueOf(z) + 15) % 360) / 30)];

/** Hue between two points (left, right) or four (top left, top right, bottom left, bottom right), at a place there. */
export function mixHues(points, [x, y = 0]) {
  const weights = points.length === 2 ? [1 - x, x] : [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y];
  let across = 0,
    up = 0;
  points.forEach((z, i) => {
    const place = z ? placeOf(z) : [0, 0];
    across += weights[i] * place[0];
    up += weights[i] * place[1];
  });
  return across || up ? ((Math.atan2(up, across) * 180) / Math.PI + 360) % 360 : HOME;
}

/** Let the whole instrument take the colour of what is on the stage. */
export function wear(hue) {
  const root = document.documentElement;
  const now = Number(root.style.getPropertyValue("--hue")) || HOME;
  const turn = (((((hue ?? HOME) - now) % 360) + 540) % 360) - 180; // the short way round
  root.style.setProperty("--hue", (now + turn).toFixed(1));
}

let colours = null;

/** Colours of the theme that pictures are drawn in. `renewPalette` after the theme has changed. */
export function palette() {
  return (colours ??= readPalette());
}

export const renewPalette = () => (colours = null);

function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    dark: document.documentElement.dataset.shade === "dark",
    row: read("--roll-row"),
    back: read("--roll-back"),
    beat: read("--roll-beat"),
    bar: read("--roll-bar"),
    ink: read("--ink"),
    soft: read("--ink-soft"),
    white: read("--key-white"),
    black: read("--key-black"),
    slit: read("--key-slit"),
  };
}

const SHIFT = [0, 0, 130, 240]; // hue of each part beside that of the clip: piano, melody, bass, drums

/** Fill of a note: the clip's hue (none: ink), deeper the louder. Every shade keeps 3:1 against the roll. */
export function noteFill(hue, velocity, part, dark) {
  const loud = Math.min(1, velocity / 118);
  const light = dark ? 0.55 + 0.33 * loud : 0.63 - 0.27 * loud;
  const chroma = hue == null ? 0.012 : dark ? 0.075 + 0.035 * loud : 0.07 + 0.07 * loud;
  return `oklch(${light.toFixed(3)} ${chroma.toFixed(3)} ${((hue ?? 230) + SHIFT[part]) % 360})`;
}
