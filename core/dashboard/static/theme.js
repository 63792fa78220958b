// Dark or light: as the system has it, until the button says otherwise. Pictures on canvas ask here for their colours.

const KEY = "studio-theme";
const root = document.documentElement;
const listeners = new Set();

export function startTheme(button) {
  try {
    if (localStorage.getItem(KEY)) root.dataset.theme = localStorage.getItem(KEY);
  } catch {
    // storage is off in this browser: the choice lasts as long as the page
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
  button?.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      // as above
    }
    announce();
  });
}

export function onTheme(listener) {
  listeners.add(listener);
}

export function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// A custom property of studio.css, such as colour("best"); read once a theme.
const known = new Map();
export function colour(name) {
  if (!known.has(name)) known.set(name, getComputedStyle(root).getPropertyValue(`--${name}`).trim());
  return known.get(name);
}

export function faded(name, alpha) {
  return `rgba(${rgb(name).join(",")},${alpha})`;
}

export function rgb(name) {
  const hex = colour(name).replace("#", "");
  const full = hex.length === 3 ? [...hex].map((digit) => digit + digit).join("") : hex;
  return [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16));
}

// The colours of results, best to worst: the best has the strongest contrast, in either theme.
export const sequence = () => [1, 2, 3, 4].map((at) => colour(`seq-${at}`));

// One of them, or between two: 0 is the best, 1 the worst.
export function sequenceAt(part) {
  const place = Math.min(2.999, Math.max(0, part) * 3);
  const [from, to] = [Math.floor(place), Math.floor(place) + 1].map((at) => rgb(`seq-${at + 1}`));
  return `rgb(${from.map((each, at) => Math.round(each + (to[at] - each) * (place % 1))).join(",")})`;
}

const CATEGORY = ["c-1", "c-2", "c-3", "c-4", "c-5", "c-6", "c-7", "c-8"];
export const category = (index) => CATEGORY[index % CATEGORY.length];

function announce() {
  known.clear();
  for (const listener of listeners) listener();
}
