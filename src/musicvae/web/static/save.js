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

/** Split clips into groups that the server takes at once. */
function groups(clips, kind, tempo, limits) {
  const most = { clips: limits.n, ...(kind === "wav" ? { seconds: limits.seconds, notes: limits.sound_notes } : {}) };
  const found = [];
  let sums = null;
  for (const clip of clips) {
    const own = { clips: 1, seconds: (clip.bars * clip.beats_per_bar * 60) / tempo, notes: clip.notes.length };
    const full = sums && Object.entries(most).some(([what, limit]) => sums[what] + own[what] > limit);
    if (!sums || full) {
      found.push([]);
      sums = { clips: 0, seconds: 0, notes: 0 };
    }
    found.at(-1).push(clip);
    for (const what in own) sums[what] += own[what];
  }
  return found;
}

/**
 * Save clips, one after another in one file, at the tempo of the page; in several where they are too long for one.
 * `kind` is "midi" or "wav".
 */
export async function saveClips(clips, kind, { tempo }, limits, name = `${clips[0].model}-${nameOf(clips[0].source)}`) {
  const bare = clips.map(({ bars, steps_per_beat, beats_per_bar, notes }) => ({
    bars,
    steps_per_beat,
    beats_per_bar,
    notes,
    tempo,
  }));
  try {
    tell(kind === "wav" ? "Rendering sound" : "Writing MIDI");
    const parts = groups(bare, kind, tempo, limits);
    for (const [i, part] of parts.entries()) {
      const number = parts.length > 1 ? ` ${i + 1} of ${parts.length}` : "";
      download(await api[kind](part), `${fileName(name + number)}.${kind === "midi" ? "mid" : "wav"}`);
    }
    if (parts.length > 1) toast(`Saved as ${parts.length} files.`, { hint: "They are too long for one." });
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
