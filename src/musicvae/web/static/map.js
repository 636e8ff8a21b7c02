// A small map of the plane that the colours come from: the clips of the shelf, the favourites, and the one on the stage.

import { hueOf, palette, placeOf } from "./colour.js";
import { find } from "./dom.js";
import { fit } from "./roll.js";

const EDGE = 2.9; // standard deviations at the border

export function start(app) {
  const canvas = find("#map");
  let dots = []; // {x, y, clip}

  const show = () => {
    if (!canvas.clientHeight) return;
    const { draw, width, height } = fit(canvas);
    const { dark, soft } = palette();
    const unit = Math.min(width, height) / 2 / EDGE;
    const at = (z) => {
      const [x, y] = placeOf(z);
      const within = Math.min(1, (EDGE - 8 / unit) / Math.hypot(x, y)); // those farther out stand at the border
      return [width / 2 + x * within * unit, height / 2 + y * within * unit];
    };
    draw.strokeStyle = soft;
    draw.globalAlpha = 0.28;
    draw.setLineDash([1, 4]);
    for (const ring of [1, 2]) {
      draw.beginPath();
      draw.arc(width / 2, height / 2, ring * unit, 0, 2 * Math.PI);
      draw.stroke();
    }
    draw.setLineDash([]);
    draw.globalAlpha = 1;
    const { model } = app.store.state;
    const shelf = app.shelf().filter((clip) => clip.z);
    const kept = app.favourites.clips.filter((clip) => clip.z && clip.model === model);
    dots = [
      ...kept.map((clip) => ({ clip, size: 4, hollow: true })),
      ...shelf.map((clip) => ({ clip, size: 5.5 })),
    ].map((dot) => {
      const [x, y] = at(dot.clip.z);
      return { ...dot, x, y };
    });
    for (const { x, y, clip, size, hollow } of dots) {
      const colour = `oklch(${dark ? 0.76 : 0.58} 0.125 ${hueOf(clip.z)})`;
      draw.beginPath();
      draw.arc(x, y, size, 0, 2 * Math.PI);
      draw.fillStyle = draw.strokeStyle = colour;
      draw.lineWidth = 1.6;
      if (hollow) draw.stroke();
      else draw.fill();
    }
    const here = app.stage.clip?.z;
    if (!here) return;
    draw.beginPath();
    draw.arc(...at(here), 10, 0, 2 * Math.PI);
    draw.strokeStyle = `oklch(${dark ? 0.8 : 0.45} 0.12 ${hueOf(here)})`;
    draw.lineWidth = 1.8;
    draw.stroke();
  };

  const under = (event) => {
    const box = canvas.getBoundingClientRect();
    const far = ({ x, y }) => Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y);
    const near = dots.filter((dot) => far(dot) < 14).sort((a, b) => far(a) - far(b));
    return near[0]?.clip;
  };
  canvas.addEventListener("pointermove", (event) => (canvas.style.cursor = under(event) ? "pointer" : "default"));
  canvas.addEventListener("click", (event) => {
    const clip = under(event);
    if (clip) app.choose(clip);
  });

  app.stage.addEventListener("change", show);
  app.favourites.addEventListener("change", show);
  app.redraws.push(show);
  app.store.addEventListener("change", show);
  document.addEventListener("shelf", show);
  new ResizeObserver(show).observe(canvas);
}
