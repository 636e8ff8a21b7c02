// What this browser remembers. Private windows and full disks may refuse: then the page works on without.

const KEY = (name) => `musicvae.${name}`;

export function load(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(KEY(name))) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Return whether it was kept. */
export function save(name, value) {
  try {
    localStorage.setItem(KEY(name), JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}
