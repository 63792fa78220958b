// Hyperparameters: parallel coordinates with the metric last. A drag on an axis brushes the table and the other pictures.
//
// Lines on one canvas, axes, names and brushes on another over it: a drag draws no line anew.

import { el } from "../dom.js";
import { openEnds } from "../filters.js";
import { counted, valueText } from "../format.js";
import { colour, faded, sequenceAt } from "../theme.js";
import { change, onView, view } from "../view_state.js";
import { constant, makeAxis } from "./axis.js";
import { ENOUGH, importanceOf } from "./importance.js";
import { canvasOf, cutTo, downloads } from "./picture.js";

const MOST = 1000; // lines: more of them are one grey
const BEST = 30; // experiments whose lines are opaque, however many there are
const AXES = 9; // hyperparameters at most, those first that matter most where that is known
const [TOP, BOTTOM, SIDE] = [44, 22, 34];

export class ParallelChart {
  constructor(app, figure) {
    this.app = app;
    this.figure = figure;
    this.element = el("div", { class: "plot", role: "img", "aria-label": "Hyperparameters and metric, a line for each experiment" });
    this.key = el("span", { class: "key" });
    this.figure.replaceChildren(el("figcaption", {}, el("h2", {}, "Hyperparameters"), this.key, downloads("Hyperparameters", this.element, () => this.table())), this.element);
    [this.canvas, this.overlay] = [el("canvas", { "aria-hidden": "true" }), el("canvas", { "aria-hidden": "true" })];
    onView((what) => {
      if (["query", "brushes", "state", "selected"].some((name) => what.has(name))) this.draw();
    });
  }

  // The axes: hyperparameters that vary, then the metric. {column, position(value) in 0..1, ends: [words below, above]}
  axes() {
    const { experiments } = this.app;
    const important = this.app.importance ?? new Map();
    let columns = experiments.parameters.filter((column) => !constant(column));
    if (columns.length > AXES) {
      const first = new Set([...columns].sort((a, b) => (important.get(b.key) ?? 0) - (important.get(a.key) ?? 0)).slice(0, AXES));
      columns = columns.filter((column) => first.has(column));
    }
    return [...columns, experiments.objective].map((column) => makeAxis(experiments, column));
  }

  async draw() {
    const { experiments } = this.app;
    const enough = experiments.ranking().length >= 5;
    this.figure.hidden = !enough && experiments.size > 0 && !experiments.ranking().length;
    if (!enough) {
      this.key.textContent = "";
      return this.element.replaceChildren(el("p", { class: "note wait" }, "Hyperparameters appear after 5 experiments have completed."));
    }
    if (this.figure.offsetParent === null) return; // a phone
    if (!this.overlay.isConnected) {
      this.element.replaceChildren(this.canvas, this.overlay);
      new ResizeObserver(() => this.lines && this.drawAll()).observe(this.element);
      this.listen();
    }
    const varying = experiments.parameters.filter((column) => !constant(column)).length;
    this.lines = this.axes();
    this.rows = this.drawn();
    const total = experiments.ranking().length;
    const axes = varying > AXES ? `${AXES} of ${varying} hyperparameters · ` : "";
    const words = `${axes}${this.rows.length < total ? `${counted(this.rows.length, "line")} of ${counted(total, "experiment")} · ` : ""}drag an axis to filter`;
    this.key.textContent = words;
    if (varying > AXES && total >= ENOUGH && !this.app.importance) importanceOf(this.app).then(() => this.draw(), () => null);
    this.drawAll();
  }

  drawAll() {
    this.drawLines(this.rows);
    this.drawOverlay();
  }

  // Rows that get a line: all, or the best third and an even choice of the others.
  drawn() {
    const ranking = this.app.experiments.ranking();
    if (ranking.length <= MOST) return ranking;
    const best = ranking.slice(0, MOST / 3);
    const step = (ranking.length - best.length) / (MOST - best.length);
    return best.concat(Array.from({ length: MOST - best.length }, (_, at) => ranking[best.length + Math.floor(at * step)]));
  }

  // Lines from the worst to the best: grey those that the view leaves out, the others in the colours of the metric's axis.
  drawLines(rows) {
    const { experiments } = this.app;
    const { mask } = this.app.matching();
    const { context: ctx } = canvasOf(this.element, undefined, this.canvas);
    const [best, chosen] = [experiments.best(), experiments.rows.get(view.selected)];
    const many = Math.min(1, Math.sqrt(150 / rows.length)); // their colours have the contrast that lines need, if they are opaque
    const metricAxis = this.lines.at(-1);
    const styles = rows.map((row) => {
      const shown = mask[row] && (view.state === "all" || view.state === "completed");
      if (shown && row === chosen && row !== best) return { row, order: 3, colour: colour("accent"), alpha: 1, width: 2.6 };
      if (shown && row === best) return { row, order: 2, colour: colour("best"), alpha: 1, width: 2.6 };
      if (!shown) return { row, order: 0, colour: colour("prune"), alpha: 0.16 * many, width: 1 };
      const good = this.goodness(metricAxis.place(experiments.outcome(row)));
      return { row, order: 1, colour: sequenceAt(1 - good), alpha: experiments.rank(row) < BEST ? 1 : many ** 1.6, width: 1 + 0.6 * good };
    });
    styles.reverse(); // better lines over worse ones
    styles.sort((a, b) => a.order - b.order);
    const xs = this.lines.map((_, at) => this.x(at));
    for (const style of styles) {
      const ys = this.lines.map(({ column, place }) => this.y(place(experiments.get(column, style.row))));
      ctx.globalAlpha = style.alpha;
      ctx.strokeStyle = style.colour;
      ctx.lineWidth = style.width;
      ctx.beginPath();
      ctx.moveTo(xs[0], ys[0]);
      for (let at = 1; at < xs.length; at += 1) {
        const middle = (xs[at - 1] + xs[at]) / 2; // control points at the height of the ends: no line leaves its axes
        ctx.bezierCurveTo(middle, ys[at - 1], middle, ys[at], xs[at], ys[at]);
      }
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
  }

  // 1 for the best end of the metric's axis, 0 for the worst.
  goodness(place) {
    return this.app.experiments.sign < 0 ? 1 - place : place;
  }

  x(at) {
    const { clientWidth } = this.element;
    return SIDE + (this.lines.length > 1 ? (at * (clientWidth - 2 * SIDE)) / (this.lines.length - 1) : 0);
  }

  y(place) {
    return TOP + (1 - place) * (this.element.clientHeight - TOP - BOTTOM);
  }

  // Names, ends and brushes, over the lines.
  drawOverlay(dragged = null) {
    const { context: ctx, width, height } = canvasOf(this.element, undefined, this.overlay);
    const apart = (width - 2 * SIDE) / Math.max(1, this.lines.length - 1);
    ctx.lineJoin = "round";
    this.lines.forEach((axis, at) => {
      const x = this.x(at);
      const align = at === 0 ? "left" : at === this.lines.length - 1 ? "right" : "center";
      const edge = at === 0 ? x - 24 : at === this.lines.length - 1 ? x + 26 : x;
      const room = align === "center" ? apart - 4 : apart / 2 + 20; // the outer ones begin at the edge
      const isMetric = at === this.lines.length - 1;
      this.drawAxis(ctx, x, isMetric);
      ctx.textAlign = align;
      ctx.fillStyle = colour("ink-2");
      ctx.font = "600 11px Inter, system-ui, sans-serif";
      ctx.fillText(cutTo(ctx, axis.column.label, room), edge, 14);
      ctx.font = "11px Inter, system-ui, sans-serif";
      ctx.fillStyle = colour("ink-3");
      const [low, high] = axis.ends.map((end, side) => (isMetric && side === this.goodness(1) ? `best ${end}` : end));
      const free = (side) => (isMetric && at ? apart + 20 - ctx.measureText(this.lines[at - 1].ends[side]).width / 2 : room); // up to its neighbour's
      ctx.fillText(cutTo(ctx, high, Math.max(room, free(1))), edge, 32);
      ctx.fillText(cutTo(ctx, low, Math.max(room, free(0))), edge, height - 6);
      for (const [place, word] of axis.between) this.halo(ctx, cutTo(ctx, word, room), x, this.y(place) + 4, "ink-3");
      const brush = dragged?.at === at ? dragged.brush : view.brushes.get(axis.column.key);
      if (brush) this.drawBrush(ctx, axis, at, brush);
    });
  }

  // A line; beside the metric's a bar with the colours of the lines, the best end first.
  drawAxis(ctx, x, isMetric) {
    const [top, bottom] = [this.y(1), this.y(0)];
    ctx.strokeStyle = colour("line");
    ctx.lineWidth = 1.2;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, bottom);
    ctx.stroke();
    if (!isMetric) return;
    const bar = ctx.createLinearGradient(0, top, 0, bottom);
    for (let at = 0; at <= 4; at += 1) bar.addColorStop(at / 4, sequenceAt(1 - this.goodness(1 - at / 4)));
    ctx.fillStyle = bar;
    ctx.fillRect(x + 10, top, 5, bottom - top);
  }

  drawBrush(ctx, axis, at, brush) {
    const x = this.x(at);
    const box = (low, high) => {
      const [top, bottom] = [this.y(high) - 3, this.y(low) + 3];
      ctx.fillStyle = faded("accent", 0.16);
      ctx.strokeStyle = colour("accent");
      ctx.lineWidth = 1.2;
      ctx.beginPath();
      ctx.roundRect(x - 6, top, 12, bottom - top, 3);
      ctx.fill();
      ctx.stroke();
      return top;
    };
    const clip = (value, end) => (Number.isFinite(value) ? Math.min(1, Math.max(0, axis.place(value))) : end);
    if (brush.values) for (const [place, word] of axis.all) brush.values.has(word) && box(place - 0.02, place + 0.02);
    else {
      const top = box(clip(brush.low, 0), clip(brush.high, 1));
      const words = !Number.isFinite(brush.low) ? `≤ ${valueText(brush.high)}` : !Number.isFinite(brush.high) ? `≥ ${valueText(brush.low)}` : "";
      ctx.textAlign = at === this.lines.length - 1 ? "right" : "left";
      ctx.font = "600 11px Inter, system-ui, sans-serif";
      if (words) this.halo(ctx, words, at === this.lines.length - 1 ? x - 10 : x + 10, top + 9, "accent");
    }
  }

  halo(ctx, text, x, y, name) {
    ctx.lineWidth = 4;
    ctx.strokeStyle = colour("surface");
    ctx.strokeText(text, x, y);
    ctx.fillStyle = colour(name);
    ctx.fillText(text, x, y);
  }

  listen() {
    const { element } = this;
    let drag = null;
    const near = (event) => {
      const x = event.clientX - element.getBoundingClientRect().left;
      const at = this.lines.findIndex((_, index) => Math.abs(this.x(index) - x) < 16);
      return at < 0 ? null : at;
    };
    const place = (event) => {
      const y = event.clientY - element.getBoundingClientRect().top;
      return Math.min(1, Math.max(0, 1 - (y - TOP) / (element.clientHeight - TOP - BOTTOM)));
    };
    const brushOf = () => {
      const { column, value, all } = this.lines[drag.at];
      const [low, high] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
      if (!column.choices) return openEnds(value(low - 0.005), value(high + 0.005), { min: value(0), max: value(1) });
      const half = 0.5 / Math.max(1, all.length - 1);
      return { values: new Set(all.filter(([at]) => at >= low - Math.min(half, 0.06) && at <= high + Math.min(half, 0.06)).map(([, word]) => word)) };
    };
    element.addEventListener("pointermove", (event) => {
      if (drag) {
        drag.to = place(event);
        this.drawOverlay({ at: drag.at, brush: brushOf() });
        return;
      }
      const at = near(event);
      element.style.cursor = at === null ? "" : "ns-resize";
      element.title = at === null ? "" : this.lines[at].column.label; // where it is drawn there may be no room for all of it
    });
    element.addEventListener("pointerdown", (event) => {
      const at = near(event);
      if (at === null || event.button) return;
      element.setPointerCapture(event.pointerId);
      drag = { at, from: place(event), to: place(event) };
      event.preventDefault();
    });
    element.addEventListener("pointerup", () => {
      if (!drag) return;
      const { column } = this.lines[drag.at];
      const brushes = new Map(view.brushes);
      const brush = brushOf();
      const still = Math.abs(drag.to - drag.from) < 0.02;
      if ((still && !column.choices) || (brush.values && !brush.values.size)) brushes.delete(column.key); // a click takes it away
      else brushes.set(column.key, brush);
      drag = null;
      change({ brushes });
    });
    element.addEventListener("pointercancel", () => (drag = null));
  }

  table() {
    const { experiments } = this.app;
    const columns = [...experiments.parameters, experiments.objective];
    const { mask } = this.app.matching();
    return [["number", ...columns.map(({ label }) => label)], ...experiments.ranking().filter((row) => mask[row]).map((row) => [experiments.number[row], ...columns.map((column) => experiments.get(column, row))])];
  }
}
