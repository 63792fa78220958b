// The small curves in the table: only those of rows in sight are fetched and drawn.

import { delayed, el, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [64, 18];

// Why there is no line for a curve of none or one value.
export function noCurve(status, curve) {
  if (curve?.step.length) return "No curve: one value was reported.";
  return status === "queued" || status === "running" ? "No curve yet: no value was reported." : "No curve: its files hold no values by step.";
}

export class Sparks {
  constructor(app) {
    this.app = app;
    this.wanted = [];
    this.blank = new Set(); // numbers whose cell was drawn before their curve was known
    this.any = true; // until all that were looked at have none
    this.fetch = delayed(() => this.load(), 120);
  }

  // The table shows these rows now.
  want(numbers) {
    this.wanted = numbers;
    const { known, old } = this.app.curves;
    if (numbers.some((number) => !known.has(number) || old.has(number))) this.fetch();
  }

  async load() {
    const { experiments, table, curves } = this.app;
    const needed = this.wanted.filter((number) => experiments.status(experiments.rows.get(number)) !== "queued" && (!curves.known.has(number) || curves.old.has(number)));
    try {
      if (needed.length) await curves.of(needed, 60);
    } catch {
      return; // the link is lost; the next rows ask again
    }
    const blank = [...this.blank].filter((number) => curves.known.has(number)); // the inspector may have fetched it meanwhile
    if (!needed.length && !blank.length) return;
    for (const number of blank) this.blank.delete(number);
    const any = [...curves.known.values()].some(({ step }) => step.length > 1);
    if (any !== this.any) {
      this.any = any;
      return table.update([]);
    }
    for (const number of [...needed, ...blank]) table.stale.add(number);
    table.draw();
  }

  fill(cell, row) {
    const { experiments, curves } = this.app;
    const curve = curves.known.get(experiments.number[row]);
    if (!curve) return void this.blank.add(experiments.number[row]); // it comes
    if (curve.step.length < 2) {
      const words = noCurve(experiments.status(row), curve);
      return cell.append(el("small", { class: "w", title: words }, curve.step.length ? "1 value" : "none"));
    }
    const values = curve.value.filter(Number.isFinite);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const first = curve.step[0];
    const last = Math.max(this.app.steps() ?? 0, curve.step.at(-1));
    const x = (step) => 2 + ((step - first) / (last - first || 1)) * (WIDTH - 4);
    const y = (value) => 3 + ((high - value) / (high - low || 1)) * (HEIGHT - 6);
    let path = "";
    let end = null;
    curve.step.forEach((step, at) => {
      const value = curve.value[at];
      if (!Number.isFinite(value)) return;
      end = [x(step).toFixed(1), y(value).toFixed(1)];
      path += `${path ? "L" : "M"}${end[0]} ${end[1]}`;
    });
    if (!end) return;
    const kind = experiments.status(row) === "running" ? "running" : "";
    cell.append(svg("svg", { class: `spark ${kind}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, svg("path", { d: path }), svg("circle", { cx: end[0], cy: end[1], r: 1.8 })));
  }
}
