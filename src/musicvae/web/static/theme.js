// Light, dark, or as the system has it. The choice is kept in this browser.

import { renewPalette } from "./colour.js";
import { find, icon, label } from "./dom.js";
import { load, save } from "./storage.js";

const THEMES = ["auto", "light", "dark"];
const WORDS = { auto: "Light and dark as the system has it", light: "Light", dark: "Dark" };

/** Let the button go through the themes; `changed` redraws the pictures. */
export function start(changed) {
  const button = find("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let theme = load("theme", "auto");
  const apply = () => {
    const { dataset } = document.documentElement;
    dataset.theme = theme;
    dataset.shade = theme === "auto" ? (system.matches ? "dark" : "light") : theme;
    button.replaceChildren(icon(theme));
    label(button, `Theme: ${WORDS[theme]}`);
    renewPalette();
    changed();
  };
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    save("theme", theme);
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
