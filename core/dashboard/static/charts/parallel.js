// Hyperparameters: parallel coordinates with the metric last. A drag on an axis brushes the table and the other pictures.
//
// ECharts' own brushes are not used: it lets no brush be set without drawing all lines again, and knows no words for one.
// The axes are ours to drag: a pointer that goes down near one begins an interval.

import { el } from "../dom.js";
import { openEnds } from "../brush.js";
import { middle, valueText } from "../format.js";
import { colour, faded, isDark, SEQUENCE } from "../theme.js";
import { change, onView, view } from "../view_state.js";
import { constant, makeAxis } from "./axis.js";
import { ENOUGH, importanceOf, mattersMost } from "./importance.js";
import { cutTo, downloads, library } from "./plot.js";

const MOST = 1000; // lines: more of them are one grey, and block the page
const AXES = 9; // hyperparameters at most, those first that matter most where that is known
const [TOP, BOTTOM, SIDE] = [44, 22, 34];

export class ParallelChart {
  constructor(app, figure) {
    this.app = app;
    this.figure = figure;
    this.element = el("div", { class: "plot", role: "img", "aria-label": "Hyperparameters and metric, a line for each experiment" });
    this.key = el("span", { class: "key" }, "drag an axis to filter");
    this.figure.replaceChildren(el("figcaption", {}, el("h2", {}, "Hyperparameters"), this.key, downloads("Hyperparameters", this.element, () => this.table())), this.element);
    this.overlay = el("canvas", { "aria-hidden": "true" });
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
      return this.element.replaceChildren(el("p", { class: "note wait" }, "Hyperparameters appear after 5 experiments are done."));
    }
    if (this.figure.offsetParent === null) return; // a phone
    const echarts = await library("echarts");
    if (!echarts) return;
    if (!this.chart) {
      this.element.replaceChildren();
      this.chart = echarts.init(this.element, null, { renderer: "canvas" });
      this.element.append(this.overlay);
      new ResizeObserver(() => {
        this.chart.resize();
        this.drawOverlay();
      }).observe(this.element);
      this.listen();
    }
    this.lines = this.axes();
    const drawn = this.drawn();
    const total = experiments.ranking().length;
    this.words = drawn.length < total ? `${drawn.length} of ${total} lines · drag an axis to filter` : "drag an axis to filter";
    this.tell();
    if (total >= ENOUGH) importanceOf(this.app).then(() => this.tell(), () => null);
    this.chart.setOption(this.option(drawn), { notMerge: true, lazyUpdate: false });
    this.drawOverlay();
  }

  tell() {
    const most = mattersMost(this.app);
    this.key.replaceChildren(...(most ? [el("b", { title: most }, middle(most, 44)), ` · ${this.words}`] : [this.words]));
  }

  // Rows that get a line: all, or the best third and an even choice of the others.
  drawn() {
    const ranking = this.app.experiments.ranking();
    if (ranking.length <= MOST) return ranking;
    const best = ranking.slice(0, MOST / 3);
    const step = (ranking.length - best.length) / (MOST - best.length);
    return best.concat(Array.from({ length: MOST - best.length }, (_, at) => ranking[best.length + Math.floor(at * step)]));
  }

  option(rows) {
    const { experiments } = this.app;
    const { mask } = this.app.matching();
    const narrowed = view.query || view.brushes.size || (view.state !== "all" && view.state !== "completed");
    const best = experiments.best();
    const chosen = experiments.rows.get(view.selected);
    const off = [];
    const on = [];
    const many = Math.min(1, Math.sqrt(150 / rows.length));
    for (const row of rows) {
      const value = this.lines.map(({ column, place }) => place(experiments.get(column, row)));
      const shown = mask[row] && (view.state === "all" || view.state === "completed");
      if (!shown || (!narrowed && experiments.rank(row) > 0.3 * rows.length)) {
        off.push({ value, lineStyle: { color: colour("prune"), opacity: (narrowed ? 0.16 : 0.26) * many, width: 1 } });
        continue;
      }
      const part = narrowed ? experiments.rank(row) / Math.max(1, experiments.ranking().length) : experiments.rank(row) / (0.3 * rows.length);
      on.push({ row, value, lineStyle: { color: SEQUENCE[Math.min(3, Math.floor(part * 4))], opacity: 0.15 + 0.65 * many, width: 1.3 } });
    }
    on.reverse(); // better lines over worse ones
    for (const line of on) if (line.row === best) line.lineStyle = { color: colour("best"), opacity: 1, width: 2.6 };
    for (const line of on) if (line.row === chosen && chosen !== best) line.lineStyle = { color: colour("accent"), opacity: 1, width: 2.6 };
    return {
      animation: false,
      darkMode: isDark(),
      textStyle: { fontFamily: "Inter, system-ui, sans-serif" },
      parallel: { left: SIDE, right: SIDE, top: TOP, bottom: BOTTOM, axisExpandable: false },
      parallelAxis: this.lines.map((axis, dim) => ({
        dim,
        type: "value",
        min: 0,
        max: 1,
        silent: true,
        name: "",
        axisLine: { lineStyle: { color: colour("line"), width: 1.2 } },
        axisTick: { show: false },
        axisLabel: { show: false, formatter: () => "" },
        splitLine: { show: false },
      })),
      series: [
        { type: "parallel", silent: true, smooth: 0.25, data: off, progressive: 150, progressiveThreshold: 300 },
        { type: "parallel", silent: true, smooth: 0.25, data: on, progressive: 150, progressiveThreshold: 300 },
      ],
    };
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
    const { overlay: canvas } = this;
    const [width, height, scale] = [this.element.clientWidth, this.element.clientHeight, devicePixelRatio || 1];
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.style.pointerEvents = "none";
    const ctx = canvas.getContext("2d");
    ctx.scale(scale, scale);
    const apart = (width - 2 * SIDE) / Math.max(1, this.lines.length - 1);
    ctx.lineJoin = "round";
    this.lines.forEach((axis, at) => {
      const x = this.x(at);
      const align = at === 0 ? "left" : at === this.lines.length - 1 ? "right" : "center";
      const edge = at === 0 ? x - 24 : at === this.lines.length - 1 ? x + 26 : x;
      const room = align === "center" ? apart - 4 : apart / 2 + 20; // the outer ones begin at the edge
      ctx.textAlign = align;
      ctx.fillStyle = colour("ink-2");
      ctx.font = "600 11px Inter, system-ui, sans-serif";
      ctx.fillText(cutTo(ctx, axis.column.label, room), edge, 14);
      ctx.font = "11px Inter, system-ui, sans-serif";
      ctx.fillStyle = colour("ink-3");
      ctx.fillText(cutTo(ctx, axis.ends[1], room), edge, 32);
      ctx.fillText(cutTo(ctx, axis.ends[0], room), edge, height - 6);
      for (const [place, word] of axis.between) this.halo(ctx, cutTo(ctx, word, room), x, this.y(place) + 4, "ink-3");
      const brush = dragged?.at === at ? dragged.brush : view.brushes.get(axis.column.key);
      if (brush) this.drawBrush(ctx, axis, at, brush);
    });
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
