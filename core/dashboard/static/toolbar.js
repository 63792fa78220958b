// What stands above the table: states, brushes, query, columns, CSV.

import { delayed, el } from "./dom.js";
import { filterText } from "./filters.js";
import { tableColumns, isHidden } from "./table_columns.js";
import { exportItems } from "./download.js";
import { STATUSES, middle } from "./format.js";
import { menu } from "./menu.js";
import { SortSelect } from "./phone.js";
import { change, onView, view } from "./view_state.js";

const STATES = ["all", ...STATUSES];
const ALWAYS = new Set(["all", "completed", "failed"]);

export class Toolbar {
  constructor(app, section) {
    this.app = app;
    this.states = el("div", { class: "chips", role: "group", "aria-label": "States" });
    this.filters = el("span", { class: "filters" });
    this.query = el("input", { type: "search", "aria-label": "Filter experiments", placeholder: example(app.experiments), spellcheck: "false", autocomplete: "off" });
    this.query.value = view.query;
    this.pending = el("p", { class: "still-running", hidden: true });
    this.newResults = el("button", { type: "button", class: "fresh", hidden: true });
    this.hint = el("p", { class: "hint", role: "status", hidden: true });
    this.count = el("span", { class: "vh", role: "status" });
    this.sort = new SortSelect(app);
    const columns = menu("Columns", () => this.columnBoxes());
    const csv = menu("CSV", () => exportItems(app), { class: "pop hidem" });
    this.bar = el("div", { class: "tbar" }, el("h2", { id: "experiments-title" }, "Experiments"), this.states, this.filters, this.newResults, el("span", { class: "sp" }), this.query, this.sort.element, columns, csv, this.count);
    section.querySelector(":scope > .tbar").replaceWith(this.bar);
    this.bar.after(this.hint, this.pending);

    this.query.addEventListener("input", delayed(() => change({ query: this.query.value }), 150));
    this.query.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.query.blur(); // the letters are keys again
      if (!this.query.value) return;
      this.query.value = "";
      change({ query: "" });
    });
    onView((what) => {
      if (what.has("query") && document.activeElement !== this.query) this.query.value = view.query;
      this.refresh();
    });
  }

  refresh() {
    const { experiments } = this.app;
    const { count, pending, error } = this.app.matching();
    this.drawStates(experiments.counts());
    this.drawFilters(count);
    this.pending.textContent = pending && (view.state === "all" || view.state === "running") ? `${pending} running shown although ${pending === 1 ? "it has" : "they have"} no value yet` : "";
    this.pending.hidden = !this.pending.textContent;
    this.drawHint(error);
    this.sort.refresh();
    this.count.textContent = [view.query || view.brushes.size ? `${count} match` : "", this.pending.textContent].filter(Boolean).join(", ");
  }

  drawStates(counts) {
    const total = this.app.experiments.size;
    const wanted = STATES.filter((state) => ALWAYS.has(state) || state === view.state || (counts[state] && state !== "running" && state !== "queued"));
    const signature = JSON.stringify([wanted, counts, total, view.state]);
    if (signature === this.statesDrawn) return;
    this.statesDrawn = signature;
    const focused = this.states.contains(document.activeElement) ? document.activeElement.dataset.state : null;
    const buttons = wanted.map((state) => {
      const word = state;
      const button = el("button", { type: "button", "data-state": state, "aria-pressed": String(state === view.state) }, `${word[0].toUpperCase()}${word.slice(1)} `, el("b", {}, String(state === "all" ? total : counts[state] ?? 0)));
      button.addEventListener("click", () => change({ state }));
      return button;
    });
    this.states.replaceChildren(...buttons);
    if (focused) this.states.querySelector(`[data-state="${focused}"]`)?.focus();
  }

  drawFilters(count) {
    const chips = [...view.brushes].map(([key, brush], at, all) => {
      const words = filterText(this.app.experiments, key, brush);
      const match = at === all.length - 1 ? el("b", { class: "match" }, `${count} match`) : null;
      const chip = el("button", { type: "button", class: "filter", "data-brush": key, title: `Remove filter ${words}` }, el("span", {}, middle(words, 44)), " ", match, " ", el("span", { "aria-hidden": "true" }, "×"));
      chip.addEventListener("click", () => {
        const brushes = new Map(view.brushes);
        brushes.delete(key);
        change({ brushes });
      });
      return chip;
    });
    if (!chips.length && view.query && !this.app.matching().error) chips.push(el("span", { class: "match" }, `${count} match`));
    const same = chips.length === this.filters.children.length && chips.every((chip, at) => chip.isEqualNode(this.filters.children[at]));
    if (!same) this.filters.replaceChildren(...chips);
  }

  // What is wrong with the query, or that nothing matches.
  drawHint(error) {
    this.query.setAttribute("aria-invalid", String(Boolean(error)));
    const nothing = !error && this.app.experiments.size && !this.app.shown();
    this.hint.hidden = !error && !nothing;
    if (error) this.hint.replaceChildren(error);
    else if (nothing) {
      const clear = el("button", { type: "button", class: "link" }, "Clear filter");
      clear.addEventListener("click", () => change({ query: "", brushes: new Map(), state: "all" }));
      const asked = view.query || [...view.brushes].map(([key, brush]) => filterText(this.app.experiments, key, brush)).join(" and ") || view.state;
      this.hint.replaceChildren("No experiment matches ", el("code", {}, asked), ". ", clear);
    }
  }

  columnBoxes() {
    return tableColumns(this.app).filter((column) => column.key !== "status" && column.key !== "number").map((column) => {
      const box = el("input", { type: "checkbox", checked: !isHidden(column, view) });
      box.addEventListener("change", () => {
        const name = column.hidden ? "shown" : "hidden";
        const set = new Set(view[name]);
        if (box.checked === Boolean(column.hidden)) set.add(column.key);
        else set.delete(column.key);
        change({ [name]: set });
      });
      return el("label", {}, box, column.label);
    });
  }
}

// A query of this project's own names: `lr < 0.001 and optimizer = adam`.
function example(experiments) {
  const number = experiments.parameters.find((column) => !column.choices);
  const choice = experiments.parameters.find((column) => column.choices);
  const quoted = (name) => (/^[\w.]+$/.test(name) ? name : `"${name}"`);
  const parts = [];
  if (number) parts.push(`${quoted(number.label)} < ${number.max === null || number.max === undefined ? 1 : Number((number.log ? Math.sqrt(number.min * number.max) : (number.min + number.max) / 2).toPrecision(1))}`);
  if (choice) parts.push(`${quoted(choice.label)} = ${quoted(String(choice.choices[0]))}`);
  return parts.join(" and ") || "state = failed";
}
