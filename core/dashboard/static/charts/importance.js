// Importance: a bar for each hyperparameter; a click opens its slice. Bars are elements: a screen reader has them too.

import { el } from "../dom.js";
import { counted, middle } from "../format.js";
import { dataUrl, getJson, page } from "../api.js";
import { saveCsv } from "../download.js";

export const ENOUGH = 10; // finished experiments
const GROWTH = 1.25; // not anew for each experiment

// What the server found, asked for when there are a quarter more finished experiments than the last time.
export function importanceOf(app) {
  const ranked = app.experiments.ranking().length;
  if (!app.importanceAsked || ranked > GROWTH * app.importanceAt || (app.importanceAt < ENOUGH && ranked >= ENOUGH)) {
    app.importanceAt = ranked;
    app.importanceAsked = getJson(dataUrl("/importance")).then((found) => {
      app.importance = new Map(found.parameters.map(({ name, importance }) => [name, importance]));
      return found;
    });
    app.importanceAsked.catch(() => (app.importanceAsked = null));
  }
  return app.importanceAsked;
}

export class ImportancePanel {
  constructor(app, panel) {
    this.app = app;
    this.panel = panel;
    this.found = null;
    panel.replaceChildren(el("p", { class: "note" }, "Computing…"));
  }

  async draw() {
    let found;
    try {
      found = await importanceOf(this.app);
    } catch (error) {
      return this.panel.replaceChildren(el("p", { class: "note" }, error.message));
    }
    if (found === this.found) return;
    this.found = found;
    const { parameters, count } = found;
    const { experiments } = this.app;
    if (count < ENOUGH) return this.panel.replaceChildren(el("p", { class: "note" }, `Importance appears after ${ENOUGH} completed experiments.`));
    if (!parameters.some(({ importance }) => importance > 0)) return this.panel.replaceChildren(el("p", { class: "note" }, `No measurable effect yet (${counted(count, "experiment")}).`));
    const bars = el("div", { class: "bars" });
    for (const { name, importance, low, high } of parameters) {
      const [fill, range] = [el("i"), el("u")];
      fill.style.width = `${100 * importance}%`;
      range.style.left = `${100 * low}%`;
      range.style.width = `${100 * (high - low)}%`;
      const label = experiments.columns.find(({ key }) => key === name)?.label ?? name;
      const open = el("button", { type: "button", class: "link", title: `${label}: show its slice`, onclick: () => this.app.panels.openSlice(name) }, middle(label, 36));
      bars.append(open, el("div", { class: "bar", "aria-hidden": "true" }, fill, range), el("span", { class: "v" }, `${Math.round(100 * importance)} % (${Math.round(100 * low)} to ${Math.round(100 * high)} %)`));
    }
    const csvButton = el("button", { type: "button", class: "mini hidem", "aria-label": "Save Importance as CSV" }, "CSV");
    csvButton.addEventListener("click", () => saveCsv([["name", "importance", "low", "high"], ...parameters.map((row) => [row.name, row.importance, row.low, row.high])], `${page.project}-importance`));
    this.panel.replaceChildren(el("figcaption", {}, el("p", { class: "note" }, `Share of the variation of ${experiments.objective.label} that each hyperparameter explains by itself, in ${counted(count, "experiment")}; the line is its 90 % interval.`), csvButton), bars);
  }
}
