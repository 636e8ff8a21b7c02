// The shelf: clips as cards. It shows what was drawn last; in Keep, the favourites.

import { draw, nameOf, point, shortName } from "./clips.js";
import { find, icon, label, make } from "./dom.js";
import { describe, steps } from "./notes.js";
import { drawMiniature } from "./roll.js";
import { fail } from "./say.js";

export function start(app) {
  const { store, player, favourites } = app;
  const list = find("#cards");
  let clips = []; // what the cards show
  let shown = null; // what the cards were made from

  app.shelf = () => (store.state.mode === "keep" ? [] : clips);

  /** Put a clip on the stage, in the way of the mode that one is in. */
  app.choose = (clip, i) => {
    const source = point(clip);
    const { mode, model, bend } = store.state;
    const name = nameOf(source);
    if (clip.model !== model) {
      app.changeModel(clip.model, source);
    } else if (mode === "walk") {
      app.placeCorner(source);
    } else if (mode === "bend") {
      store.commit(`Bending ${name.toLowerCase()}`, { clip: source, bend: { ...bend, of: source } });
    } else {
      store.commit(i === undefined ? name : `Clip ${i + 1}`, {
        clip: source,
        mode: mode === "bring" ? "generate" : mode,
      });
    }
  };

  /** Draw a batch for others; null where that failed, which has been said then. */
  app.drawBatch = async (batch) => {
    try {
      return await app.during(draw(store.state.model, batch));
    } catch (error) {
      fail(error);
      return null;
    }
  };
  app.newClips = (n) =>
    app.drawBatch({
      kind: "generate",
      n,
      temperature: store.state.settings.temperature,
      seed: Math.floor(Math.random() * 1_000_000),
    });

  async function follow() {
    const { mode, model, batch } = store.state;
    if (!model) return;
    const key = mode === "keep" ? favourites.clips : JSON.stringify([model, batch]);
    if (key !== shown) {
      shown = key;
      if (mode === "keep") {
        build(favourites.clips);
      } else if (!batch) {
        build([]);
      } else {
        if (batch.n !== clips.length) skeletons(batch.n);
        try {
          const drawn = await draw(model, batch);
          if (shown === key) build(drawn);
        } catch (error) {
          if (shown === key) build([]);
          fail(error);
        }
      }
    }
    mark();
    words();
  }

  function build(newClips) {
    const focused = [...list.children].findIndex((card) => card.contains(document.activeElement));
    clips = newClips;
    list.replaceChildren(...clips.map(card));
    clips.forEach((clip, i) => drawMiniature(find("canvas", list.children[i]), clip));
    list.removeAttribute("aria-busy");
    document.dispatchEvent(new Event("shelf"));
    mark();
    words();
    if (focused >= 0)
      find(".card-main", list.children[Math.min(focused, clips.length - 1)] ?? find(".console")).focus?.();
  }

  function skeletons(n) {
    list.setAttribute("aria-busy", "true");
    list.replaceChildren(
      ...Array.from({ length: n }, () => make("li", { class: "card ghost", "aria-hidden": "true" })),
    );
  }

  function card(clip, i) {
    const keptHere = clip === favourites.clips[i];
    const name = keptHere ? shortName(clip.source) : `Clip ${i + 1}`;
    const length = keptHere ? `${clip.bars} bars` : `${clip.notes.length} notes`;
    const play = make(
      "button",
      { class: "bare card-play", type: "button", onclick: () => playCard(clip, i) },
      icon("play"),
    );
    const keep = make(
      "button",
      { class: "bare card-keep", type: "button", onclick: () => app.stage.keep(clip) },
      icon("heart"),
    );
    const main = make(
      "button",
      { class: "card-main", type: "button", draggable: "true", title: describe(clip) },
      make("canvas", { class: "mini" }),
      make("span", { class: "card-words" }, make("b", {}, name), " ", make("span", {}, length)),
    );
    label(play, `Play ${name.toLowerCase()}`);
    main.addEventListener("click", () => app.choose(clip, i));
    main.addEventListener("dblclick", () => playCard(clip, i));
    main.addEventListener("keydown", (event) => arrows(event, i));
    main.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData("application/x-musicvae", JSON.stringify(point(clip)));
      event.dataTransfer.effectAllowed = "copy";
    });
    return make("li", { class: "card" }, main, make("span", { class: "card-head", "aria-hidden": "true" }), play, keep);
  }

  async function playCard(clip, i) {
    if (player.playing && player.place().clip?.source === clip.source) {
      player.pause();
      return;
    }
    player.stop();
    app.choose(clip, i);
    await app.stage.arrived();
    app.play(0);
  }

  /** Arrow keys go from card to card, as on a keyboard of clips; they choose what they reach. */
  function arrows(event, i) {
    const across = getComputedStyle(list).gridTemplateColumns.split(" ").length;
    const to = {
      ArrowRight: i + 1,
      ArrowLeft: i - 1,
      ArrowDown: i + across,
      ArrowUp: i - across,
      Home: 0,
      End: clips.length - 1,
    }[event.key];
    if (to === undefined || to < 0 || to >= clips.length) return;
    event.preventDefault();
    find(".card-main", list.children[to]).focus();
    app.choose(clips[to], to);
  }
  app.chooseByNumber = (i) => clips[i] && app.choose(clips[i], i);
  app.chooseNext = (way) => {
    const at = clips.findIndex(chosen);
    const to = (at + way + clips.length) % clips.length;
    if (clips.length) app.choose(clips[to], to);
  };

  const chosen = (clip) =>
    JSON.stringify(point(clip)) === JSON.stringify(store.state.clip) && clip.model === store.state.model;

  /** Show which card is chosen and which are kept. */
  function mark() {
    const any = clips.some(chosen);
    clips.forEach((clip, i) => {
      const card = list.children[i],
        main = find(".card-main", card),
        on = chosen(clip);
      card.classList.toggle("on", on);
      main.setAttribute("aria-pressed", String(on));
      for (const button of card.querySelectorAll("button")) button.tabIndex = on || (!any && i === 0) ? 0 : -1;
      const keep = find(".card-keep", card),
        kept = favourites.has(clip);
      keep.setAttribute("aria-pressed", String(kept));
      label(keep, kept ? "Kept; let it go" : "Keep");
    });
  }

  function words() {
    const { mode, batch } = store.state;
    const hints = {
      walk: "A clip chosen here takes the corner nearest to your hand.",
      bend: "A clip chosen here is bent the same way.",
    };
    find("#shelf-title").textContent = mode === "keep" ? "Favourites" : batch?.kind === "vary" ? "Neighbours" : "Clips";
    find("#shelf-facts").textContent =
      hints[mode] ??
      (mode === "keep" || !batch
        ? ""
        : batch.kind === "vary"
          ? `${batch.n} at a distance of ${batch.amount}`
          : `seed ${batch.seed}, temperature ${batch.temperature}`);
    const empty = find("#shelf-empty");
    empty.hidden = clips.length > 0 || list.getAttribute("aria-busy") === "true";
    empty.textContent =
      mode === "keep"
        ? "No favourites yet. The heart on a clip, or F, keeps it here."
        : "No clips yet. Generate draws some.";
  }

  /** At each frame: where the chosen card is being played. */
  app.frames.push(({ clip, step }) => {
    clips.forEach((one, i) => {
      const here = player.playing && clip?.source === one.source;
      const card = list.children[i];
      if (!card) return;
      card.classList.toggle("playing", here);
      if (here) find(".card-head", card).style.setProperty("--at", (step / steps(one)).toFixed(4));
    });
  });
  app.redraws.push(() =>
    clips.forEach((clip, i) => list.children[i] && drawMiniature(find("canvas", list.children[i]), clip)),
  );
  new ResizeObserver(() => app.redraws.at(-1)()).observe(list);

  store.addEventListener("change", follow);
  favourites.addEventListener("change", follow);
  document.addEventListener("back", () => {
    if (!clips.length) shown = null;
    follow();
  });
}
