// The piano roll: a picture of a clip, and above it, redrawn at each frame, what sounds at this moment.

import { hueOf, noteFill, palette } from "./colour.js";
import { DRUMS, DURATION, ONSET, PART, PITCH, VELOCITY, isBlackKey, keyRange, steps, stepsPerBar } from "./notes.js";
import { drumOf } from "./voices.js";

const DRUM_NAMES = {
  kick: "kick",
  snare: "snare",
  hat: "hi-hat",
  open: "open",
  low: "lo tom",
  mid: "mid tom",
  high: "hi tom",
  crash: "crash",
  ride: "ride",
};
const TRAIL = 70; // pixels of light behind the playhead
const FAMILY = "-apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif";
const FONT = `500 11px ${FAMILY}`,
  FONT_SMALL = `500 9px ${FAMILY}`;

/** Fit a canvas to its box and return its context, in CSS pixels. */
export function fit(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = Math.min(3, devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const draw = canvas.getContext("2d");
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.clearRect(0, 0, width, height);
  return { draw, width, height };
}

/** The part that a note's colour tells: where all notes are of one part, it need not be told. */
function colouring(clip) {
  const several = new Set(clip.notes.map((note) => note[PART])).size > 1;
  return (note) => (several ? note[PART] : 0);
}

/** Draw only the notes of a clip, as cards and corners show them. */
export function drawMiniature(canvas, clip) {
  const { draw, width, height } = fit(canvas);
  if (!clip || !width) return;
  const { dark } = palette();
  const [low, high] = keyRange(clip);
  const row = height / (high - low + 1),
    across = width / steps(clip),
    hue = hueOf(clip.z),
    part = colouring(clip);
  for (const note of clip.notes) {
    draw.fillStyle = noteFill(hue, note[VELOCITY], part(note), dark);
    draw.fillRect(
      note[ONSET] * across,
      (high - note[PITCH]) * row,
      Math.max(1.2, note[DURATION] * across - 0.6),
      Math.max(1.4, row - 0.4),
    );
  }
}

/** The large roll of the stage: keys, bars, notes and, below, how loud each is struck. */
export class Roll {
  #base;
  #top;
  #clip = null;
  #ghost = null;
  #range = [48, 72];
  #box = { left: 0, top: 0, width: 0, height: 0, lane: 0 };

  constructor(base, top) {
    this.#base = base;
    this.#top = top;
    new ResizeObserver(() => this.redraw()).observe(base);
  }

  /** Show a clip; `ghost` is drawn behind it in outline, what it was before. */
  show(clip, ghost = null) {
    if (clip === this.#clip && ghost === this.#ghost) return;
    this.#clip = clip;
    this.#ghost = ghost;
    this.redraw();
  }

  /** Step of the clip under a place of the page, or null beside the notes. */
  stepAt(clientX) {
    const { left, width } = this.#box;
    const share = (clientX - this.#base.getBoundingClientRect().left - left) / width;
    return this.#clip && share >= 0 && share <= 1 ? share * steps(this.#clip) : null;
  }

  redraw() {
    const { draw, width, height } = fit(this.#base);
    fit(this.#top);
    if (!width) return;
    const colours = palette();
    const small = height < 180;
    const lane = small ? 0 : 34;
    this.#box = {
      left: small ? 0 : 34,
      top: small ? 0 : 20,
      width: width - (small ? 0 : 34),
      height: height - (small ? 0 : 20) - lane,
      lane,
    };
    this.#range = keyRange(this.#clip, this.#ghost);
    const clip = this.#clip ?? { bars: 16, steps_per_beat: 4, beats_per_bar: 4, notes: [], z: null };
    this.#grid(draw, clip, colours);
    if (this.#ghost) this.#outline(draw, colours);
    this.#notes(draw, clip, colours);
    if (!small) this.#keys(draw, colours, new Map());
  }

  /** Draw what moves: the playhead at `step` (null: none) and, where this clip is `heard`, its notes and keys that sound. */
  frame(step, heard) {
    const { draw } = fit(this.#top);
    if (step === null || !this.#clip || !this.#box.width) return;
    const clip = this.#clip,
      colours = palette(),
      hue = hueOf(clip.z);
    const { left, top, width, height, lane } = this.#box;
    const x = left + (step / steps(clip)) * width;
    const sounding = new Map();
    for (const note of heard ? clip.notes : []) {
      const since = step - note[ONSET];
      if (since < 0 || since > note[DURATION]) continue;
      sounding.set(note[PITCH], note);
      const [nx, ny, nw, nh] = this.#place(note, clip);
      const glow = Math.max(0, 1 - since / clip.steps_per_beat); // just struck
      draw.fillStyle = `oklch(${colours.dark ? 0.95 : 0.3} 0.1 ${hue ?? 230} / ${0.25 + 0.75 * glow})`;
      this.#bar(draw, nx - glow * 1.5, ny - glow * 1.5, nw + glow * 3, nh + glow * 3);
    }
    const trail = Math.min(TRAIL, x - left),
      light = draw.createLinearGradient(x - TRAIL, 0, x, 0);
    const tint = `oklch(${colours.dark ? 0.85 : 0.5} 0.12 ${hue ?? 230}`;
    light.addColorStop(0, `${tint} / 0)`);
    light.addColorStop(1, `${tint} / 0.16)`);
    draw.fillStyle = light;
    draw.fillRect(x - trail, top, trail, height + lane);
    draw.fillStyle = heard ? colours.ink : colours.soft;
    draw.fillRect(x - 0.75, top, 1.5, height + lane);
    if (left) this.#keys(draw, colours, sounding, hue);
  }

  #place(note, clip) {
    const { left, top, width, height } = this.#box;
    const [low, high] = this.#range;
    const row = height / (high - low + 1),
      across = width / steps(clip);
    const length = Math.min(note[DURATION], steps(clip) - note[ONSET]);
    return [
      left + note[ONSET] * across + 0.5,
      top + (high - note[PITCH]) * row + 0.3,
      Math.max(2, length * across - 1),
      Math.max(2, row - 0.6),
    ];
  }

  #bar(draw, x, y, width, height) {
    draw.beginPath();
    draw.roundRect(x, y, width, height, Math.min(3.5, height / 2.4, width / 2));
    draw.fill();
  }

  #grid(draw, clip, colours) {
    const { left, top, width, height, lane } = this.#box;
    const [low, high] = this.#range;
    const row = height / (high - low + 1);
    draw.fillStyle = colours.back;
    draw.fillRect(left, top, width, height + lane);
    draw.fillStyle = colours.row;
    for (let pitch = low; pitch <= high; pitch++) {
      if (isBlackKey(pitch)) draw.fillRect(left, top + (high - pitch) * row, width, row);
    }
    const beats = clip.bars * clip.beats_per_bar;
    const every = width / clip.bars < 34 ? 4 : 1; // numbers need room
    draw.font = FONT;
    for (let beat = 0; beat <= beats; beat++) {
      const bar = beat % clip.beats_per_bar === 0;
      if (!bar && width / beats < 6) continue;
      const x = Math.round(left + (beat / beats) * width) - (beat === beats ? 1 : 0);
      draw.fillStyle = bar ? colours.bar : colours.beat;
      draw.fillRect(x, top, 1, height + lane);
      const number = beat / clip.beats_per_bar;
      if (top && bar && beat < beats && number % every === 0) {
        draw.fillStyle = colours.soft;
        draw.fillText(String(number + 1), x + 3, top - 6);
      }
    }
    if (lane) {
      draw.fillStyle = colours.bar;
      draw.fillRect(left, top + height, width, 1);
    }
  }

  #notes(draw, clip, colours) {
    const hue = hueOf(clip.z),
      part = colouring(clip),
      { top, height, lane } = this.#box;
    for (const note of clip.notes) {
      const [x, y, width, rows] = this.#place(note, clip);
      draw.fillStyle = noteFill(hue, note[VELOCITY], part(note), colours.dark);
      this.#bar(draw, x, y, width, rows);
      if (!lane) continue;
      const tall = 2 + ((lane - 7) * note[VELOCITY]) / 127;
      draw.fillRect(x, top + height + lane - tall, 2, tall);
    }
  }

  #outline(draw, colours) {
    draw.strokeStyle = colours.soft;
    draw.lineWidth = 1;
    draw.globalAlpha = 0.55;
    for (const note of this.#ghost.notes) {
      const [x, y, width, rows] = this.#place(note, this.#ghost);
      draw.beginPath();
      draw.roundRect(x + 0.5, y + 0.5, Math.max(1, width - 1), Math.max(1, rows - 1), 2);
      draw.stroke();
    }
    draw.globalAlpha = 1;
  }

  /** The keyboard at the left, with the keys down that sound. */
  #keys(draw, colours, sounding, hue) {
    const { left, top, height } = this.#box;
    const [low, high] = this.#range;
    const row = height / (high - low + 1);
    if (this.#clip?.notes.length && this.#clip.notes.every((note) => note[PART] === DRUMS)) {
      this.#drums(draw, colours, row);
      return;
    }
    const part = this.#clip ? colouring(this.#clip) : null;
    const down = (pitch) => noteFill(hue, sounding.get(pitch)[VELOCITY], part(sounding.get(pitch)), colours.dark);
    draw.fillStyle = colours.white;
    draw.fillRect(0, top, left - 2, height);
    draw.font = FONT_SMALL;
    draw.textBaseline = "middle";
    for (let pitch = low; pitch <= high; pitch++) {
      if (isBlackKey(pitch)) continue;
      const y = top + (high - pitch) * row;
      // A white key reaches half-way under the black ones beside it.
      const up = isBlackKey(pitch + 1) ? row / 2 : 0,
        under = isBlackKey(pitch - 1) ? row / 2 : 0;
      if (sounding.has(pitch)) {
        draw.fillStyle = down(pitch);
        draw.fillRect(0, y - up, left - 2, row + up + under);
      }
      draw.fillStyle = colours.slit;
      const fine = row < 4 && pitch % 12 !== 0; // lines so close would be a grey haze
      if (!fine) draw.fillRect(0, y + row + under - 0.5, left - 2, 1);
      if (pitch % 12 === 0 && row >= 5 && !sounding.has(pitch)) {
        draw.fillStyle = colours.slit;
        draw.fillText(`C${pitch / 12 - 1}`, left - 17, y + row / 2 + 0.5);
      }
    }
    for (let pitch = low; pitch <= high; pitch++) {
      if (!isBlackKey(pitch)) continue;
      draw.fillStyle = sounding.has(pitch) ? down(pitch) : colours.black;
      draw.fillRect(0, top + (high - pitch) * row + 0.4, 0.58 * left, Math.max(1, row - 0.8));
    }
    draw.textBaseline = "alphabetic";
  }

  /** Drums have names instead of keys. */
  #drums(draw, colours, row) {
    const { top } = this.#box;
    const high = this.#range[1];
    draw.font = FONT_SMALL;
    draw.fillStyle = colours.soft;
    draw.textBaseline = "middle";
    for (const pitch of new Set(this.#clip.notes.map((note) => note[PITCH]))) {
      draw.fillText(DRUM_NAMES[drumOf(pitch)], 1, top + (high - pitch + 0.5) * row);
    }
    draw.textBaseline = "alphabetic";
  }
}

/** Bar and beat of a step, counted from 1, as musicians count. */
export function barAndBeat(clip, step) {
  const within = Math.min(step, steps(clip) - 1e-6);
  const bar = Math.floor(within / stepsPerBar(clip));
  const beat = Math.floor((within - bar * stepsPerBar(clip)) / clip.steps_per_beat);
  return [bar + 1, beat + 1];
}
