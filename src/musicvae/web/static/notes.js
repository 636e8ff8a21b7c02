// Clips as music: time, pitch, what two have in common, and notes as text short enough for a link.
// A note is [onset, duration, pitch, velocity, part]; onset and duration in grid steps.

export const ONSET = 0,
  DURATION = 1,
  PITCH = 2,
  VELOCITY = 3,
  PART = 4;
export const DRUMS = 3; // index into `parts` of the API

export const stepsPerBar = (clip) => clip.steps_per_beat * clip.beats_per_bar;
export const steps = (clip) => clip.bars * stepsPerBar(clip);
export const secondsPerStep = (clip, tempo) => 60 / tempo / clip.steps_per_beat;

const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
export const pitchName = (pitch) => NAMES[pitch % 12] + (Math.floor(pitch / 12) - 1);
export const isBlackKey = (pitch) => [1, 3, 6, 8, 10].includes(pitch % 12);

/** Lowest and highest key to draw: all notes of the clips and a margin, two octaves at least. */
export function keyRange(...clips) {
  let low = 127,
    high = 0;
  for (const clip of clips) {
    for (const note of clip?.notes ?? []) {
      low = Math.min(low, note[PITCH]);
      high = Math.max(high, note[PITCH]);
    }
  }
  if (low > high) [low, high] = [48, 72];
  const lacking = Math.max(0, 24 - (high - low));
  low = Math.max(0, low - 2 - Math.floor(lacking / 2));
  return [low, Math.min(127, Math.max(high + 2 + Math.ceil(lacking / 2), low + 24))];
}

/** One sentence for screen readers and captions. */
export function describe(clip) {
  if (!clip.notes.length) return `silence of ${clip.bars} bars`;
  const pitched = clip.notes.filter((note) => note[PART] !== DRUMS).map((note) => note[PITCH]);
  const range = pitched.length ? `, ${pitchName(Math.min(...pitched))} to ${pitchName(Math.max(...pitched))}` : "";
  return `${clip.notes.length} notes in ${clip.bars} bars${range}`;
}

const base64 = (bytes) =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
const bytesOf = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

/** A point z of the API as numbers. */
export function numbersOf(z) {
  const bytes = bytesOf(z);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** Music that no point stands for, as text: numbers of 7 bits a byte, so that most take one. */
export function pack(clip) {
  const bytes = [];
  const put = (number) => {
    for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128);
    bytes.push(number);
  };
  [clip.bars, clip.steps_per_beat, clip.beats_per_bar, Math.round(clip.tempo * 100)].forEach(put);
  let before = 0;
  for (const [onset, ...rest] of clip.notes) {
    [onset - before, ...rest].forEach(put);
    before = onset;
  }
  return base64(bytes);
}

/** The clip that `pack` made the text from; raises RangeError for any other text. */
export function unpack(text) {
  let bytes;
  try {
    bytes = bytesOf(text);
  } catch {
    throw new RangeError("not packed notes");
  }
  let at = 0;
  const take = () => {
    let number = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      if (at >= bytes.length) throw new RangeError("packed notes end too early");
      const byte = bytes[at++];
      number |= (byte & 127) << shift;
      if (byte < 128) return number;
    }
    throw new RangeError("a packed number is too long");
  };
  const clip = { bars: take(), steps_per_beat: take(), beats_per_bar: take(), tempo: take() / 100, notes: [] };
  let onset = 0;
  while (at < bytes.length) {
    onset += take();
    const note = [onset, take(), take(), take(), take()];
    const [, duration, pitch, velocity, part] = note;
    if (onset >= steps(clip) || duration < 1 || pitch > 127 || velocity < 1 || velocity > 127 || part > DRUMS) {
      throw new RangeError("packed notes are out of range");
    }
    clip.notes.push(note);
  }
  return { ...clip, z: null, temperature: null, seed: null, index: null };
}
