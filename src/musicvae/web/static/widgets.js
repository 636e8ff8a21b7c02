// Controls that HTML has no element for, with the keys that people expect of them (WAI-ARIA practices).

/** Buttons of which one is chosen. Arrow keys go round and choose. `chosen` is called with the index. */
export function choice(buttons, chosen, attribute = "aria-checked") {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  buttons.forEach((button, i) => {
    button.type = "button";
    button.addEventListener("click", () => chosen(i));
    button.addEventListener("keydown", (event) => {
      const to =
        event.key === "Home"
          ? 0
          : event.key === "End"
            ? buttons.length - 1
            : event.key in step
              ? (i + step[event.key] + buttons.length) % buttons.length
              : -1;
      if (to < 0) return;
      event.preventDefault();
      buttons[to].focus();
      chosen(to);
    });
  });
  /** Show which one is chosen; only that one is reached by Tab. */
  return (index) => {
    buttons.forEach((button, i) => {
      button.setAttribute(attribute, String(i === index));
      button.tabIndex = i === index || (index < 0 && i === 0) ? 0 : -1;
    });
  };
}

/** Set a range's value and paint its track up to there, from `origin` on. */
export function setRange(input, value, origin = Number(input.min)) {
  if (document.activeElement !== input || Number(input.value) !== Number(value)) input.value = value;
  const share = (at) => (100 * (at - input.min)) / (input.max - input.min);
  const [from, to] = [share(origin), share(Number(value))].sort((a, b) => a - b);
  input.style.setProperty("--from", `${from}%`);
  input.style.setProperty("--to", `${to}%`);
}

/** Follow a range: `moved` at every step, `ended` when the hand lets go. */
export function follow(input, moved, ended = () => {}) {
  input.addEventListener("input", () => moved(Number(input.value)));
  input.addEventListener("change", ended);
}
