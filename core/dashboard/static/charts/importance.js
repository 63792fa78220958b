// Importance: how much each hyperparameter matters, with how sure that is. Bars are elements: a screen reader has them too.

import { el } from "../dom.js";
import { middle } from "../format.js";
import { dataUrl, getJson, page } from "../api.js";
import { saveCsv } from "../save.js";

export const ENOUGH = 10; // finished experiments
const GROWTH = 1.25; // a forest takes seconds: not anew for each experiment

// What the server found, asked for when there are a quarter more finished experiments than the last time.
export function importanceOf(app) {
  const ranked = app.experiments.ranking().length;
  if (!app.importanceAsked || ranked > GROWTH * app.importanceAt || (app.importanceAt < ENOUGH && ranked >= ENOUGH)) {
    app.importanceAt = ranked;
    app.importanceAsked = getJson(dataUrl("/importance")).then((found) => {
      app.importance = new Map((found.parameters ?? []).map(({ name, importance }) => [name, Math.max(0, importance)]));
      app.leader = found.leader ?? ""; // only where the server's test tells it from chance
      return found;
    });
    app.importanceAsked.catch(() => (app.importanceAsked = null));
  }
  return app.importanceAsked;
}

// `lr matters most`, where one hyperparameter stands out from chance and from the others.
export function mattersMost(app) {
  return app.leader ? `${app.leader} matters most` : "";
}

export class ImportancePanel {
  constructor(app, panel) {
    this.app = app;
    this.panel = panel;
    this.found = null;
  }

  async draw() {
    if (!this.found) this.panel.replaceChildren(el("p", { class: "note" }, "Computing…"));
    let found;
    try {
      found = await importanceOf(this.app);
    } catch (error) {
      return this.panel.replaceChildren(el("p", { class: "note" }, error.message));
    }
    if (found === this.found) return;
    this.found = found;
    const { parameters = [], note, method, count } = found;
    const rows = [...parameters].sort((a, b) => b.importance - a.importance);
    if (!rows.length) return this.panel.replaceChildren(el("p", { class: "note" }, note || "Importance appears when more experiments are done."));
    const total = rows.reduce((sum, { importance }) => sum + Math.max(0, importance), 0) || 1; // shares of what all explain
    const most = Math.max(1e-9, ...rows.map(({ importance, high }) => Math.max(importance, high ?? 0)));
    const bars = el("div", { class: "bars" });
    for (const { name, importance, low, high, trend } of rows) {
      const fill = el("i");
      fill.style.width = `${(100 * Math.max(0, importance)) / most}%`;
      const bar = el("div", { class: "bar", "aria-hidden": "true" }, fill);
      if (low !== null && high !== null && low !== undefined) {
        const range = el("u");
        range.style.left = `${(100 * Math.max(0, low)) / most}%`;
        range.style.width = `${(100 * (Math.max(0, high) - Math.max(0, low))) / most}%`;
        bar.append(range);
      }
      const share = (part) => `${Math.round((100 * Math.max(0, part)) / total)}%`;
      const range = low === null || low === undefined ? "" : ` (${share(low)} to ${share(high)})`;
      const better = trend ? ` · ${trend > 0 ? "larger" : "smaller"} is better` : "";
      bars.append(el("span", { title: name }, middle(name, 36)), bar, el("span", { class: "v" }, `${share(importance)}${range}${better}`));
    }
    const csvButton = el("button", { type: "button", class: "mini hidem", "aria-label": "Save Importance as CSV" }, "CSV");
    csvButton.addEventListener("click", () => saveCsv([["name", "importance", "low", "high", "correlation"], ...rows.map((row) => [row.name, row.importance, row.low, row.high, row.correlation])], `${page.project}-importance`));
    this.panel.replaceChildren(el("figcaption", {}, el("p", { class: "note" }, `${method}, from ${count} experiments.${note ? ` ${note}` : ""}`), csvButton), bars);
  }
}
