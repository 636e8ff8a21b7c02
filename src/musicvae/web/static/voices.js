// How instruments sound: each function returns one note as two channels of samples. Nothing here knows the browser.
//
// Strings are sums of damped sines. Real strings are stiff, so partial n lies a little above n times the fundamental
// (Fletcher 1964: f_n = n f √(1 + B n²)), and a piano's note decays twice: fast at first, then slowly (Weinreich 1977).

const frequency = (pitch) => 440 * 2 ** ((pitch - 69) / 12);

/** Add A·sin(2πft + phase), falling by 60 dB in `fall` seconds. A recurrence: two products a sample. */
function ring(samples, rate, f, amplitude, fall, phase = 0) {
  if (f >= rate * 0.45 || amplitude === 0) return;
  const w = (2 * Math.PI * f) / rate;
  const r = 10 ** (-3 / (fall * rate));
  const turn = 2 * r * Math.cos(w),
    damp = r * r;
  let before = (amplitude * Math.sin(phase - w)) / r;
  let now = amplitude * Math.sin(phase);
  const stop = Math.min(samples.length, Math.ceil(fall * rate * 1.4)); // 84 dB down nothing is heard
  for (let i = 0; i < stop; i++) {
    samples[i] += now;
    const next = turn * now - damp * before;
    before = now;
    now = next;
  }
}

/** Add noise that falls by 60 dB in `fall` seconds, between two frequencies. The noise is the same each time. */
function hiss(samples, rate, { amplitude, fall, low = 20, high = 18000, delay = 0, seed = 1 }) {
  const keepLow = Math.exp((-2 * Math.PI * high) / rate),
    keepHigh = Math.exp((-2 * Math.PI * low) / rate);
  const r = 10 ** (-3 / (fall * rate));
  let level = amplitude,
    dull = 0,
    slow = 0,
    state = seed * 2654435761 || 1;
  const stop = Math.min(samples.length, Math.ceil((delay + 1.2 * fall) * rate));
  for (let i = Math.round(delay * rate); i < stop; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5; // xorshift32
    dull += (1 - keepLow) * (state / 2 ** 31 - dull);
    slow += (1 - keepHigh) * (dull - slow);
    samples[i] += level * (dull - slow);
    level *= r;
  }
}

/** Begin and end at zero, with an even loudness: clicks come from edges. */
function finish(channels, rate, loudness, attack = 0.0012) {
  const count = Math.min(channels[0].length, Math.round(0.35 * rate));
  let power = 0;
  for (const samples of channels) for (let i = 0; i < count; i++) power += samples[i] ** 2;
  const gain = loudness / Math.sqrt(power / count / channels.length || 1);
  for (const samples of channels) {
    const rise = Math.round(attack * rate),
      fade = Math.round(0.25 * samples.length);
    for (let i = 0; i < samples.length; i++) samples[i] *= gain;
    for (let i = 0; i < rise; i++) samples[i] *= i / rise;
    for (let i = 1; i <= fade; i++) samples[samples.length - i] *= (i - 1) / fade;
  }
  return channels;
}

const blank = (seconds, rate) => [0, 1].map(() => new Float32Array(Math.ceil(seconds * rate)));

/** Low keys to the left, high ones to the right, as one sits at a piano; power stays the same. */
const sides = (pitch, width) => {
  const angle = (Math.PI / 4) * (1 + width * Math.max(-1, Math.min(1, (pitch - 62) / 46)));
  return [Math.cos(angle), Math.sin(angle)];
};

export function piano(pitch, rate) {
  const f = frequency(pitch);
  const place = (pitch - 21) / 87; // 0: lowest key, 1: highest
  const stiff = Math.max(1e-4, 3e-4 * 2 ** ((pitch - 60) / 10));
  const fall = Math.max(0.9, 16 * 2 ** (-(pitch - 21) / 22));
  const channels = blank(Math.min(5, fall * 1.1), rate);
  const pan = sides(pitch, 0.5);
  const partials = Math.min(26, Math.floor(9500 / f) + 1);
  for (let n = 1; n <= partials; n++) {
    const struck = Math.abs(Math.sin(Math.PI * n * 0.118)) + 0.06; // the hammer strikes an eighth of the string
    const amplitude = (struck * Math.exp(-(0.1 + 0.42 * place) * (n - 1))) / n ** 0.55;
    const fn = n * f * Math.sqrt(1 + stiff * n * n);
    const last = fall / (1 + 0.28 * (n - 1));
    channels.forEach((samples, side) => {
      const away = (side ? 1 : -1) * 2e-4; // strings of one key are never quite in tune: this is the width
      ring(samples, rate, fn * (1 + away), amplitude * 0.66 * pan[side], last * 0.4);
      ring(samples, rate, fn * (1 - 1.7 * away), amplitude * 0.34 * pan[side], last * 1.25);
    });
  }
  channels.forEach((samples, side) => {
    const felt = 0.16 * pan[side];
    hiss(samples, rate, { amplitude: felt * 1.5, fall: 0.05, low: 200, high: 900 + 3200 * place, seed: pitch + side });
    ring(samples, rate, 92 + side, felt * 0.5, 0.12);
  });
  return finish(channels, rate, 0.16 - 0.095 * place); // ears are keener on high notes
}

export function melody(pitch, rate) {
  const f = frequency(pitch);
  const channels = blank(4, rate);
  const pan = sides(pitch, 0.25);
  for (const [n, amplitude, fall] of [
    [1, 1, 7],
    [2, 0.34, 5],
    [3, 0.22, 3.4],
    [4, 0.05, 2],
    [5, 0.07, 1.6],
    [7, 0.05, 0.5],
    [11, 0.03, 0.2],
  ]) {
    channels.forEach((samples, side) => {
      ring(samples, rate, n * f * (side ? 1.0004 : 0.9996), amplitude * pan[side], fall);
    });
  }
  return finish(channels, rate, 0.13, 0.008);
}

export function bass(pitch, rate) {
  const f = frequency(pitch);
  const channels = blank(3.5, rate);
  for (let n = 1; n <= 12; n++) {
    for (const samples of channels)
      ring(samples, rate, n * f * Math.sqrt(1 + 6e-5 * n * n), Math.exp(-0.36 * (n - 1)), 5 / (1 + 0.6 * (n - 1)));
  }
  for (const samples of channels) hiss(samples, rate, { amplitude: 0.5, fall: 0.03, low: 300, high: 2500 });
  return finish(channels, rate, 0.2, 0.003);
}

/** Which drum a General MIDI pitch stands for; what is not named here sounds as its nearest kin. */
export function drumOf(pitch) {
  if (pitch <= 36) return pitch < 35 ? "snare" : "kick";
  if (pitch <= 40) return "snare";
  if ([42, 44, 54, 69, 70, 73, 80].includes(pitch)) return "hat";
  if ([46, 72, 74, 79, 81].includes(pitch)) return "open";
  if ([41, 43, 45, 61, 64].includes(pitch)) return "low";
  if ([47, 60, 63].includes(pitch)) return "mid";
  if ([48, 50, 62, 76].includes(pitch)) return "high";
  if ([49, 52, 55, 57].includes(pitch)) return "crash";
  if ([51, 53, 56, 59].includes(pitch)) return "ride";
  return "snare";
}

const METAL = [263, 400, 421, 474, 587, 845]; // inharmonic on purpose

const KIT = {
  kick(samples, rate) {
    let phase = 0;
    for (let i = 0; i < samples.length; i++) {
      const t = i / rate;
      phase += (2 * Math.PI * (46 + 150 * Math.exp(-t / 0.022))) / rate; // the skin slackens as it swings out
      samples[i] += Math.sin(phase) * Math.exp(-t / 0.11);
    }
    hiss(samples, rate, { amplitude: 0.9, fall: 0.012, low: 600, high: 5000 });
  },
  snare(samples, rate) {
    ring(samples, rate, 186, 0.5, 0.16);
    ring(samples, rate, 331, 0.25, 0.11);
    hiss(samples, rate, { amplitude: 1.3, fall: 0.24, low: 900, high: 9500 });
  },
  hat: (samples, rate) => hiss(samples, rate, { amplitude: 1, fall: 0.075, low: 7000 }),
  open: (samples, rate) => hiss(samples, rate, { amplitude: 1, fall: 0.5, low: 6000 }),
  low: (samples, rate) => tom(samples, rate, 92),
  mid: (samples, rate) => tom(samples, rate, 124),
  high: (samples, rate) => tom(samples, rate, 168),
  crash(samples, rate) {
    hiss(samples, rate, { amplitude: 1, fall: 1.9, low: 3500, high: 14000 });
    METAL.forEach((f, i) => ring(samples, rate, f * 4.1, 0.04, 1.4 - 0.1 * i));
  },
  ride(samples, rate) {
    hiss(samples, rate, { amplitude: 0.5, fall: 0.9, low: 6000, high: 14000 });
    METAL.forEach((f, i) => ring(samples, rate, f * 5.3, 0.07, 1.1 - 0.1 * i));
  },
};

function tom(samples, rate, f) {
  ring(samples, rate, f, 1, 0.5);
  ring(samples, rate, f * 1.52, 0.35, 0.3);
  hiss(samples, rate, { amplitude: 0.4, fall: 0.03, low: 300, high: 4000 });
}

const LOUDNESS = {
  kick: 0.3,
  snare: 0.13,
  hat: 0.035,
  open: 0.04,
  low: 0.17,
  mid: 0.17,
  high: 0.15,
  crash: 0.06,
  ride: 0.04,
};
const LENGTH = { kick: 0.5, crash: 2.2, ride: 1.2, open: 0.6, hat: 0.15 };
const PLACE = { hat: 0.35, open: 0.35, crash: -0.5, ride: 0.5, low: 0.4, mid: 0.1, high: -0.25, kick: 0, snare: 0 };

export function drum(kind, rate) {
  const channels = blank(LENGTH[kind] ?? 0.7, rate);
  channels.forEach((samples, side) => {
    KIT[kind](samples, rate);
    const gain = 1 + (side ? 1 : -1) * 0.6 * PLACE[kind];
    for (let i = 0; i < samples.length; i++) samples[i] *= gain;
  });
  return finish(channels, rate, LOUDNESS[kind], 0.0005);
}

/** The answer of a small wooden room, as an impulse response. */
export function room(rate) {
  const channels = blank(1.5, rate);
  channels.forEach((samples, side) => {
    hiss(samples, rate, { amplitude: 1, fall: 1.1, low: 180, high: 3800, delay: 0.012, seed: 7 + side });
    hiss(samples, rate, { amplitude: 1.4, fall: 0.25, low: 250, high: 6500, delay: 0.007, seed: 17 + side });
  });
  return finish(channels, rate, 0.02, 0.001);
}
