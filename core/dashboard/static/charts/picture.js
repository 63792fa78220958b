// What the pictures share: the libraries, loaded when the first picture needs them; axes in the page's colours; PNG and CSV.

import { el } from "../dom.js";
import { Away, page } from "../api.js";
import { save, saveCsv } from "../download.js";
import { middle, numberText } from "../format.js";
import { colour } from "../theme.js";

export const FONT = "11px Inter, system-ui, sans-serif";
const loaded = new Map();
let failures = 0;

// A module of /vendor. One that could not be loaded is asked for once more at once, and again by the next picture.
export function library(name) {
  const address = new URL(`../../vendor/${name}.js`, import.meta.url);
  const again = () => import(`${address}?again=${(failures += 1)}`); // a browser keeps a failed import
  if (!loaded.has(name)) {
    loaded.set(name, (failures ? again() : import(address).catch(again)).catch((error) => {
      loaded.delete(name);
      throw new Away(error.message);
    }));
  }
  return loaded.get(name);
}

// An axis of uPlot. `format` makes the text of one tick.
export function axis(more = {}, format = numberText) {
  return {
    font: FONT,
    stroke: () => colour("ink-3"),
    grid: { stroke: () => colour("line-2"), width: 1 },
    ticks: { show: false },
    gap: 4,
    values: (plot, ticks) => ticks.map((value) => (value === null ? null : format(value))),
    ...more,
  };
}

// Keeps a uPlot as large as its element.
export function fitted(plot, element) {
  const observer = new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = element;
    if (width && height && (width !== plot.width || height !== plot.height)) plot.setSize({ width, height });
  });
  observer.observe(element);
  (plot.hooks.destroy ??= []).push(() => observer.disconnect());
  return plot;
}

// A canvas over the whole of `element`, at the screen's resolution: {context, width, height} in CSS pixels.
export function canvasOf(element, height = element.clientHeight, given = null) {
  const canvas = given ?? element.querySelector("canvas") ?? element.appendChild(document.createElement("canvas"));
  const scale = devicePixelRatio || 1;
  const width = element.clientWidth;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  return { canvas, context, width, height };
}

// A text that fits into so many pixels: what is too long goes without its middle.
export function cutTo(context, text, room) {
  let most = text.length;
  let short = text;
  while (most > 3 && context.measureText(short).width > room) short = middle(text, (most -= 1));
  return short;
}

// Buttons for PNG and CSV. `rows` gives the table behind the picture: its head first.
export function downloads(name, element, rows) {
  const button = (word, save) => el("button", { type: "button", "aria-label": `Save ${name} as ${word}`, title: `Save as ${word}`, onclick: save }, word);
  const file = `${page.project}-${name.toLowerCase().replaceAll(/\W+/g, "-")}`;
  return el(
    "span",
    { class: "save hidem" },
    button("PNG", () => asPng(element).then((blob) => save(blob, `${file}.png`))),
    button("CSV", () => saveCsv(rows(), file)),
  );
}

// All canvases within `element`, where they stand, on the page's background.
function asPng(element) {
  const frame = element.getBoundingClientRect();
  const scale = 2;
  const whole = document.createElement("canvas");
  whole.width = frame.width * scale;
  whole.height = frame.height * scale;
  const context = whole.getContext("2d");
  context.fillStyle = colour("surface");
  context.fillRect(0, 0, whole.width, whole.height);
  for (const canvas of element.querySelectorAll("canvas")) {
    const at = canvas.getBoundingClientRect();
    if (at.width) context.drawImage(canvas, (at.left - frame.left) * scale, (at.top - frame.top) * scale, at.width * scale, at.height * scale);
  }
  return new Promise((resolve) => whole.toBlob(resolve, "image/png"));
}

// One tip for all pictures, beside the pointer.
let tip = null;
export function showTip(event, title, ...lines) {
  if (!tip) {
    tip = el("div", { class: "tip", role: "presentation" });
    document.body.append(tip);
  }
  tip.hidden = false;
  tip.replaceChildren(el("b", {}, title), ...lines.filter(Boolean).map((line) => el("div", {}, line)));
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.min(innerHeight - height - 4, Math.max(4, event.clientY - height / 2))}px)`;
}

export function hideTip() {
  if (tip) tip.hidden = true;
}

// Round ticks between two ends, at most `most`; of the powers of ten on a log axis.
export function ticksOf(low, high, log, most = 5) {
  if (log) {
    const [from, to] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const step = Math.max(1, Math.ceil((to - from + 1) / most));
    const found = [];
    for (let power = from; power <= to; power += step) found.push(10 ** power);
    return found.length > 1 ? found : [low, high];
  }
  const rough = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}
