// The inspector: the chosen experiment, or the best. What the table knows is there at once, the rest follows.

import { dataUrl, getJson, projectUrl } from "./api.js";
import { isPossible } from "./actions.js";
import { delayed, el, glyph } from "./dom.js";
import { copy } from "./said.js";
import { counted, durationText, middle, numberText, valueText } from "./format.js";
import { colour, onTheme } from "./theme.js";
import { elapsed } from "./columns.js";
import { onView } from "./view_state.js";
import { plainText } from "./ansi.js";
import { band, drawCurves } from "./charts/curves.js";

const LAST_LINES = 6;

export class Inspector {
  constructor(app, element) {
    this.app = app;
    this.element = element;
    this.head = el("div");
    this.plot = el("div", { class: "plot", role: "img", "aria-label": "Curve", hidden: true });
    this.rest = el("div");
    this.foot = el("div", { class: "ia" });
    element.replaceChildren(this.head, this.plot, this.rest, this.foot);
    this.load = delayed(() => this.fetch(), 60);
    this.reload = delayed(() => this.fetch(), 900);
    onTheme(() => this.plot.plot?.redraw());
    onView((what) => (what.has("selected") || what.has("compare")) && this.refresh());
  }

  update(numbers) {
    const { experiments } = this.app;
    const number = this.app.current();
    if (number !== this.number) return this.refresh();
    this.drawHead();
    if (numbers.includes(number)) (experiments.status(experiments.rows.get(number)) === "running" ? this.reload : this.load)();
  }

  refresh() {
    const number = this.app.current();
    const other = number !== this.number;
    this.number = number;
    if (number === null) {
      this.head.replaceChildren(el("p", { class: "note" }, "Values and log of the best experiment appear here."));
      return;
    }
    this.element.setAttribute("aria-label", `Experiment ${number}`);
    if (other) {
      this.detail = null;
      this.load();
    }
    this.drawHead();
    this.drawFoot();
  }

  drawHead() {
    const { experiments } = this.app;
    const { number } = this;
    const row = experiments.rows.get(number);
    if (row === undefined) return;
    const status = experiments.status(row);
    const result = experiments.result(experiments.objective, row);
    const value = result ?? experiments.outcome(row) ?? this.detail?.reached?.value ?? null; // what it reached until it failed
    const best = row === experiments.best() && experiments.ranking().length > 1;
    const rank = experiments.rank(row);
    const { slot, exit_code: exit, reason, step } = experiments.lists;
    const seconds = elapsed(experiments, row);
    const state = [status === "running" ? `running for ${durationText(seconds)}` : `${status}${seconds === null ? "" : ` in ${durationText(seconds)}`}`, slot[row] === null ? "" : `slot ${slot[row]}`, exit[row] === null ? "" : `exit ${exit[row]}`];
    const compared = el("button", { type: "button", class: "ghost", "aria-pressed": "false", onclick: () => this.app.toggleCompare(number) }, "Compare");
    const last = this.detail?.curve?.step.at(-1) ?? step[row];
    const isVoid = value !== null && result === null;
    const places = [`${middle(experiments.objective.label, 30)}${last === null || last === undefined ? "" : ` at step ${last}`}${isVoid ? `, then it ${status === "failed" ? "failed" : "was stopped"}` : ""}`];
    if (rank !== undefined && experiments.ranking().length > 1) places.push(`rank ${rank + 1} of ${experiments.ranking().length}`);
    const parts = [
      el("div", { class: "ih" }, el("div", {}, el("h2", {}, `Experiment ${number} `, best ? el("em", { class: "tag" }, "best") : null), el("p", {}, glyph(status), state.filter(Boolean).join(" · "))), compared),
      value === null ? null : el("div", { class: `iv${best ? " best" : isVoid ? " void" : ""}` }, el("strong", { title: String(value) }, numberText(value)), el("span", {}, places.join(", "))),
      reason[row] ? el("p", { class: "reason" }, reason[row]) : null,
    ].filter(Boolean);
    const same = this.head.children.length === parts.length && parts.every((each, at) => each.isEqualNode(this.head.children[at]));
    if (!same) this.head.replaceChildren(...parts);
  }

  async fetch() {
    const { number } = this;
    if (number === null) return;
    try {
      const [detail, curves, quartiles] = await Promise.all([getJson(dataUrl(`/${number}`)), this.app.curves.of([number]), band()]);
      if (number !== this.number) return;
      this.detail = { ...detail, curve: curves.get(number) };
      this.drawHead();
      this.drawRest();
      this.drawFoot();
      await this.drawCurve(quartiles);
    } catch (error) {
      if (number === this.number && !this.detail) this.rest.replaceChildren(el("p", { class: "note" }, error.message));
    }
  }

  async drawCurve(quartiles) {
    const { number } = this;
    const { curve } = this.detail;
    this.plot.hidden = !curve || curve.step.length < 2;
    if (this.plot.hidden) return;
    const { experiments } = this.app;
    this.plot.setAttribute("aria-label", `${experiments.objective.label} by step for experiment ${number}, over the median and the middle half of all`);
    const row = experiments.rows.get(number);
    const name = row === experiments.best() ? "best" : experiments.status(row) === "running" ? "run-fill" : "accent";
    await drawCurves(this.plot, [{ number, ...curve, stroke: () => colour(name), label: `#${number}` }], { band: quartiles });
  }

  drawRest() {
    const { detail } = this;
    const failed = detail.status === "failed";
    const parts = failed ? [...this.log(), ...diffs(detail.diff), ...values(detail)] : [...diffs(detail.diff), ...values(detail), ...this.log()];
    const same = this.rest.children.length === parts.length && parts.every((each, at) => each.isEqualNode(this.rest.children[at]));
    if (!same) this.rest.replaceChildren(...parts);
  }

  log() {
    const { size, text } = this.detail.log;
    const all = plainText(text).trimEnd().split("\n");
    const lines = all.slice(-LAST_LINES);
    if (!lines[0] && lines.length === 1) return [];
    const whole = lines.length === all.length && size <= new Blob([text]).size;
    return [el("h3", {}, "Log ", el("span", {}, whole ? "" : `last ${counted(lines.length, "line")}`)), el("pre", { class: "log", tabindex: 0, role: "region", "aria-label": "Last log lines" }, lines.join("\n"))];
  }

  drawFoot() {
    const { detail, number } = this;
    const { experiments } = this.app;
    const row = experiments.rows.get(number);
    const status = experiments.status(row);
    const best = row === experiments.best();
    const parts = [];
    if (detail?.winning) {
      const word = best ? "Copy winning command" : "Copy command";
      parts.push(el("button", { type: "button", class: best ? "primary" : "", onclick: () => copy(detail.winning, "Command copied.") }, word));
    }
    if (["failed", "stopped"].includes(status) && isPossible("retry", this.app.summary)) parts.push(el("button", { type: "button", disabled: this.app.lost, onclick: () => this.app.ask("retry", { numbers: [number] }, 1) }, "Retry"));
    if (status === "running" && isPossible("stop", this.app.summary)) parts.push(el("button", { type: "button", class: "danger", disabled: this.app.lost, onclick: () => this.app.ask("stop", { numbers: [number] }) }, "Stop…"));
    parts.push(el("a", { class: "button ghost", href: projectUrl(`/${number}#files`) }, "Files"));
    parts.push(el("a", { class: "button ghost", href: projectUrl(`/${number}#log`) }, "Full log"));
    const same = this.foot.children.length === parts.length && parts.every((each, at) => each.isEqualNode(this.foot.children[at]));
    if (!same) this.foot.replaceChildren(...parts);
  }
}

// What was written into the script: only the lines that changed.
function diffs(files) {
  return files.flatMap(({ path, lines }) => {
    const changed = lines.filter(({ kind }) => kind !== " ");
    const shown = changed.slice(0, 40).flatMap(({ kind, line, text }) => [el("span", { class: "ln" }, String(line)), el(kind === "+" ? "ins" : "del", {}, `${kind}${text}`), "\n"]);
    return [el("h3", {}, `What changed in ${path}`), el("pre", { class: "diff", tabindex: 0, role: "region", "aria-label": `Changes in ${path}` }, ...shown)];
  });
}

// Where the script was not changed, the values stand by themselves.
function values(detail) {
  if (detail.diff.length) return [];
  const list = el("dl", { class: "facts" });
  for (const [name, value] of Object.entries(detail.values)) {
    const parts = name.split(/(?<=[._/])/).flatMap((part) => [part, el("wbr")]); // where a long name may be broken
    list.append(el("dt", {}, ...parts), el("dd", { title: String(value) }, valueWords(value)));
  }
  return [el("h3", {}, "Values"), list];
}

function valueWords(value) {
  return Array.isArray(value) ? `${counted(value.length, "number")}: ${valueText(value)}` : valueText(value);
}
