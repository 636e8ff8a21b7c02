// The keyboard: what each key does, and the sheet that says so. One list serves both.

import { find, make } from "./dom.js";
import { load, save } from "./storage.js";

export function start(app) {
  const KEYS = [
    ["Space", "Play, pause", (event) => event.code === "Space", () => app.toggle()],
    ["K", "Play, pause, wherever the focus is", ["k"], () => app.toggle()],
    ["Esc", "Stop", ["Escape"], () => app.stop()],
    ["L", "Loop", ["l"], () => app.toggleLoop()],
    ["G", "Generate", ["g"], () => app.generate()],
    [
      "1–9",
      "A clip of the shelf",
      (event) => /^[1-9]$/.test(event.key),
      (event) => app.chooseByNumber(Number(event.key) - 1),
    ],
    ["[ ]", "The clip before, the next", ["[", "]"], (event) => app.chooseNext(event.key === "[" ? -1 : 1)],
    ["F", "Keep as a favourite", ["f"], () => app.stage.keep()],
    ["X", "Original or reconstruction", ["x"], () => app.compare()],
    ["?", "These keys", ["?"], () => sheet.showModal()],
  ];
  const sheet = find("#keys"),
    single = find("#single-keys");

  single.checked = load("single keys", true);
  single.addEventListener("change", () => save("single keys", single.checked));
  find("#help").addEventListener("click", () => sheet.showModal());
  const rows = [
    ...KEYS,
    ["Ctrl Z", "Undo; with Shift: redo"],
    ["← →", "On the roll: bar by bar. On the pad: your hand. On cards: from clip to clip"],
  ];
  find("#key-list").append(
    ...rows.flatMap(([keys, what]) => [
      make("dt", {}, ...keys.split(" ").map((key) => make("kbd", {}, key))),
      make("dd", {}, what),
    ]),
  );
  for (const button of document.querySelectorAll("[data-close]"))
    button.addEventListener("click", () => button.closest("dialog").close());
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside the sheet
  }

  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.defaultPrevented || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (isText(event.target)) return;
      const key = event.key.toLowerCase();
      const does = key === "z" ? (event.shiftKey ? app.redo : app.undo) : key === "y" ? app.redo : null;
      if (does) {
        event.preventDefault();
        does();
      }
      return;
    }
    if (isText(event.target) || !(single.checked || ["Space", "Escape"].includes(event.code))) return;
    if (event.target.tagName === "SELECT" || (event.code === "Space" && usesSpace(event.target))) return;
    const found = KEYS.find(([, , test]) =>
      typeof test === "function"
        ? test(event)
        : test.includes(event.key.length === 1 ? event.key.toLowerCase() : event.key),
    );
    if (!found || event.repeat) return;
    event.preventDefault();
    found[3](event);
  });
}

const isText = (node) => node.matches?.("input:not([type=range], [type=checkbox], [type=file]), textarea");
const usesSpace = (node) => node.matches?.("button, summary, input[type=checkbox], input[type=file], a");
