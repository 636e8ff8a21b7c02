// Notes to a connected instrument or DAW, through Web MIDI where the browser has it. An output as synth.js describes.

import { DRUMS, PART, PITCH, VELOCITY } from "./notes.js";

const CHANNELS = [0, 1, 2, 9]; // of the parts; General MIDI has its drums on the tenth
const EARLY = 15; // milliseconds that a message is handed over before its time, which is then exact

export const supported = "requestMIDIAccess" in navigator;

/**
 * Ask for the instruments that are connected; `changed` is called with their names whenever that changes.
 * The result opens one by its id; `clock` tells the player's time in seconds.
 */
export async function connect(changed) {
  const access = await navigator.requestMIDIAccess();
  const tell = () => changed([...access.outputs.values()].map(({ id, name }) => ({ id, name })));
  access.onstatechange = tell;
  tell();
  return (id, clock) => new MidiOut(access.outputs.get(id), clock);
}

class MidiOut {
  #port;
  #clock;

  constructor(port, clock) {
    this.#port = port;
    this.#clock = clock;
  }

  play(note, when, seconds) {
    const channel = CHANNELS[note[PART]];
    const on = [0x90 | channel, note[PITCH], note[VELOCITY]];
    const off = [0x80 | channel, note[PITCH], 0];
    const begin = this.#send(on, when);
    const voice = { start: when, end: when + (note[PART] === DRUMS ? Math.min(seconds, 0.1) : seconds) };
    let finish = this.#send(off, voice.end);
    voice.release = (at) => {
      if (at >= voice.end) return;
      clearTimeout(finish);
      finish = this.#send(off, at);
      voice.end = at;
    };
    voice.cancel = () => [begin, finish].forEach(clearTimeout);
    return voice;
  }

  async warm() {}

  /** Hand a message over shortly before its time: what waits here can still be taken back. */
  #send(message, when) {
    const delay = 1000 * (when - this.#clock());
    const due = performance.now() + delay;
    return setTimeout(() => this.#port.send(message, due), Math.max(0, delay - EARLY));
  }
}
