// The built-in instruments: voices.js as WebAudio, behind a gentle room and a limiter.
// This is one of two outputs; the other is midi-out.js. An output has `warm(notes)` and `play(note, when, seconds)`, which
// returns a voice with `start`, `end`, `release(at)` and `cancel()`.

import { DRUMS, PART, PITCH, VELOCITY } from "./notes.js";
import * as voices from "./voices.js";

const APART = 3; // semitones between recorded notes; those in between are played a little faster or slower
const MOST = 72; // voices at once
const RELEASE = [0.07, 0.06, 0.05, 0.2]; // seconds to a third, by part: piano, melody, bass, drums

export class Synth {
  #context;
  #buffers = new Map();
  #sounding = new Set();
  #bus;
  #volume;

  constructor(context, destination = context.destination) {
    this.#context = context;
    this.#bus = new GainNode(context, { gain: 0.9 });
    this.#volume = new GainNode(context, { gain: 0.8 });
    const room = new ConvolverNode(context, {
      buffer: this.#record(voices.room(context.sampleRate)),
      disableNormalization: true,
    });
    const wet = new GainNode(context, { gain: 0.08 }); // the room is some 14 dB below the instrument
    const even = new DynamicsCompressorNode(context, {
      threshold: -14,
      knee: 10,
      ratio: 6,
      attack: 0.003,
      release: 0.18,
    });
    const ceiling = new WaveShaperNode(context, { curve: softClip() }); // whatever comes, no sample leaves −1…1
    this.#bus.connect(even);
    this.#bus.connect(room).connect(wet).connect(even);
    even.connect(this.#volume).connect(ceiling).connect(destination);
  }

  set volume(share) {
    this.#volume.gain.setTargetAtTime(1.1 * share ** 2, this.#context.currentTime, 0.02);
  }

  /** Record what the notes need, a few milliseconds at a time, so that the first chord comes as prompt as the last. */
  async warm(notes) {
    for (const note of notes) {
      if (this.#buffers.has(this.#recordingOf(note).key)) continue;
      this.#bufferOf(note);
      await new Promise((done) => setTimeout(done));
    }
  }

  play(note, when, seconds) {
    const { buffer, rate } = this.#bufferOf(note);
    const part = note[PART];
    const loud = note[VELOCITY] / 127;
    const source = new AudioBufferSourceNode(this.#context, { buffer, playbackRate: rate });
    const gain = new GainNode(this.#context, { gain: loud ** 1.7 * 1.4 });
    let last = source;
    if (part !== DRUMS) {
      const f = 440 * 2 ** ((note[PITCH] - 69) / 12); // soft notes are dull, as of felt
      const brightness = Math.min(16000, 500 + f * (1.5 + 13 * loud ** 1.6) + 2500 * loud ** 2);
      last = source.connect(new BiquadFilterNode(this.#context, { type: "lowpass", frequency: brightness, Q: 0.2 }));
    }
    last.connect(gain).connect(this.#bus);
    source.start(when);
    const voice = new Voice(
      source,
      gain.gain,
      when,
      when + seconds,
      part !== DRUMS ? RELEASE[part] * (note[PITCH] > 88 ? 4 : 1) : null,
    );
    this.#sounding.add(voice);
    source.onended = () => {
      this.#sounding.delete(voice);
      gain.disconnect();
    };
    if (this.#sounding.size > MOST) this.#sounding.values().next().value.release(when, 0.02);
    return voice;
  }

  #recordingOf(note) {
    if (note[PART] === DRUMS) return { key: voices.drumOf(note[PITCH]), rate: 1 };
    const pitch = Math.round(note[PITCH] / APART) * APART;
    return { key: `${note[PART]} ${pitch}`, pitch, rate: 2 ** ((note[PITCH] - pitch) / 12) };
  }

  #bufferOf(note) {
    const { key, pitch, rate } = this.#recordingOf(note);
    if (!this.#buffers.has(key)) {
      const hz = this.#context.sampleRate;
      const instrument = [voices.piano, voices.melody, voices.bass][note[PART]];
      this.#buffers.set(key, this.#record(instrument ? instrument(pitch, hz) : voices.drum(key, hz)));
    }
    return { buffer: this.#buffers.get(key), rate };
  }

  #record(channels) {
    const buffer = new AudioBuffer({
      numberOfChannels: 2,
      length: channels[0].length,
      sampleRate: this.#context.sampleRate,
    });
    channels.forEach((samples, i) => buffer.copyToChannel(samples, i));
    return buffer;
  }
}

/** One note that sounds or will. It fades when it is let go, since a sudden stop would click. */
class Voice {
  #source;
  #gain;
  #fade;

  constructor(source, gain, start, end, fade) {
    Object.assign(this, { start, end });
    this.#source = source;
    this.#gain = gain;
    this.#fade = fade;
    if (fade !== null) this.#letGo(end, fade);
  }

  release(at, fade = this.#fade ?? 0.05) {
    if (at >= this.end && this.#fade !== null) return;
    this.#gain.cancelScheduledValues(at);
    this.#letGo(Math.max(at, this.start), fade);
    this.end = at;
  }

  /** Take back a note that has not begun. */
  cancel() {
    this.#source.stop(this.start);
  }

  #letGo(at, fade) {
    this.#gain.setTargetAtTime(0, at, fade);
    this.#source.stop(at + 8 * fade);
  }
}

/** Straight up to 0.7, then bending to 0.98. */
function softClip() {
  const knee = 0.7,
    top = 0.98,
    curve = new Float32Array(4097);
  for (let i = 0; i < curve.length; i++) {
    const x = i / 2048 - 1;
    const beyond = Math.max(0, Math.abs(x) - knee);
    curve[i] = Math.sign(x) * (Math.min(Math.abs(x), knee) + (top - knee) * Math.tanh(beyond / (top - knee)));
  }
  return curve;
}
