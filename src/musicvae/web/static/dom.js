// The few lines of DOM that every part of the page needs.

/** Find one element; a missing one is a mistake in index.html and says so. */
export function find(selector, root = document) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`index.html has no ${selector}`);
  return found;
}

/** Make an element: `make("button", {class: "quiet", onclick: f}, "Text", icon("play"))`. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** An icon of the sprite in index.html. It is decoration: the button around it has the name. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Say what a button does, to eyes that rest on it and to screen readers. */
export function label(node, text) {
  node.setAttribute("aria-label", text);
  node.title = text;
}

/** Save bytes as a file. */
export function download(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the browser reads it after the click
}

export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
