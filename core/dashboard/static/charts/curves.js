// Curves of the metric over steps: one over the others' quartile band (inspector), or many at once.

import { el } from "../dom.js";
import { counted, durationText, numberText } from "../format.js";
import { category, colour, faded, onTheme, sequence } from "../theme.js";
import { dataUrl, getJson } from "../api.js";
import { axis, downloads, fitted, hideTip, library, showTip } from "./picture.js";

const [FEW, MOST] = [10, 100]; // curves in one picture, at first and at most

// Draws curves into `element`: [{number, step, seconds, value, stroke: () => css colour, width, label}], with an optional band.
// `by`: "step", or "seconds" for those that have times.
export async function drawCurves(element, given, { band = null, choose = null, log = null, by = "step" } = {}) {
  const curves = given.filter((curve) => curve[by]);
  const uplot = await library("uplot");
  if (!uplot || !element.isConnected) return null;
  element.plot?.destroy();
  element.querySelector(".note")?.remove(); // said that it loads, or that there was none
  const tables = curves.map((curve) => [curve[by], curve.value]);
  const banded = by === "step" && band && band.count > 2 && band.step.length > 1;
  if (banded) tables.unshift([band.step, band.q25, band.q75, band.median]);
  if (!tables.length) return null;
  const data = uplot.default.join(tables);
  const median = banded ? [{ stroke: "transparent" }, { stroke: "transparent" }, { stroke: () => colour("prune"), width: 1.4, dash: [3, 3] }] : [];
  const labels = [...(banded ? [{ text: "median", at: 3, name: "ink-3" }] : []), ...curves.flatMap((curve, at) => (curve.label ? [{ text: curve.label, at: at + 1 + median.length, stroke: curve.stroke }] : []))];
  const plot = new uplot.default(
    {
      width: element.clientWidth || 320,
      height: element.clientHeight || 132,
      legend: { show: false },
      padding: [8, labels.length ? 46 : 10, 0, 0],
      scales: { x: { time: false }, y: scaleOf(data, log) },
      axes: [axis({ size: 20, grid: { show: false }, space: 50, ...(by === "step" ? { incrs: Array.from({ length: 24 }, (_, at) => [1, 2, 5][at % 3] * 10 ** Math.floor(at / 3)) } : {}) }, by === "step" ? numberText : durationText), axis({ size: 40, space: 28 }, (value) => numberText(value))],
      series: [{}, ...median, ...curves.map(({ stroke, width = 2 }) => ({ stroke, width, spanGaps: true }))].map((each) => ({ points: { show: false }, spanGaps: true, ...each })),
      bands: banded ? [{ series: [2, 1], fill: () => faded("prune", 0.18) }] : [],
      cursor: { drag: { x: false, y: false }, points: { show: false }, y: false, ...(choose ? { focus: { prox: 24 } } : {}) },
      ...(choose ? { focus: { alpha: 0.2 } } : {}),
      hooks: { draw: [(drawn) => drawLabels(drawn, labels)], ready: [(made) => choose !== null && listen(made, curves, median.length, choose, by)] },
    },
    data,
    element,
  );
  element.plot = fitted(plot, element);
  return plot;
}

// The choice between steps and time, where the runs' files have times; elsewhere there is none. {element, by(), offer(curves)}
export function axisChoice(redraw) {
  let by = "step";
  const buttons = [["step", "step"], ["seconds", "time"]].map(([kind, words]) => {
    const choose = () => {
      by = kind;
      mark();
      redraw();
    };
    return el("button", { type: "button", class: "mini", "data-by": kind, onclick: choose }, words);
  });
  const element = el("span", { class: "by", role: "group", "aria-label": "Horizontal axis", hidden: true }, ...buttons);
  const mark = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.by === by)));
  mark();
  return {
    element,
    by: () => (element.hidden ? "step" : by),
    offer: (curves) => (element.hidden = !curves.some(({ seconds }) => seconds?.length > 1)),
  };
}

// A log scale where the values span more than three powers of ten.
function scaleOf(data, log) {
  const values = data.slice(1).flat().filter((value) => Number.isFinite(value));
  const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  if (low > 0 && (log ?? high / low > 1000)) return { distr: 3 };
  const room = high - low || Math.abs(high) || 1;
  return { range: [low - 0.06 * room, high + 0.06 * room] };
}

function drawLabels(plot, labels) {
  const { ctx, bbox } = plot;
  const scale = devicePixelRatio || 1;
  const places = [];
  for (const { text, at, name, stroke } of labels) {
    const values = plot.data[at];
    let last = values.length - 1;
    while (last >= 0 && !Number.isFinite(values[last])) last -= 1;
    if (last < 0) continue;
    places.push({ text, fill: stroke ? stroke() : colour(name), bold: Boolean(stroke), x: plot.valToPos(plot.data[0][last], "x", true) + 6 * scale, y: plot.valToPos(values[last], "y", true) + 4 * scale });
  }
  places.sort((a, b) => a.y - b.y);
  for (let at = 1; at < places.length; at += 1) places[at].y = Math.max(places[at].y, places[at - 1].y + 12 * scale);
  const lowest = bbox.top + bbox.height - 3 * scale; // the axis has its numbers below
  for (let at = places.length - 1; at >= 0; at -= 1) places[at].y = Math.min(places[at].y, at === places.length - 1 ? lowest : places[at + 1].y - 12 * scale);
  ctx.save();
  for (const { text, fill, bold, x, y } of places) {
    ctx.font = `${bold ? "600 " : ""}${11 * scale}px Inter, system-ui, sans-serif`;
    ctx.fillStyle = fill;
    ctx.textAlign = "left";
    ctx.fillText(text, Math.min(x, bbox.left + bbox.width + 4 * scale), y);
  }
  ctx.restore();
}

function listen(plot, curves, offset, choose, by) {
  const nearest = () => {
    const { idx, top } = plot.cursor;
    if (idx === null || idx === undefined) return null;
    let found = null;
    curves.forEach((curve, at) => {
      const value = plot.data[at + 1 + offset][idx];
      if (!Number.isFinite(value)) return;
      const away = Math.abs(plot.valToPos(value, "y") - top);
      if (!found || away < found.away) found = { curve, value, away, step: plot.data[0][idx] };
    });
    return found && found.away < 30 ? found : null;
  };
  plot.over.addEventListener("pointermove", (event) => {
    const found = nearest();
    if (found) showTip(event, `#${found.curve.number} ${numberText(found.value)}`, by === "step" ? `step ${found.step}` : durationText(found.step));
    else hideTip();
  });
  plot.over.addEventListener("pointerleave", hideTip);
  plot.over.addEventListener("click", () => {
    const found = nearest();
    if (found) choose(found.curve.number);
  });
}

// The exponential mean of a curve's values, unbiased at its beginning, as TensorBoard draws it.
function smoothed({ step, seconds, value }, weight) {
  if (!weight) return { step, seconds, value };
  let [mean, norm] = [0, 0];
  return { step, seconds, value: value.map((each) => {
    if (!Number.isFinite(each)) return each;
    mean = weight * mean + (1 - weight) * each;
    norm = weight * norm + (1 - weight);
    return mean / norm;
  }) };
}

let bandAsked = null;
let bandAt = 0;

// The quartiles over finished experiments, asked for anew after ten seconds at the earliest.
export function quartiles() {
  if (!bandAsked || Date.now() - bandAt > 10_000) {
    bandAt = Date.now();
    bandAsked = getJson(dataUrl("/curve-quartiles?points=64")).catch(() => null);
  }
  return bandAsked;
}

// Of experiments side by side: each its own colour.
export const stroke = (at) => () => colour(category(at));

// The panel with many curves: those that the view shows, better ones in stronger colours.
export class CurvesPanel {
  constructor(app, panel) {
    this.app = app;
    this.element = el("div", { class: "plot", role: "img", "aria-label": "Curves of the metric over steps" });
    this.element.style.height = "260px";
    this.note = el("p", { class: "note" }, "Loading curves…");
    this.curves = [];
    const again = () => this.draw();
    this.most = el("select", { "aria-label": "Curves", onchange: again }, el("option", { value: FEW }, `first ${FEW}`), el("option", { value: MOST }, `first ${MOST}`));
    this.axis = axisChoice(again);
    this.smooth = el("select", { "aria-label": "Smoothing", onchange: again }, ...[["0", "no smoothing"], ["0.6", "smoothing 0.6"], ["0.9", "smoothing 0.9"]].map(([value, words]) => el("option", { value }, words)));
    this.scale = el("button", { type: "button", class: "mini", "aria-pressed": "false", onclick: () => {
      this.scale.setAttribute("aria-pressed", String(this.scale.getAttribute("aria-pressed") === "false"));
      this.draw();
    } }, "log");
    panel.replaceChildren(el("figcaption", {}, this.most, this.smooth, this.axis.element, this.scale, this.note, el("span", { class: "sp" }), downloads("Curves", this.element, () => this.rows())), this.element);
    onTheme(() => this.element.plot?.redraw());
  }

  async draw() {
    const { experiments, curves } = this.app;
    const rows = this.app.table.order.filter((row) => experiments.status(row) !== "queued").slice(0, MOST);
    const found = await curves.of(rows.map((row) => experiments.number[row]), 60);
    const numbers = [...found.keys()].filter((number) => found.get(number).step.length > 1).slice(0, Number(this.most.value));
    const without = rows.filter((row) => !((found.get(experiments.number[row])?.step.length ?? 0) > 1)).length;
    const missing = without ? `; ${without} of ${counted(rows.length, "experiment")} have none` : "";
    this.note.textContent = numbers.length ? `${numbers.length} curves of ${experiments.objective.label}${missing}` : "No experiment reported its metric more than once.";
    this.element.hidden = !numbers.length;
    const best = experiments.number[experiments.best()];
    this.curves = numbers.toReversed().map((number) => {
      const place = numbers.indexOf(number) / numbers.length;
      const running = experiments.status(experiments.rows.get(number)) === "running";
      return { number, ...smoothed(found.get(number), Number(this.smooth.value)), stroke: () => (number === best ? colour("best") : running ? colour("run-fill") : sequence()[Math.floor(place * 4)]), width: number === best ? 2.4 : 1.1, label: number === best ? `#${number}` : "" };
    });
    this.axis.offer(this.curves);
    await drawCurves(this.element, this.curves, { by: this.axis.by(), choose: (number) => this.app.choose(number), log: this.scale.getAttribute("aria-pressed") === "true" });
  }

  rows() {
    return [["number", "step", this.app.experiments.objective.label], ...this.curves.flatMap(({ number, step, value }) => step.map((each, at) => [number, each, value[at]]))];
  }
}
