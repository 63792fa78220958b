// Best so far: all outcomes over experiments or over time, and the best until then as a step line. A drag brushes.

import { el } from "../dom.js";
import { openEnds } from "../filters.js";
import { counted, directionText, durationText, middle, numberText, valueText } from "../format.js";
import { colour } from "../theme.js";
import { change, onView, view } from "../view_state.js";
import { hasNoResult, collect, extent, laneOf, rises, scaleOf } from "./best_data.js";
import { axis, downloads, fitted, hideTip, library, showTip, ticksOf } from "./picture.js";

const LANE = 18; // pixels below the value axis, for those without a result
const NAME = 24; // pixels above it, for the metric

export class BestChart {
  constructor(app, figure) {
    this.app = app;
    this.figure = figure;
    this.element = el("div", { class: "plot", role: "img", "aria-label": "Best so far" });
    const by = [["number", "experiment"], ["time", "time"]].map(([kind, words]) =>
      el("button", { type: "button", class: "mini", "data-by": kind, onclick: () => change({ by: kind }) }, words),
    );
    this.scale = el("button", { type: "button", class: "mini", hidden: true, title: "Logarithmic scale", onclick: () => change({ scale: this.log ? "linear" : "log" }) }, "log");
    this.key = el("span", { class: "key" });
    figure.replaceChildren(
      el("figcaption", {}, el("h2", {}, "Best so far"), el("span", { class: "by", role: "group", "aria-label": "Horizontal axis" }, ...by), this.scale, this.key, downloads("Best so far", this.element, () => this.rows())),
      this.element,
    );
    this.by = by;
    onView((what) => {
      if (what.has("by") || what.has("scale")) this.draw();
      else if (this.plot && ["query", "brushes", "state", "selected"].some((name) => what.has(name))) this.plot.redraw(false);
    });
  }

  async draw() {
    for (const button of this.by) button.setAttribute("aria-pressed", String(button.dataset.by === view.by));
    const uplot = await library("uplot");
    if (!uplot || this.figure.offsetParent === null) return; // not built, or hidden: there is no value yet
    this.collect();
    if (!this.points.length) return;
    this.element.setAttribute("aria-label", this.words());
    if (this.plot) this.plot.setData([this.x, this.line], true);
    else this.plot = fitted(new uplot.default(this.options(uplot.default.paths.stepped({ align: 1 })), [this.x, this.line], this.element), this.element);
  }

  // Points in order of x, the best until each, and the scale.
  collect() {
    const { experiments } = this.app;
    Object.assign(this, collect(experiments, view.by));
    const scale = { ...scaleOf(this.points, experiments.sign, view.scale), lane: laneOf(this.points) };
    if (scale.log !== this.log || !scale.lane !== !this.lane) this.forget(); // uPlot makes its scale and its axes once
    Object.assign(this, scale);
    const has = (wanted) => this.points.some(({ status }) => status === wanted);
    const others = [["pruned", "d2"], ["running", "d4"]].flatMap(([status, kind]) => (has(status) ? [el("i", { class: kind }), status] : []));
    this.key.replaceChildren(el("i", { class: "ln" }), "best", el("i", { class: "d1" }), "completed", ...others);
    this.scale.hidden = !this.mayLog;
    this.scale.setAttribute("aria-pressed", String(this.log));
  }

  forget() {
    this.plot?.destroy();
    this.plot = null;
  }

  options(stepped) {
    const budget = () => Math.max(Math.min(this.app.summary.planned ?? 0, 1.25 * this.app.experiments.size + 1), this.app.experiments.size, 2); // what is queued takes a fifth at most
    const lane = this.lane ? LANE : 0;
    const lastX = () => this.x.at(-1) ?? 1;
    return {
      width: this.element.clientWidth || 500,
      height: this.element.clientHeight || 200,
      legend: { show: false },
      padding: [NAME, 12, 0, 0],
      scales: {
        x: { time: false, range: () => (view.by === "time" ? [0, Math.max(1, lastX() * 1.12)] : [1, this.app.summary.state === "running" ? budget() : Math.max(2, lastX())].map((end, side) => end + (side ? 0.02 * end : -0.01 * lastX()))) },
        y: { range: () => this.range, distr: this.log ? 3 : 1 },
      },
      axes: [
        axis({ size: 22 + lane, gap: 4 + lane, grid: { show: false }, space: 60, incrs: view.by === "time" ? undefined : [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000] }, (value) => (view.by === "time" ? durationText(value) : Number.isInteger(value) && value > 0 ? String(value) : "")),
        axis({ size: 56, space: 24, ...(this.log ? { splits: () => ticksOf(...this.range, true, 6) } : {}) }, (value) => numberText(value)),
      ],
      series: [{}, { stroke: () => colour("best"), width: 2, paths: stepped, points: { show: false } }],
      cursor: { drag: { x: true, y: true, uni: 24, setScale: false }, points: { show: false }, y: false },
      hooks: {
        drawAxes: [(plot) => this.drawName(plot), (plot) => this.drawQueued(plot), (plot) => this.drawLane(plot)],
        draw: [(plot) => this.drawPoints(plot)],
        setSelect: [(plot) => this.brushed(plot)],
        ready: [(plot) => this.listen(plot)],
      },
    };
  }

  // The metric, and where better results stand, above its axis.
  drawName({ ctx, bbox }) {
    const { objective, sign } = this.app.experiments;
    const scale = devicePixelRatio || 1;
    ctx.save();
    ctx.font = plotFont("");
    ctx.fillStyle = colour("ink-3");
    ctx.textAlign = "left";
    ctx.fillText(`${middle(objective.label, 24)}, ${directionText(sign)}`, 8 * scale, bbox.top - 11 * scale);
    ctx.restore();
  }

  // Below the value axis, apart from it, with its name: what failed is neither good nor bad.
  drawLane({ ctx, bbox }) {
    if (!this.lane) return;
    const scale = devicePixelRatio || 1;
    const top = bbox.top + bbox.height + 3 * scale;
    ctx.save();
    ctx.fillStyle = colour("bad-soft");
    ctx.fillRect(bbox.left, top, bbox.width, (LANE - 3) * scale);
    ctx.font = plotFont("");
    ctx.fillStyle = colour("bad");
    ctx.textAlign = "right";
    ctx.fillText(this.lane, bbox.left - 4 * scale, top + 11 * scale);
    ctx.restore();
  }

  drawQueued(plot) {
    const left = this.app.summary.planned - this.app.experiments.size + (this.app.experiments.counts().queued ?? 0);
    if (view.by === "time" || this.app.summary.state !== "running" || !(left > 0)) return;
    const { ctx, bbox } = plot;
    const from = plot.valToPos(this.x.at(-1) + 0.5, "x", true);
    ctx.save();
    ctx.fillStyle = colour("sunk");
    ctx.fillRect(from, bbox.top, bbox.left + bbox.width - from, bbox.height);
    ctx.fillStyle = colour("ink-3");
    ctx.textAlign = "center";
    ctx.font = plotFont("");
    if (bbox.left + bbox.width - from > 70 * devicePixelRatio) ctx.fillText(`${counted(left, "experiment").split(" ")[0]} queued`, (from + bbox.left + bbox.width) / 2, bbox.top + 14 * devicePixelRatio);
    ctx.restore();
  }

  drawPoints(plot) {
    const { ctx, bbox } = plot;
    const scale = devicePixelRatio || 1;
    const { mask } = this.app.matching();
    const [low, high] = this.range;
    const worse = this.app.experiments.sign < 0; // larger is worse: what is off the scale is off the top
    const many = Math.min(1, Math.sqrt(500 / this.points.length)); // thousands of dots: smaller and fainter, so that their bulk shows
    const small = 1.3 + 1.7 * many;
    ctx.save();
    for (const point of this.points) {
      const shown = mask[point.row] && (view.state === "all" || view.state === point.status);
      const x = plot.valToPos(point.x, "x", true);
      point.at = null;
      ctx.globalAlpha = shown ? 0.25 + 0.65 * many : 0.14 * many;
      if (hasNoResult(point)) {
        const y = bbox.top + bbox.height + (3 + (LANE - 3) / 2) * scale;
        point.at = [x, y];
        ctx.strokeStyle = colour(point.status === "failed" ? "bad" : "prune");
        ctx.lineWidth = 1.7 * scale;
        cross(ctx, x, y, 3 * scale);
        continue;
      }
      if (!Number.isFinite(point.value)) continue;
      if (point.value > high || point.value < low) {
        const y = worse === point.value > high ? (worse ? bbox.top + 5 * scale : bbox.top + bbox.height - 5 * scale) : plot.valToPos(point.value, "y", true);
        point.at = [x, y];
        ctx.fillStyle = colour("prune");
        triangle(ctx, x, y, 3.4 * scale * (worse ? 1 : -1));
        continue;
      }
      const y = plot.valToPos(point.value, "y", true);
      point.at = [x, y];
      ctx.beginPath();
      ctx.arc(x, y, (point.status === "running" ? 3.6 : small) * scale, 0, 7);
      if (point.status === "pruned") {
        ctx.strokeStyle = colour("prune");
        ctx.lineWidth = 1.3 * scale;
        ctx.stroke();
      } else {
        ctx.fillStyle = colour(point.status === "running" ? "run-fill" : "done");
        ctx.fill();
      }
    }
    ctx.globalAlpha = 1;
    this.drawRises(plot, scale);
    this.drawWinner(plot, scale);
    ctx.restore();
  }

  // The numbers of those that were the best for a while, on the side of the line where no result can stand.
  drawRises(plot, scale) {
    const { ctx } = plot;
    const beyond = this.beyond * scale;
    ctx.font = plotFont("");
    ctx.fillStyle = colour("best");
    ctx.textAlign = "left";
    let free = -Infinity;
    for (const { point, until } of rises(this.points, this.line)) {
      if (!point.at || point === this.winner) continue;
      const label = `#${this.app.experiments.number[point.row]}`;
      const [x, width] = [point.at[0] + 4 * scale, ctx.measureText(label).width];
      const end = Math.min(plot.valToPos(until, "x", true), this.winner?.at?.[0] ?? Infinity);
      if (x < free || x + width > end) continue;
      haloed(ctx, label, x, point.at[1] + beyond);
      free = x + width + 4 * scale;
    }
  }

  drawWinner(plot, scale) {
    const { ctx, bbox } = plot;
    const chosen = this.points.find(({ row }) => this.app.experiments.number[row] === view.selected);
    if (chosen?.at) {
      ctx.strokeStyle = colour("accent");
      ctx.lineWidth = 2 * scale;
      ctx.beginPath();
      ctx.arc(...chosen.at, 6 * scale, 0, 7);
      ctx.stroke();
    }
    if (!this.winner?.at) return;
    const [x, y] = this.winner.at;
    ctx.fillStyle = colour("best");
    ctx.strokeStyle = colour("surface");
    ctx.lineWidth = 2 * scale;
    ctx.beginPath();
    ctx.arc(x, y, 4.6 * scale, 0, 7);
    ctx.fill();
    ctx.stroke();
    const label = `#${this.app.experiments.number[this.winner.row]} · ${numberText(this.winner.value)}`;
    ctx.font = plotFont("600 ");
    const width = ctx.measureText(label).width;
    const end = plot.valToPos(this.x.at(-1), "x", true);
    const beside = end + 8 * scale + width < bbox.left + bbox.width + 8 * scale;
    const [left, base] = beside ? [end + 8 * scale, y + 4 * scale] : [Math.min(end, bbox.left + bbox.width) - width - 2 * scale, y + this.beyond * scale];
    ctx.textAlign = "left";
    haloed(ctx, label, left, base);
  }

  // Pixels from the line to the foot of a label on its better side.
  get beyond() {
    return this.app.experiments.sign < 0 ? 14 : -6;
  }

  brushed(plot) {
    const { left, top, width, height } = plot.select;
    if (width < 3 && height < 3) return;
    const { clientWidth, clientHeight } = plot.over;
    const brushes = new Map(view.brushes);
    const put = (key, low, high) => {
      const ends = openEnds(low, high, extent(this.points));
      brushes.set(key, ends);
    };
    if (height < clientHeight) put(this.app.experiments.objective.key, plot.posToVal(top + height, "y"), plot.posToVal(top, "y"));
    if (width < clientWidth) {
      const [low, high] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
      const points = this.points.filter(({ x }) => x >= low && x <= high).map(({ row }) => this.app.experiments.number[row]);
      if (points.length) brushes.set("number", { low: Math.min(...points), high: Math.max(...points) });
    }
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    change({ brushes });
  }

  listen(plot) {
    const nearest = (event) => {
      const box = plot.over.getBoundingClientRect();
      const scale = devicePixelRatio || 1;
      const [x, y] = [(event.clientX - box.left) * scale + plot.bbox.left, (event.clientY - box.top) * scale + plot.bbox.top];
      let found = null;
      let least = (16 * scale) ** 2;
      for (const point of this.points) {
        if (!point.at) continue;
        const away = (point.at[0] - x) ** 2 + (point.at[1] - y) ** 2;
        if (away < least) [found, least] = [point, away];
      }
      return found;
    };
    let pressed = null; // on the root: the lane of failures is outside of uPlot's own area
    plot.root.addEventListener("pointerdown", (event) => (pressed = [event.clientX, event.clientY]));
    plot.root.addEventListener("pointermove", (event) => {
      const point = nearest(event);
      if (!point) return hideTip();
      const { experiments } = this.app;
      showTip(event, `#${experiments.number[point.row]} ${hasNoResult(point) ? "no result" : numberText(point.value)}`, point.status, experiments.lists.reason[point.row], valuesLine(experiments, point.row));
    });
    plot.root.addEventListener("pointerleave", hideTip);
    plot.root.addEventListener("click", (event) => {
      const still = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < 4;
      const point = still && nearest(event);
      if (point) this.app.choose(this.app.experiments.number[point.row]);
    });
  }

  words() {
    const { experiments } = this.app;
    if (!this.winner) return `${this.points.length} experiments, no result yet`;
    return `Best ${experiments.objective.label} so far: ${numberText(this.winner.value)}, experiment ${experiments.number[this.winner.row]} of ${this.points.length}`;
  }

  rows() {
    const { experiments } = this.app;
    const head = [view.by === "time" ? "seconds" : "experiment", "number", "state", experiments.objective.label, "best so far"];
    return [head, ...this.points.map((point, at) => [point.x, experiments.number[point.row], point.status, point.value, this.line[at]])];
  }
}

// The first hyperparameters of an experiment, in one line.
const valuesLine = (experiments, row) => experiments.parameters.slice(0, 5).map((column) => `${middle(column.label, 16)} ${middle(valueText(experiments.get(column, row)), 16)}`).join(" · ");

const plotFont = (weight) => `${weight}${11 * (devicePixelRatio || 1)}px Inter, system-ui, sans-serif`;

// A text that can be read over lines and points.
function haloed(ctx, text, x, y) {
  ctx.strokeStyle = colour("surface");
  ctx.lineWidth = 4 * (devicePixelRatio || 1);
  ctx.lineJoin = "round";
  ctx.strokeText(text, x, y);
  ctx.fillText(text, x, y);
}

function cross(ctx, x, y, r) {
  ctx.beginPath();
  ctx.moveTo(x - r, y - r);
  ctx.lineTo(x + r, y + r);
  ctx.moveTo(x + r, y - r);
  ctx.lineTo(x - r, y + r);
  ctx.stroke();
}

function triangle(ctx, x, y, r) {
  ctx.beginPath();
  ctx.moveTo(x, y - r);
  ctx.lineTo(x + r, y + r);
  ctx.lineTo(x - r, y + r);
  ctx.fill();
}
