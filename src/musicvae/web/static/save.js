// Take it home: MIDI and WAV files, and the link.

import * as api from "./api.js";
import { write } from "./address.js";
import { nameOf } from "./clips.js";
import { download } from "./dom.js";
import { fail, tell, toast } from "./say.js";

/** A file name of letters, digits and hyphens. */
const fileName = (text) =>
  text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");

/** Save clips, one after another in one file, at the tempo of the page. `kind` is "midi" or "wav". */
export async function saveClips(clips, kind, { tempo }, name = `${clips[0].model}-${nameOf(clips[0].source)}`) {
  const bare = clips.map(({ bars, steps_per_beat, beats_per_bar, notes }) => ({
    bars,
    steps_per_beat,
    beats_per_bar,
    notes,
    tempo,
  }));
  try {
    tell(kind === "wav" ? "Rendering sound" : "Writing MIDI");
    download(await api[kind](bare), `${fileName(name)}.${kind === "midi" ? "mid" : "wav"}`);
    tell("Saved");
  } catch (error) {
    fail(error);
  }
}

export const linkTo = (state) => `${location.origin}${location.pathname}#${write(state)}`;

export async function copyLink(state) {
  const link = linkTo(state);
  try {
    await navigator.clipboard.writeText(link);
    toast("Link copied.", { hint: "It brings back exactly this." });
  } catch {
    history.replaceState(null, "", link);
    toast("This browser does not let the page copy.", { hint: "The link stands in the address bar: copy it there." });
  }
}
