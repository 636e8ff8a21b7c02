// The player of a clip in a notebook, inside a frame of its own that lies over the picture of the piano roll. Follows
// the voices of the page (web/static/voices.js) in one module; CLIP = {notes, steps, perBar, seconds} comes before.
// A note is [onset, pitch, duration, velocity, part], in grid steps.

const AHEAD = 0.4; // seconds that notes are put down before they sound
const APART = 3; // semitones between recorded notes; those in between are played a little faster or slower
const RELEASE = [0.07, 0.06, 0.05, 0.2]; // seconds to a third, by part

const [button, slider, clock, head, roll] = ["play", "at", "clock", "head", "roll"].map((id) => document.getElementById(id));
const others = "BroadcastChannel" in window ? new BroadcastChannel("musicvae") : null; // one clip sounds at a time
const unit = CLIP.seconds / CLIP.steps;

let context, dry, wet, bus, timer, began = 0, next = 0; // `began`: when step 0 sounded or would have
const recordings = new Map();

function record(channels) {
  const buffer = new AudioBuffer({ numberOfChannels: 2, length: channels[0].length, sampleRate: context.sampleRate });
  channels.forEach((samples, i) => buffer.copyToChannel(samples, i));
  return buffer;
}

function recording(pitch, part) {
  const near = part === 3 ? drumOf(pitch) : Math.round(pitch / APART) * APART;
  const key = `${part} ${near}`;
  const make = () => (part === 3 ? drum(near, context.sampleRate) : [piano, melody, bass][part](near, context.sampleRate));
  if (!recordings.has(key)) recordings.set(key, record(make()));
  return [recordings.get(key), part === 3 ? 1 : 2 ** ((pitch - near) / 12)];
}

function strike([onset, pitch, duration, velocity, part]) {
  const [buffer, playbackRate] = recording(pitch, part);
  const when = Math.max(began + onset * unit, context.currentTime);
  const gain = new GainNode(context, { gain: 1.2 * (velocity / 127) ** 1.7 });
  const bright = part === 3 ? 20000 : 700 + 14000 * (velocity / 127) ** 2; // soft notes are dull, as of felt
  const source = new AudioBufferSourceNode(context, { buffer, playbackRate });
  source.connect(new BiquadFilterNode(context, { type: "lowpass", frequency: bright, Q: 0.2 })).connect(gain).connect(bus);
  source.start(when);
  if (part !== 3) {
    const end = when + Math.min(duration, CLIP.steps - onset) * unit;
    gain.gain.setTargetAtTime(0, end, RELEASE[part]);
    source.stop(end + 8 * RELEASE[part]);
  }
}

const step = () => (timer ? (context.currentTime - began) / unit : Number(slider.value));

function show() {
  const at = Math.max(0, Math.min(step(), CLIP.steps));
  const seconds = Math.floor(at * unit);
  if (timer) slider.value = at;
  slider.setAttribute("aria-valuetext", `bar ${Math.min(Math.floor(at / CLIP.perBar) + 1, CLIP.steps / CLIP.perBar)}`);
  clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  head.style.left = `${(100 * at) / CLIP.steps}%`;
  if (timer) requestAnimationFrame(show);
}

function putDown() {
  const horizon = (context.currentTime + AHEAD - began) / unit;
  while (next < CLIP.notes.length && CLIP.notes[next][0] < horizon) strike(CLIP.notes[next++]);
  if (step() >= CLIP.steps) {
    pause(false);
    slider.value = 0;
    show();
  }
}

async function play(from = Number(slider.value)) {
  if (!context) {
    context = new AudioContext();
    dry = new DynamicsCompressorNode(context, { threshold: -14, knee: 10, ratio: 6, attack: 0.003, release: 0.2 });
    wet = new ConvolverNode(context, { buffer: record(room(context.sampleRate)), disableNormalization: true });
    wet.connect(new GainNode(context, { gain: 0.08 })).connect(dry);
    dry.connect(context.destination);
  }
  pause();
  others?.postMessage("playing");
  bus = new GainNode(context);
  bus.connect(dry);
  bus.connect(wet);
  await Promise.race([context.resume(), new Promise((done) => setTimeout(done, 500))]); // no device: never resolves
  next = CLIP.notes.findIndex((note) => note[0] >= from - 1e-6);
  if (next < 0) next = CLIP.notes.length;
  began = context.currentTime + 0.1 - from * unit;
  timer = setInterval(putDown, 100);
  button.textContent = "❚❚";
  button.setAttribute("aria-label", "Pause");
  putDown();
  show();
}

function pause(fade = true) {
  if (!timer) return;
  slider.value = Math.max(0, step());
  clearInterval(timer);
  timer = undefined;
  if (fade) {
    const silent = bus;
    silent.gain.setTargetAtTime(0, context.currentTime, 0.02);
    setTimeout(() => silent.disconnect(), 200);
  }
  button.textContent = "▶";
  button.setAttribute("aria-label", "Play");
}

function seek(to) {
  const playing = Boolean(timer);
  pause();
  slider.value = to;
  if (playing) play();
  else show();
}

button.onclick = () => (timer ? pause() : play());
slider.oninput = () => seek(Number(slider.value));
roll.onpointerdown = (event) => seek((event.offsetX / roll.clientWidth) * CLIP.steps);
if (others) others.onmessage = () => pause();
button.disabled = !("AudioContext" in window);
show();
