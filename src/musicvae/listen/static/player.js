// A clip: play and pause, where it is, how much of it has been heard.

import { trouble } from "./api.js";
import { icon, label, make } from "./dom.js";
import { setRange } from "./widgets.js";

const time = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** Make a player for a promise of a clip. `changed` is called as it is heard, `begun` when it starts to play. */
export function player(name, clip, { changed, begun }) {
  const audio = new Audio();
  const go = make("button", { class: "go", type: "button", disabled: true });
  const seek = make("input", { type: "range", min: 0, max: 1, step: "any", value: 0, disabled: true, "aria-label": `Place in ${name.toLowerCase()}` });
  const shown = make("output", {}, "…");
  const title = name === "The clip" ? null : make("h3", {}, name);
  const node = make("div", { class: title ? "player named" : "player", role: "group", "aria-label": name }, go, title, seek, shown);

  const show = () => {
    const playing = !audio.paused;
    node.classList.toggle("on", playing);
    go.replaceChildren(icon(playing ? "pause" : "play"));
    label(go, `${playing ? "Pause" : "Play"} ${name.toLowerCase()}`);
    if (!Number.isFinite(audio.duration)) return;
    seek.max = audio.duration;
    setRange(seek, audio.currentTime);
    seek.setAttribute("aria-valuetext", `${time(audio.currentTime)} of ${time(audio.duration)}`);
    shown.textContent = `${time(audio.currentTime)} / ${time(audio.duration)}`;
  };
  go.addEventListener("click", () => {
    if (!audio.paused) audio.pause();
    else audio.play().catch((error) => error.name !== "AbortError" && trouble("The clip cannot be played. Try another browser."));
  });
  seek.addEventListener("input", () => (audio.currentTime = Number(seek.value)));
  audio.addEventListener("play", begun);
  for (const event of ["play", "pause", "ended", "timeupdate", "loadedmetadata", "seeked"]) audio.addEventListener(event, show);
  for (const event of ["timeupdate", "pause", "ended"]) audio.addEventListener(event, changed);
  audio.addEventListener("error", () => audio.src && trouble("The clip cannot be played. Try another browser."));
  show();

  let address = null;
  const ready = clip.then((blob) => {
    address = URL.createObjectURL(blob);
    audio.src = address;
    go.disabled = seek.disabled = false;
  });
  return {
    node,
    go,
    ready,
    pause: () => audio.pause(),
    /** Seconds of the clip that have been heard, each counted once. */
    heard: () => {
      let sum = 0;
      for (let i = 0; i < audio.played.length; i++) sum += audio.played.end(i) - audio.played.start(i);
      return sum;
    },
    close: () => {
      audio.pause();
      audio.removeAttribute("src");
      if (address) URL.revokeObjectURL(address);
    },
  };
}
