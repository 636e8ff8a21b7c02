// Keep: history, favourites, files, the link.

import { find, label, make } from "./dom.js";
import { copyLink, saveClips } from "./save.js";
import { tell } from "./say.js";

export function start(app) {
  const { store, favourites } = app;
  const undo = find("#undo"),
    redo = find("#redo"),
    list = find("#history");

  app.undo = () => step(-1);
  app.redo = () => step(1);
  function step(way) {
    const { labels, at } = store.history;
    if (labels[at + way] === undefined) return;
    if (way < 0) store.undo();
    else store.redo();
    tell(way < 0 ? `Undone: ${labels[at]}` : `Again: ${labels[at + 1]}`);
  }
  undo.addEventListener("click", app.undo);
  redo.addEventListener("click", app.redo);
  for (const id of ["#copy-link", "#keep-link"]) find(id).addEventListener("click", () => copyLink(store.state));
  for (const kind of ["midi", "wav"]) {
    find(`#keep-all-${kind}`).addEventListener("click", () =>
      app.during(saveClips(favourites.clips, kind, store.state, app.limits, "musicvae favourites")),
    );
  }

  const show = () => {
    const { labels, at } = store.history;
    undo.disabled = at === 0;
    redo.disabled = at === labels.length - 1;
    label(undo, at === 0 ? "Undo" : `Undo: ${labels[at]}`);
    label(redo, redo.disabled ? "Redo" : `Redo: ${labels[at + 1]}`);
    for (const kind of ["midi", "wav"]) find(`#keep-all-${kind}`).disabled = favourites.clips.length === 0;
    if (store.state.mode !== "keep") return;
    const focused = list.contains(document.activeElement);
    list.replaceChildren(
      ...labels
        .map((text, i) =>
          make(
            "li",
            {},
            make(
              "button",
              {
                type: "button",
                class: i > at ? "undone" : "",
                "aria-current": i === at ? "step" : false,
                onclick: () => store.go(i),
              },
              text,
            ),
          ),
        )
        .reverse(),
    );
    if (focused) find("[aria-current]", list).focus();
  };
  store.addEventListener("change", show);
  favourites.addEventListener("change", show);
}
