// A sheet to choose a clip from: the stage, the shelf, the favourites, or a new one.

import { nameOf, point } from "./clips.js";
import { find, make } from "./dom.js";
import { describe } from "./notes.js";
import { drawMiniature } from "./roll.js";

export function start(app) {
  const sheet = find("#chooser");
  let answer = () => {};
  sheet.addEventListener("close", () => answer(null));

  /** Ask for a clip; the promise is null where none was wanted. */
  app.pick = (title) => {
    find("#chooser-title").textContent = title;
    const { model } = app.store.state;
    const here = app.stage.clip;
    const onStage = here?.z && !app.shelf().includes(here) ? [here] : [];
    const groups = [
      ["On the stage", onStage],
      ["On the shelf", app.shelf()],
      ["Favourites", app.favourites.clips.filter((clip) => clip.model === model && clip.z)],
    ].filter(([, clips]) => clips.length);
    find("#chooser-groups").replaceChildren(
      make(
        "button",
        { class: "quiet", type: "button", onclick: async () => choose((await app.newClips(1))?.[0]) },
        "A new one",
      ),
      ...groups.map(([name, clips]) =>
        make("section", {}, make("h3", {}, name), make("div", { class: "chooser-cards" }, ...clips.map(card))),
      ),
    );
    sheet.showModal();
    sheet
      .querySelectorAll("canvas")
      .forEach((canvas, i) => drawMiniature(canvas, groups.flatMap(([, clips]) => clips)[i]));
    return new Promise((done) => (answer = done));
  };

  const choose = (clip) => {
    if (!clip) return;
    const done = answer;
    answer = () => {};
    sheet.close();
    done(point(clip));
  };
  const card = (clip) =>
    make(
      "button",
      { type: "button", class: "chooser-card", title: describe(clip), onclick: () => choose(clip) },
      make("canvas", { class: "mini" }),
      make("span", {}, nameOf(clip.source)),
    );
}
