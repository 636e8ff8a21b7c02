// Walk: a hand between two or four clips. What lies between them is decoded wherever the hand is.

import { peek, point, resolve } from "./clips.js";
import { mixHues, palette } from "./colour.js";
import { find, make, reducedMotion } from "./dom.js";
import { drawMiniature, fit } from "./roll.js";
import { fail, tell } from "./say.js";
import { choice } from "./widgets.js";

const NAMES = ["A", "B", "C", "D"];
const DOTS = 15; // across the field
const TRAIL = 48; // places that the hand came by
const LARGE = 0.05,
  SMALL = 0.01; // of the way, for one press of an arrow key

export function start(app) {
  const { store } = app;
  const pad = find("#pad"),
    field = find("#field"),
    canvas = find("canvas", pad),
    hand = find(".hand", pad);

  const corners = NAMES.map((name, i) => {
    const mini = make("canvas", { class: "mini" });
    const button = make("button", { class: `corner corner-${i + 1}`, type: "button" }, make("b", {}, name), mini);
    button.addEventListener("click", async () => {
      const source = await app.pick(`A clip for ${store.state.walk.four ? "corner" : "end"} ${name}`);
      if (source) setCorner(i, source);
    });
    acceptCard(button, (source) => setCorner(i, source));
    field.append(button);
    return { button, mini };
  });

  const change = (part) => ({ walk: { ...store.state.walk, ...part } });
  const setCorner = (i, source) =>
    store.commit(`Corner ${NAMES[i]}`, change({ corners: store.state.walk.corners.with(i, source) }));
  const moveTo = ([x, y]) => {
    const at = [x, y].map((value) => Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000);
    store.commit("Walked", change({ at }), "walk");
  };

  const showShape = choice([find("#shape-pad"), find("#shape-line")], (i) => {
    store.commit(i === 0 ? "Four corners" : "Two ends", change({ four: i === 0 }));
    fillCorners();
  });
  find("#likeliest").addEventListener("change", (event) =>
    store.commit("Likeliest notes", change({ likeliest: event.target.checked })),
  );
  find("#corners-new").addEventListener("click", async () => {
    const clips = await app.newClips(4);
    if (clips) store.commit("New corners", change({ corners: clips.map(point) }));
  });

  // ------------------------------------------------------------------------------------------------ the hand
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pad.setPointerCapture(event.pointerId);
    pad.focus({ preventScroll: true });
    store.endGesture();
    pad.classList.add("held");
    moveTo(placeOf(event));
    if (!app.player.playing) app.play();
  });
  pad.addEventListener("pointermove", (event) => {
    if (pad.hasPointerCapture(event.pointerId)) moveTo(placeOf(event));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    pad.addEventListener(end, () => {
      pad.classList.remove("held");
      store.endGesture();
    });
  }
  pad.addEventListener("keydown", (event) => {
    const { at, four } = store.state.walk;
    const step = event.shiftKey ? SMALL : LARGE;
    const moves = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: four ? [0, -step] : [step, 0],
      ArrowDown: four ? [0, step] : [-step, 0],
      Home: [-1, 0],
      End: [1, 0],
      PageUp: [0, -1],
      PageDown: [0, 1],
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moveTo([at[0] + move[0], at[1] + move[1]]);
  });

  function placeOf(event) {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  // ------------------------------------------------------------------------------------------------ from elsewhere
  /** Empty corners are filled with what is at hand: the chosen clip first, then the shelf. */
  async function fillCorners() {
    const { walk, clip, model, mode } = store.state;
    const needed = walk.four ? 4 : 2;
    if (mode !== "walk" || walk.corners.slice(0, needed).every(Boolean)) return;
    const taken = new Set(walk.corners.map((source) => JSON.stringify(source)));
    const offered = [clip, ...app.shelf().map(point)].filter((source) => {
      const key = JSON.stringify(source);
      return source && source.from !== "notes" && !taken.has(key) && taken.add(key);
    });
    if (offered.length < walk.corners.filter((corner) => !corner).length) {
      const clips = await app.newClips(4);
      offered.push(...(clips ?? []).map(point));
    }
    if (store.state.model !== model) return;
    store.patch(change({ corners: store.state.walk.corners.map((corner) => corner ?? offered.shift() ?? null) }));
  }

  /** A clip that was chosen on the shelf takes the corner that the hand is nearest to, and the hand goes there. */
  app.placeCorner = (source) => {
    const {
      at: [x, y],
      four,
    } = store.state.walk;
    const right = x > 0.5 ? 1 : 0,
      low = four && y > 0.5 ? 1 : 0,
      i = right + 2 * low;
    store.commit(`Corner ${NAMES[i]}`, {
      clip: source,
      ...change({ corners: store.state.walk.corners.with(i, source), at: [right, four ? low : y] }),
    });
    tell(`Corner ${NAMES[i]} is set, and your hand is there.`);
  };
  app.walkFrom = (source) => {
    store.commit("A walk from your music", {
      mode: "walk",
      ...change({ corners: store.state.walk.corners.with(0, source), at: [0, 0] }),
    });
    fillCorners();
  };

  // ------------------------------------------------------------------------------------------------ the picture
  let shown = "",
    trail = [];
  const show = async () => {
    const { mode, model, walk } = store.state;
    if (mode !== "walk") return;
    const { four, at } = walk;
    showShape(four ? 0 : 1);
    find("#likeliest").checked = walk.likeliest;
    field.classList.toggle("line", !four);
    hand.style.left = `${100 * at[0]}%`;
    hand.style.top = four ? `${100 * at[1]}%` : "50%";
    const [right, down] = at.map((value) => Math.round(100 * value));
    pad.setAttribute("aria-valuenow", right);
    pad.setAttribute(
      "aria-valuetext",
      four ? `${right} % to the right, ${down} % down` : `${right} % of the way from A to B`,
    );
    const used = walk.corners.slice(0, four ? 4 : 2);
    const clips = used.map((source) => peek(model, source));
    const points = clips.map((clip) => clip?.z);
    const here = four ? at : [at[0], 0.5];
    if (here.join() !== trail.at(-1)?.join()) trail = [...trail.slice(-TRAIL), here];
    drawField(canvas, points, here, trail);
    hand.style.setProperty("--here", mixHues(points, at).toFixed(1));
    corners.forEach(({ button, mini }, i) => {
      button.hidden = i >= used.length;
      button.classList.toggle("empty", !used[i]);
      button.setAttribute(
        "aria-label",
        `${four ? "Corner" : "End"} ${NAMES[i]}: ${used[i] ? "choose another clip" : "choose a clip"}`,
      );
      if (!button.hidden) drawMiniature(mini, clips[i]);
    });
    const wanted = JSON.stringify([model, used]);
    if (clips.some((clip, i) => !clip && used[i]) && wanted !== shown) {
      shown = wanted; // ask once; what fails is told once
      await Promise.all(used.filter(Boolean).map((source) => resolve(model, source))).then(show, fail);
    }
  };
  store.addEventListener("change", show);
  app.redraws.push(show);
  app.enters.walk = fillCorners;
  app.frames.push(({ clip, step }) => {
    if (!clip || reducedMotion.matches) return;
    hand.style.setProperty("--beat", ((step / clip.steps_per_beat) % 1).toFixed(3)); // the hand breathes with the music
  });
  new ResizeObserver(show).observe(pad);
}

/** A field of dots, each in the colour of its place; they swell near the hand. Behind it, the way that it came. */
function drawField(canvas, points, [x, y], trail) {
  const { draw, width, height } = fit(canvas);
  const gap = width / DOTS,
    rows = Math.max(1, Math.round(height / gap));
  const { dark, ink } = palette();
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < DOTS; column++) {
      const at = [(column + 0.5) / DOTS, (row + 0.5) / rows];
      const near = Math.exp(-(((at[0] - x) * width) ** 2 + ((at[1] - y) * height) ** 2) / (2 * (0.16 * width) ** 2));
      const light = dark ? 0.44 + 0.38 * near : 0.8 - 0.27 * near;
      draw.fillStyle = `oklch(${light} ${0.055 + 0.065 * near} ${mixHues(points, at)})`;
      draw.beginPath();
      draw.arc(at[0] * width, at[1] * height, gap * (0.09 + 0.26 * near), 0, 2 * Math.PI);
      draw.fill();
    }
  }
  draw.strokeStyle = ink;
  draw.lineWidth = 1.5;
  for (let i = 1; i < trail.length; i++) {
    draw.globalAlpha = (0.5 * i) / trail.length; // older steps fade
    draw.beginPath();
    draw.moveTo(trail[i - 1][0] * width, trail[i - 1][1] * height);
    draw.lineTo(trail[i][0] * width, trail[i][1] * height);
    draw.stroke();
  }
  draw.globalAlpha = 1;
}

/** Let a card be dropped on an element. */
function acceptCard(element, dropped) {
  const TYPE = "application/x-musicvae";
  element.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes(TYPE)) return;
    event.preventDefault();
    element.classList.add("over");
  });
  for (const end of ["dragleave", "drop"]) element.addEventListener(end, () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    const text = event.dataTransfer.getData(TYPE);
    if (!text) return;
    event.preventDefault();
    dropped(JSON.parse(text));
  });
}
