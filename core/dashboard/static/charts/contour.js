// Contour: the metric over any two hyperparameters, smoothed by a Gaussian kernel over the finished experiments
// (Nadaraya-Watson); blank where no experiment is near.

import { el } from "../dom.js";
import { counted, middle, numberText } from "../format.js";
import { colour, rgb } from "../theme.js";
import { change, view } from "../view_state.js";
import { canvasOf, cutTo, downloads, hideTip, showTip, ticksOf } from "./picture.js";
import { constant, makeAxis } from "./axis.js";

const CELLS = 56; // a side
const WIDTH = 0.055; // of the kernel, in the unit square
const BANDS = 9;
const MOST = 3000; // experiments that are smoothed; the latest of more
const [LEFT, RIGHT, TOP, BOTTOM] = [56, 12, 8, 34];

export class ContourPanel {
  constructor(app, panel) {
    this.app = app;
    this.element = el("div", { class: "plot", role: "img", "aria-label": "Contour" });
    this.element.style.height = "320px";
    this.selects = [0, 1].map((at) => el("select", { "aria-label": at ? "Vertical hyperparameter" : "Horizontal hyperparameter" }));
    this.note = el("span", { class: "note" }, "Loading contour…");
    for (const select of this.selects) {
      select.addEventListener("change", () => {
        change({ pair: this.selects.map(({ value }) => value) });
        this.draw();
      });
    }
    panel.replaceChildren(el("figcaption", {}, this.selects[0], el("span", { "aria-hidden": "true" }, "×"), this.selects[1], this.note, el("span", { class: "sp" }), downloads("Contour", this.element, () => this.rows())), this.element);
    this.element.addEventListener("pointermove", (event) => this.hover(event));
    this.element.addEventListener("pointerleave", hideTip);
    this.element.addEventListener("click", (event) => {
      const point = this.nearest(event);
      if (point) app.choose(app.experiments.number[point.row]);
    });
    new ResizeObserver(() => app.panels?.draw()).observe(this.element);
  }

  draw() {
    const { experiments } = this.app;
    const columns = experiments.parameters.filter((column) => !constant(column));
    const ranked = experiments.ranking();
    this.element.hidden = columns.length < 2 || ranked.length < 5;
    for (const select of this.selects) select.hidden = columns.length < 2;
    if (this.element.hidden) {
      this.note.textContent = columns.length < 2 ? "A contour needs two hyperparameters." : "The contour appears after 5 experiments have completed.";
      return;
    }
    this.fillSelects(columns);
    const [a, b] = this.selects.map(({ value }) => columns.find(({ key }) => key === value));
    const axes = [makeAxis(experiments, a), makeAxis(experiments, b)];
    const rows = ranked.length > MOST ? [...ranked].sort((x, y) => experiments.number[y] - experiments.number[x]).slice(0, MOST) : ranked;
    const places = rows.map((row) => ({ row, u: axes[0].spread(axes[0].place(experiments.get(a, row))), v: axes[1].spread(axes[1].place(experiments.get(b, row))), rank: experiments.rank(row) / Math.max(1, ranked.length - 1) }));
    this.note.replaceChildren(`rank by ${experiments.objective.label}, ${counted(rows.length, "experiment")}: best `, el("i", { class: "seq", "aria-hidden": "true" }), " worst");
    this.element.setAttribute("aria-label", `${experiments.objective.label} over ${a.label} and ${b.label}`);
    const { context: ctx, width, height } = canvasOf(this.element);
    if (!width) return;
    const [x, y] = [(u) => LEFT + u * (width - LEFT - RIGHT), (v) => height - BOTTOM - v * (height - TOP - BOTTOM)];
    ctx.imageSmoothingEnabled = true;
    ctx.drawImage(this.surface(places), LEFT, TOP, width - LEFT - RIGHT, height - TOP - BOTTOM);
    this.drawAxes(ctx, axes, x, y, width, height);
    this.points = places.map((place) => ({ ...place, x: x(place.u), y: y(place.v) }));
    for (const point of this.points.toReversed()) {
      const best = point.row === ranked[0];
      ctx.beginPath();
      ctx.arc(point.x, point.y, best ? 5 : 2.2, 0, 7);
      ctx.fillStyle = best ? colour("best") : colour("ink");
      ctx.globalAlpha = best ? 1 : rows.length > 500 ? 0.3 : 0.6;
      ctx.fill();
      ctx.globalAlpha = 1;
      if (best || experiments.number[point.row] === view.selected) {
        ctx.lineWidth = 2;
        ctx.strokeStyle = best ? colour("surface") : colour("accent");
        ctx.stroke();
      }
    }
  }

  fillSelects(columns) {
    const keys = columns.map(({ key }) => key).join("\n");
    if (this.keys === keys) return;
    this.keys = keys;
    const important = [...columns].sort((p, q) => (this.app.importance?.get(q.key) ?? 0) - (this.app.importance?.get(p.key) ?? 0));
    const wanted = view.pair.length === 2 && view.pair.every((key) => columns.some((column) => column.key === key)) ? view.pair : [important[0].key, important[1].key];
    this.selects.forEach((select, at) => {
      select.replaceChildren(...columns.map(({ key, label }) => el("option", { value: key, title: label }, middle(label, 40))));
      select.value = wanted[at];
    });
  }

  // Mean rank at each cell, in bands; transparent where the kernel has next to no weight.
  surface(places) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = CELLS;
    const context = canvas.getContext("2d");
    const image = context.createImageData(CELLS, CELLS);
    const weights = new Float64Array(CELLS * CELLS);
    const sums = new Float64Array(CELLS * CELLS);
    const reach = Math.ceil(3 * WIDTH * CELLS);
    for (const { u, v, rank } of places) {
      const [cx, cy] = [u * (CELLS - 1), (1 - v) * (CELLS - 1)];
      for (let j = Math.max(0, Math.floor(cy - reach)); j <= Math.min(CELLS - 1, cy + reach); j += 1) {
        for (let i = Math.max(0, Math.floor(cx - reach)); i <= Math.min(CELLS - 1, cx + reach); i += 1) {
          const weight = Math.exp(-((i - cx) ** 2 + (j - cy) ** 2) / (2 * (WIDTH * CELLS) ** 2));
          weights[j * CELLS + i] += weight;
          sums[j * CELLS + i] += weight * rank;
        }
      }
    }
    const stops = [1, 2, 3, 4].map((at) => rgb(`seq-${at}`));
    for (let cell = 0; cell < weights.length; cell += 1) {
      if (weights[cell] < 0.05) continue;
      const band = Math.min(BANDS - 1, Math.floor((sums[cell] / weights[cell]) * BANDS)) / (BANDS - 1);
      const at = Math.min(2.999, band * 3);
      const [from, to] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
      for (let k = 0; k < 3; k += 1) image.data[4 * cell + k] = from[k] + (to[k] - from[k]) * (at % 1);
      image.data[4 * cell + 3] = 200 * Math.min(1, weights[cell] / 0.4);
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  drawAxes(ctx, [across, up], x, y, width, height) {
    ctx.strokeStyle = colour("line");
    ctx.strokeRect(LEFT, TOP, width - LEFT - RIGHT, height - TOP - BOTTOM);
    ctx.fillStyle = colour("ink-3");
    const ticks = (axis, most) => (axis.column.choices ? axis.all.slice(0, 12) : ticksOf(axis.low, axis.high, axis.log, most).map((value) => [axis.place(value), numberText(value)]));
    ctx.textAlign = "center";
    const [below, beside] = [ticks(across, 8), ticks(up, 6)];
    for (const [place, word] of below) ctx.fillText(cutTo(ctx, word, (width - LEFT - RIGHT) / below.length - 6), Math.min(width - 16, x(across.spread(place))), height - 18);
    ctx.textAlign = "right";
    for (const [place, word] of beside) ctx.fillText(cutTo(ctx, word, LEFT - 10), LEFT - 6, y(up.spread(place)) + 4);
    ctx.font = "600 11px Inter, system-ui, sans-serif";
    ctx.fillStyle = colour("ink-2");
    ctx.fillText(cutTo(ctx, across.column.label, width - LEFT - RIGHT), width - RIGHT, height - 4);
    ctx.textAlign = "left";
    ctx.fillText(cutTo(ctx, up.column.label, (width - LEFT - RIGHT) / 2), LEFT + 6, TOP + 14);
  }

  nearest(event) {
    const box = this.element.getBoundingClientRect();
    let [found, least] = [null, 14 ** 2];
    for (const point of this.points ?? []) {
      const away = (point.x - event.clientX + box.left) ** 2 + (point.y - event.clientY + box.top) ** 2;
      if (away < least) [found, least] = [point, away];
    }
    return found;
  }

  hover(event) {
    const point = this.nearest(event);
    if (!point) return hideTip();
    const { experiments } = this.app;
    showTip(event, `#${experiments.number[point.row]} ${numberText(experiments.outcome(point.row))}`);
  }

  rows() {
    const { experiments } = this.app;
    const columns = this.selects.map(({ value }) => experiments.columns.find(({ key }) => key === value));
    return [["number", ...columns.map(({ label }) => label), experiments.objective.label], ...(this.points ?? []).map(({ row }) => [experiments.number[row], ...columns.map((column) => experiments.get(column, row)), experiments.outcome(row)])];
  }
}
