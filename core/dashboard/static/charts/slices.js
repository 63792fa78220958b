// Slices: the metric over each hyperparameter, on a log axis where it is searched on one, categories side by side.

import { breath, el } from "../dom.js";
import { counted, middle, numberText, valueText } from "../format.js";
import { colour } from "../theme.js";
import { canvasOf, cutTo, downloads, hideTip, showTip, ticksOf } from "./picture.js";
import { constant, makeAxis } from "./axis.js";
import { view } from "../view_state.js";

const ENOUGH = 5; // experiments that are done
const MOST = 24; // hyperparameters
const [LEFT, RIGHT, TOP, BOTTOM] = [42, 8, 6, 20];

export class SlicesPanel {
  constructor(app, panel) {
    this.app = app;
    this.grid = el("div", { class: "slices" });
    this.note = el("p", { class: "note" }, "Loading slices…");
    panel.replaceChildren(el("figcaption", {}, this.note, downloads("Slices", this.grid, () => this.rows())), this.grid);
    this.slices = [];
    new ResizeObserver(() => app.panels?.draw()).observe(this.grid);
  }

  async draw() {
    const { experiments } = this.app;
    const columns = experiments.parameters.filter((column) => !constant(column)).slice(0, MOST);
    const ranked = experiments.ranking();
    this.note.textContent = ranked.length >= ENOUGH ? `${experiments.objective.label} over each hyperparameter, ${counted(ranked.length, "experiment")} completed` : `Slices appear after ${ENOUGH} experiments have completed.`;
    if (ranked.length < ENOUGH) return this.grid.replaceChildren();
    if (this.slices.map(({ key }) => key).join("\n") !== columns.map(({ key }) => key).join("\n")) {
      this.slices = columns.map((column) => {
        const element = el("div", { class: "plot", role: "img", "aria-label": `${experiments.objective.label} over ${column.label}` });
        const slice = { key: column.key, element, box: el("div", { "data-slice": column.key }, el("h3", { title: column.label }, middle(column.label, 36)), element) };
        element.addEventListener("pointermove", (event) => this.hover(slice, event));
        element.addEventListener("pointerleave", hideTip);
        element.addEventListener("click", (event) => {
          const row = this.nearest(slice, event);
          if (row !== null) this.app.choose(experiments.number[row]);
        });
        return slice;
      });
      this.grid.replaceChildren(...this.slices.map(({ box }) => box));
    }
    const y = makeAxis(experiments, experiments.objective);
    const shown = [y.low, y.high];
    const turn = (this.turn = {}); // a later call begins anew
    for (let at = 0; at < this.slices.length && turn === this.turn; at += 1) {
      this.drawSlice(this.slices[at], columns[at], ranked, shown, y.log);
      await breath();
    }
  }

  drawSlice(slice, column, ranked, [low, high], log) {
    const { experiments } = this.app;
    const { mask } = this.app.matching();
    const { context: ctx, width, height } = canvasOf(slice.element);
    if (!width) return;
    const across = makeAxis(experiments, column);
    const inner = width - LEFT - RIGHT;
    const pad = 0.03;
    const x = (place) => LEFT + across.spread(place) * inner;
    const scale = log ? Math.log : (value) => value;
    const [from, to] = [scale(low), scale(high)];
    const y = (value) => TOP + (1 - pad - (Math.min(1, Math.max(0, (scale(value) - from) / (to - from || 1))) * (1 - 2 * pad))) * (height - TOP - BOTTOM);
    ctx.fillStyle = colour("ink-3");
    ctx.strokeStyle = colour("line-2");
    ctx.textAlign = "right";
    for (const value of ticksOf(low, high, log, 4)) {
      ctx.beginPath();
      ctx.moveTo(LEFT, y(value));
      ctx.lineTo(width - RIGHT, y(value));
      ctx.stroke();
      ctx.fillText(numberText(value), LEFT - 6, y(value) + 4);
    }
    ctx.textAlign = "center";
    const ticks = column.choices ? across.all.slice(0, 12) : ticksOf(across.low, across.high, across.log, Math.max(2, Math.floor(inner / 55))).map((value) => [across.place(value), numberText(value)]);
    for (const [place, word] of ticks) ctx.fillText(cutTo(ctx, word, inner / ticks.length - 4), Math.min(width - 16, x(place)), height - 5);
    const small = ranked.length > 2000 ? 1.6 : 2.4;
    slice.points = [];
    for (let at = ranked.length - 1; at >= 0; at -= 1) {
      const row = ranked[at];
      const [value, outcome] = [experiments.get(column, row), experiments.outcome(row)];
      if (value === null || !Number.isFinite(outcome)) continue;
      const jitter = column.choices ? (((experiments.number[row] * 0.618) % 1) - 0.5) * 0.6 / across.all.length : 0;
      const point = { row, x: x(across.place(value)) + jitter * inner, y: y(outcome) };
      slice.points.push(point);
      ctx.globalAlpha = at === 0 ? 1 : mask[row] ? (ranked.length > 2000 ? 0.5 : 0.8) : 0.1;
      ctx.fillStyle = colour(at === 0 ? "best" : "done");
      ctx.beginPath();
      ctx.arc(point.x, point.y, at === 0 ? 4 : small, 0, 7);
      ctx.fill();
      if (experiments.number[row] === view.selected && at !== 0) {
        ctx.globalAlpha = 1;
        ctx.strokeStyle = colour("accent");
        ctx.lineWidth = 2;
        ctx.stroke();
      }
    }
    ctx.globalAlpha = 1;
  }

  nearest(slice, event) {
    const box = slice.element.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let [found, least] = [null, 14 ** 2];
    for (const point of slice.points ?? []) {
      const away = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (away < least) [found, least] = [point.row, away];
    }
    return found;
  }

  hover(slice, event) {
    const { experiments } = this.app;
    const row = this.nearest(slice, event);
    if (row === null) return hideTip();
    const column = experiments.columns.find(({ key }) => key === slice.key);
    showTip(event, `#${experiments.number[row]} ${numberText(experiments.outcome(row))}`, `${column.label} ${valueText(experiments.get(column, row))}`);
  }

  rows() {
    const { experiments } = this.app;
    const columns = [...experiments.parameters, experiments.objective];
    return [["number", ...columns.map(({ label }) => label)], ...experiments.ranking().map((row) => [experiments.number[row], ...columns.map((column) => experiments.get(column, row))])];
  }
}
