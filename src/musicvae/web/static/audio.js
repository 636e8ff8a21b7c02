// The player: puts the notes of a clip on the clock of the sound card, a little ahead of time, so that they sound to the
// sample where they belong, whatever else the page is doing. Another clip may take over at any bar, beat or at once.

import { DURATION, ONSET, secondsPerStep, steps, stepsPerBar } from "./notes.js";
import { Synth } from "./synth.js";

const AHEAD = 0.11; // seconds that notes are put down before they sound
const AHEAD_HIDDEN = 1.6; // of a page in the background, whose timers come once a second
const TICK = 25; // milliseconds between looks at the clock
const MARGIN = 0.02; // seconds; nothing is put down closer to now than this

export class Player extends EventTarget {
  playing = false;
  scheduled = 0; // notes put down since the page was opened; tests count them
  #context = null;
  #synth = null;
  #output = null; // what plays instead of the synth, if anything
  #clip = null;
  #next = null; // {clip, at: "bar" | "beat"}: what takes over
  #tempo = 120;
  #loop = true;
  #volume = 0.8;
  #rest = 0; // step to begin at
  #cursor = { step: 0, time: 0 }; // the next step to put down, and when it sounds
  #marks = []; // {time, step, clip, tempo}: where time runs on from, oldest first
  #voices = new Set();
  #timer = null;

  get context() {
    return this.#context;
  }

  get clip() {
    return this.#clip;
  }

  /** True while another clip waits for its bar. */
  get waiting() {
    return this.#next !== null;
  }

  set tempo(tempo) {
    if (tempo === this.#tempo) return;
    const at = this.now() + MARGIN;
    const place = this.playing ? this.#placeAt(at) : null;
    this.#tempo = tempo;
    if (place) this.#continue(place.clip, place.step, at);
  }

  set loop(loop) {
    this.#loop = loop;
  }

  set volume(share) {
    this.#volume = share;
    if (this.#synth) this.#synth.volume = share;
  }

  /** Play through another output (midi-out.js), or null for the built-in instruments. */
  set output(output) {
    this.#letGo(this.now());
    this.#output = output;
    if (this.playing) this.#continue(this.#clip, this.place().step, this.now() + MARGIN);
  }

  /** Begin, from a step or where it was paused. Only a click or a key may do this: browsers ask for it. */
  async play(clip, step = this.#rest) {
    if (!this.#context) {
      this.#context = new AudioContext({ latencyHint: "interactive" });
      this.#synth = new Synth(this.#context);
      this.#synth.volume = this.#volume;
    }
    const enough = new Promise((done) => setTimeout(done, 500)); // without a sound device, it never resumes
    await Promise.race([this.#context.resume(), enough]);
    this.#next = null;
    this.playing = true;
    this.#continue(clip, step < steps(clip) ? step : 0, this.now() + MARGIN + 0.03);
    this.#timer ??= setInterval(() => this.#putDown(), TICK);
    this.#changed();
  }

  pause() {
    const { step } = this.place();
    this.#halt();
    this.#rest = step;
    this.#changed();
  }

  stop() {
    this.#halt();
    this.#rest = 0;
    this.#changed();
  }

  /** Go to a step, playing or not. */
  seek(step) {
    this.#rest = step;
    if (this.playing) this.#continue(this.#clip, step, this.now() + MARGIN);
    this.#changed();
  }

  /** Let another clip take over without a break: at the next bar, the next beat or now. */
  swap(clip, at = "bar") {
    if (!this.playing || clip === this.#clip) {
      this.#next = null;
      if (!this.playing) this.#clip = clip;
      this.#changed();
      return;
    }
    this.#synth?.warm(clip.notes);
    if (at === "now") {
      this.#next = null;
      const when = this.now() + MARGIN;
      this.#continue(clip, this.#placeAt(when).step % steps(clip), when);
    } else {
      this.#next = { clip, at };
    }
    this.#changed();
  }

  /** What is heard at this moment: the clip, and the step with its fraction. */
  place() {
    if (!this.playing) return { clip: this.#clip, step: this.#rest };
    return this.#placeAt(this.now() - (this.#context.outputLatency || 0));
  }

  /** Get the sounds of a clip ready, if there is a sound card yet. */
  warm(clip) {
    this.#synth?.warm(clip.notes);
  }

  /** Seconds on the clock of the sound card. */
  now() {
    return this.#context?.currentTime ?? 0;
  }

  #placeAt(time) {
    const mark = this.#marks.findLast((m) => m.time <= time) ?? this.#marks[0];
    const ran = Math.max(0, time - mark.time) / secondsPerStep(mark.clip, mark.tempo);
    return { clip: mark.clip, step: mark.step + ran };
  }

  /** From `time` on, play `clip` from `step`: what was put down beyond is taken back, what sounds is let go. */
  #continue(clip, step, time) {
    this.#letGo(time);
    this.#marks = this.#marks.filter((m) => m.time < time);
    if (clip !== this.#clip) this.#next = null;
    this.#begin(clip, step, time);
    const first = Math.ceil(step - 1e-6);
    this.#cursor = { step: first, time: time + (first - step) * secondsPerStep(clip, this.#tempo) };
    this.#putDown();
  }

  /** Note that time runs on from here in this clip, and strike what should be sounding in it already. */
  #begin(clip, step, time) {
    this.#clip = clip;
    this.#mark(time, step);
    const unit = secondsPerStep(clip, this.#tempo);
    for (const note of clip.notes) {
      const left = note[ONSET] + note[DURATION] - step;
      if (note[ONSET] < step - 1e-6 && left >= clip.steps_per_beat) this.#strike(note, time, left * unit);
    }
  }

  #putDown() {
    const horizon = this.now() + (document.hidden ? AHEAD_HIDDEN : AHEAD);
    if (this.playing && this.#cursor.step < steps(this.#clip) && this.#cursor.time < this.now()) this.#catchUp();
    while (this.playing && this.#cursor.time < horizon) {
      if (this.#cursor.step >= steps(this.#clip) && !this.#wrap()) break;
      this.#takeOver();
      const { step, time } = this.#cursor;
      const unit = secondsPerStep(this.#clip, this.#tempo);
      for (const note of notesAt(this.#clip, step)) {
        this.#strike(note, time, Math.min(note[DURATION], steps(this.#clip) - step) * unit);
      }
      this.#cursor = { step: step + 1, time: time + unit };
    }
    const now = this.now();
    for (const voice of this.#voices) if (voice.end + 1 < now) this.#voices.delete(voice);
  }

  /** The page was held up: go on from here, late, rather than play at once all that was missed. */
  #catchUp() {
    this.#cursor.time = this.now() + MARGIN;
    this.#mark(this.#cursor.time, this.#cursor.step);
  }

  /** Note that from `time` on, time runs from `step` of this clip. */
  #mark(time, step) {
    this.#marks = [...this.#marks.slice(-8), { time, step, clip: this.#clip, tempo: this.#tempo }];
  }

  /** The end of the clip: begin again, or stop when the last note has sounded. */
  #wrap() {
    if (this.#loop || this.#next) {
      this.#cursor.step = 0;
      this.#mark(this.#cursor.time, 0);
      return true;
    }
    if (this.now() >= this.#cursor.time) {
      this.stop();
      this.dispatchEvent(new Event("end"));
    }
    return false;
  }

  /** If a clip waits for this bar or beat, it takes over here. */
  #takeOver() {
    if (!this.#next) return;
    const { clip, at } = this.#next;
    const { step, time } = this.#cursor;
    if (step % (at === "bar" ? stepsPerBar(this.#clip) : this.#clip.steps_per_beat)) return;
    this.#next = null;
    this.#letGo(time);
    this.#cursor.step = step % steps(clip);
    this.#begin(clip, this.#cursor.step, time);
    this.#changed();
  }

  #strike(note, time, seconds) {
    this.#voices.add((this.#output ?? this.#synth).play(note, time, seconds));
    this.scheduled += 1;
  }

  #letGo(time) {
    for (const voice of this.#voices) {
      if (voice.start >= time) {
        voice.cancel();
        this.#voices.delete(voice);
      } else {
        voice.release(time);
      }
    }
  }

  #halt() {
    if (this.playing) this.#letGo(this.now() + 0.005);
    this.playing = false;
    this.#next = null;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

const byStep = new WeakMap(); // clip → Map of step → notes

function notesAt(clip, step) {
  if (!byStep.has(clip)) {
    const found = new Map();
    for (const note of clip.notes) {
      if (!found.has(note[ONSET])) found.set(note[ONSET], []);
      found.get(note[ONSET]).push(note);
    }
    byStep.set(clip, found);
  }
  return byStep.get(clip).get(step) ?? [];
}
