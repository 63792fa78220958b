// Slots: which experiment each slot ran, over time. Gaps are idle slots, long bars stragglers.

import { el } from "../dom.js";
import { NO_RESULT } from "../experiments.js";
import { counted, durationText, numberText } from "../format.js";
import { colour } from "../theme.js";
import { onView, view } from "../view_state.js";
import { canvasOf, downloads, FONT, hideTip, showTip, ticksOf } from "./picture.js";

const LEFT = 44; // pixels for the names of the slots
const FOOT = 20;

// What share of all slots was busy, over `seconds`.
export function busyText(bars, lanes, seconds) {
  const share = Math.min(1, bars.reduce((sum, { from, to }) => sum + to - from, 0) / (lanes * seconds || 1));
  return `${Math.round(100 * share)} % of ${counted(lanes, "slot")} busy`;
}

export class Timeline {
  constructor(app, section) {
    this.app = app;
    this.section = section;
    this.element = el("div", { class: "plot lanes", role: "img", tabindex: "0", "aria-label": "Slots" });
    this.busy = el("span", { class: "key" });
    this.open = el("button", { type: "button", class: "mini", "aria-expanded": "false", onclick: () => this.toggle() }, "Slots");
    section.replaceChildren(el("figcaption", {}, el("h2", {}, this.open), this.busy, downloads("Slots", this.element, () => this.rows())), this.element);
    this.element.addEventListener("pointermove", (event) => this.hover(event));
    this.element.addEventListener("pointerleave", hideTip);
    this.element.addEventListener("click", (event) => {
      const bar = this.at(event);
      if (bar) app.choose(app.experiments.number[bar.row]);
    });
    new ResizeObserver(() => this.draw()).observe(section);
    onView((what) => what.has("selected") && this.draw());
  }

  // Closed, one line says how many slots were busy when; open, each has its lane.
  toggle() {
    const closed = this.section.classList.toggle("closed");
    this.open.setAttribute("aria-expanded", String(!closed));
    this.draw();
  }

  draw() {
    const { experiments } = this.app;
    const { slot, started, finished, status } = experiments.lists;
    const live = this.app.summary.state === "running";
    const bars = [];
    let [first, last, lanes] = [Infinity, -Infinity, 0];
    for (let row = 0; row < experiments.size; row += 1) {
      if (slot[row] === null || started[row] === null) continue;
      const end = finished[row] ?? (status[row] === "running" ? Date.now() / 1000 : started[row]);
      bars.push({ row, lane: slot[row], from: started[row], to: end });
      first = Math.min(first, started[row]);
      last = Math.max(last, end);
      lanes = Math.max(lanes, slot[row] + 1);
    }
    this.bars = bars;
    this.section.hidden = !bars.length;
    if (!bars.length || !this.section.clientWidth) return;
    if (live) last = Math.max(last, Date.now() / 1000);
    lanes = Math.max(lanes, this.app.summary.slots ?? 1); // those that nothing ran on are idle
    this.lanes = lanes;
    const words = busyText(bars, lanes, last - first);
    this.busy.textContent = words;
    this.element.setAttribute("aria-label", `${words} over ${durationText(last - first)}`);
    if (this.section.classList.contains("closed")) return this.drawLine(bars, first, last);
    const pitch = lanes > 8 ? 8 : 16;
    const height = lanes * pitch + FOOT;
    this.element.style.height = `${Math.min(160, height)}px`;
    const { context: ctx, width } = canvasOf(this.element, height);
    const right = width - 12;
    this.x = (time) => LEFT + ((time - first) / (last - first || 1)) * (right - LEFT);
    this.pitch = pitch;
    this.drawTicks(ctx, first, last, lanes * pitch);
    const best = experiments.best();
    const chosen = experiments.rows.get(view.selected);
    const thick = lanes > 8 ? 6 : 10;
    ctx.font = FONT;
    ctx.fillStyle = colour("ink-3");
    ctx.textAlign = "right";
    for (let lane = 0; lane < lanes; lane += 1) if (pitch > 8 || lane % 4 === 0) ctx.fillText(`slot ${lane}`, LEFT - 7, lane * pitch + thick + 1);
    for (const bar of bars) {
      const state = status[bar.row];
      const isBest = bar.row === best;
      ctx.globalAlpha = 1;
      ctx.fillStyle = colour(isBest ? "best" : state === "failed" ? "bad" : state === "running" ? "run-fill" : state === "completed" ? "done" : "prune");
      const from = this.x(bar.from);
      const long = Math.max(1, this.x(bar.to) - from - (this.x(bar.to) - from > 4 ? 1.5 : 0));
      if (long < 4) ctx.fillRect(from, bar.lane * pitch + 2, long, thick);
      else {
        ctx.beginPath();
        ctx.roundRect(from, bar.lane * pitch + 2, long, thick, 2);
        ctx.fill();
      }
      if (bar.row === chosen) {
        ctx.globalAlpha = 1;
        ctx.strokeStyle = colour("accent");
        ctx.lineWidth = 1.5;
        ctx.strokeRect(from, bar.lane * pitch + 2, long, thick);
      }
    }
    ctx.globalAlpha = 1;
    if (live) {
      ctx.strokeStyle = colour("ink-3");
      ctx.setLineDash([2, 3]);
      ctx.lineWidth = 1;
      ctx.beginPath();
      ctx.moveTo(right + 1, 0);
      ctx.lineTo(right + 1, lanes * pitch + 2);
      ctx.stroke();
      ctx.setLineDash([]);
    }
  }

  drawLine(bars, first, last) {
    this.element.style.height = "10px";
    const { context: ctx, width } = canvasOf(this.element, 10);
    this.x = (time) => ((time - first) / (last - first || 1)) * width;
    this.pitch = Infinity;
    const busy = new Float64Array(Math.ceil(width) + 1);
    for (const { from, to } of bars) {
      const [begin, end] = [Math.floor(this.x(from)), Math.max(Math.floor(this.x(from)) + 1, Math.ceil(this.x(to)))];
      for (let at = begin; at < Math.min(end, busy.length); at += 1) busy[at] += 1;
    }
    ctx.fillStyle = colour("done");
    busy.forEach((count, at) => {
      const high = 10 * Math.min(1, count / this.lanes);
      ctx.fillRect(at, 10 - high, 1, high);
    });
  }

  drawTicks(ctx, first, last, bottom) {
    const seconds = last - first;
    const [unit, word] = seconds > 3 * 86400 ? [86400, "d"] : seconds > 3 * 3600 ? [3600, "h"] : seconds > 180 ? [60, "min"] : [1, "s"];
    ctx.textAlign = "center";
    ctx.fillStyle = colour("ink-3");
    ctx.strokeStyle = colour("line-2");
    for (const tick of ticksOf(0, seconds / unit, false, 6)) {
      if (tick === 0) continue;
      const x = this.x(first + tick * unit);
      ctx.beginPath();
      ctx.moveTo(x, 0);
      ctx.lineTo(x, bottom + 2);
      ctx.stroke();
      ctx.fillText(`${tick} ${word}`, Math.min(x, this.element.clientWidth - 24), bottom + 15);
    }
  }

  at(event) {
    if (!this.bars?.length || this.pitch === Infinity) return null;
    const box = this.element.getBoundingClientRect();
    const x = event.clientX - box.left;
    const lane = Math.floor((event.clientY - box.top + this.element.scrollTop) / this.pitch);
    return this.bars.findLast((bar) => bar.lane === lane && x >= this.x(bar.from) - 1 && x <= this.x(bar.to) + 1) ?? null;
  }

  hover(event) {
    const bar = this.at(event);
    if (!bar) return hideTip();
    const { experiments } = this.app;
    showTip(event, `#${experiments.number[bar.row]} ${NO_RESULT.has(experiments.status(bar.row)) ? "no result" : numberText(experiments.outcome(bar.row))}`, `${experiments.status(bar.row)} in ${durationText(bar.to - bar.from)}`, experiments.lists.reason[bar.row]);
  }

  rows() {
    const { experiments } = this.app;
    return [["slot", "number", "state", "started", "ended"], ...this.bars.map(({ row, lane, from, to }) => [lane, experiments.number[row], experiments.status(row), from, to])];
  }
}
