// The dock: play, stop, loop, tempo, where we are, how it sounds. It also drives everything that moves with the music.

import { find, icon, label, make } from "./dom.js";
import * as midiOut from "./midi-out.js";
import { barAndBeat } from "./roll.js";
import { steps } from "./notes.js";
import { fail, toast } from "./say.js";
import { load, save } from "./storage.js";
import { follow, setRange } from "./widgets.js";

export function start(app) {
  const { store, player, stage } = app;
  const play = find("#play"),
    loop = find("#loop"),
    position = find("#position");

  /** Play what is on the stage, from a step or from where it rests. */
  app.play = async (step) => {
    if (!stage.clip) return;
    await player.play(stage.clip, step);
    if (player.context.state !== "running")
      toast("This browser plays no sound.", { hint: "Is a sound device there, and the page not muted?", error: true });
  };
  app.toggle = () => (player.playing ? player.pause() : app.play());
  app.stop = () => player.stop();
  app.toggleLoop = () => store.patch({ loop: !store.state.loop });

  play.addEventListener("click", app.toggle);
  find("#stop").addEventListener("click", app.stop);
  loop.addEventListener("click", app.toggleLoop);

  // ------------------------------------------------------------------------------------------------ tempo, volume, entry
  const tempo = find("#tempo"),
    volume = find("#volume"),
    enter = find("#enter");
  follow(tempo, (value) => store.patch({ tempo: value }));
  const setVolume = (value) => {
    player.volume = value;
    setRange(volume, value);
    volume.setAttribute("aria-valuetext", `${Math.round(100 * value)} %`);
    save("volume", value);
  };
  follow(volume, setVolume);
  setVolume(load("volume", 0.8));
  enter.addEventListener("change", () => store.patch({ enter: enter.value }));
  const more = find("#more");
  more.addEventListener("click", () => {
    const open = find("#dock-more").classList.toggle("open");
    more.setAttribute("aria-expanded", String(open));
  });

  // ------------------------------------------------------------------------------------------------ where it sounds
  const output = find("#output");
  let open = null; // opens a MIDI port by its id
  if (midiOut.supported) output.append(make("option", { value: "ask" }, "MIDI instrument…"));
  else output.title = "This browser has no Web MIDI; Chrome, Edge and Firefox do.";
  output.addEventListener("change", async () => {
    if (output.value === "ask") {
      try {
        open = await midiOut.connect(showPorts);
        output.value = output.options[1].value === "ask" ? "" : output.options[1].value;
        if (!output.value)
          toast("No MIDI instrument is connected.", {
            hint: "Connect one, or open a virtual port to your DAW; it appears in the list.",
          });
      } catch (error) {
        output.value = "";
        if (error.name === "SecurityError" || error.name === "NotAllowedError")
          toast("The browser was told not to let this page use MIDI.", { error: true });
        else fail(error);
      }
    }
    await sendTo(output.value);
  });
  async function sendTo(id) {
    player.output = id && open ? open(id, () => player.now()) : null;
  }
  function showPorts(ports) {
    const before = output.value;
    output.replaceChildren(
      make("option", { value: "" }, "Built-in"),
      ...ports.map(({ id, name }) => make("option", { value: id }, name)),
      make("option", { value: "ask" }, "MIDI instrument…"),
    );
    output.value = ports.some(({ id }) => id === before) ? before : "";
    if (before && before !== "ask" && output.value === "") {
      player.output = null;
      toast("The MIDI instrument was taken away; the built-in sound plays.");
    }
  }

  // ------------------------------------------------------------------------------------------------ what moves
  const now = find("#now");
  const showPlaying = () => {
    play.replaceChildren(find(".ring", play), icon(player.playing ? "pause" : "play"));
    label(play, player.playing ? "Pause (Space)" : "Play (Space)");
    document.documentElement.classList.toggle("playing", player.playing);
    const { enter } = store.state;
    now.textContent = player.waiting ? `Enters at the next ${enter}` : "";
    if (player.playing) animate();
    else moment();
  };

  /** Show one moment of the music everywhere. */
  function moment() {
    const place = player.place();
    const clip = place.clip ?? stage.clip;
    stage.frame({ clip, step: place.step });
    for (const frame of app.frames) frame({ clip, step: place.step });
    if (!clip) return;
    const [bar, beat] = barAndBeat(clip, place.step);
    find("b", position).textContent = bar;
    position.childNodes[1].textContent = `.${beat}`;
    find("span", position).textContent = ` / ${clip.bars}`;
    play.style.setProperty("--at", Math.min(1, place.step / steps(clip)).toFixed(4));
  }

  let animating = false;
  function animate() {
    if (animating) return;
    animating = true;
    requestAnimationFrame(function next() {
      moment();
      animating = player.playing;
      if (animating) requestAnimationFrame(next);
    });
  }

  player.addEventListener("change", showPlaying);
  stage.addEventListener("change", () => {
    showPlaying();
    if (!player.playing) moment();
  });
  app.redraws.push(moment);
  store.addEventListener("change", () => {
    const { tempo: bpm, loop: looping, enter: at } = store.state;
    player.tempo = bpm;
    player.loop = looping;
    setRange(tempo, Math.min(240, Math.max(40, bpm)));
    find("#tempo-value").textContent = Math.round(bpm);
    loop.setAttribute("aria-pressed", String(looping));
    enter.value = at;
  });
}
