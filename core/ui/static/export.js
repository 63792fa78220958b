// The table as CSV: the rows that the view shows, in its order, made here; or all experiments, by the server.

import { dataUrl, page } from "./api.js";
import { el } from "./dom.js";
import { plural } from "./format.js";
import { saveCsv } from "./save.js";

// What stands in a menu for it.
export function exportItems(app) {
  const order = app.table?.order ?? [];
  const shown = el("button", { type: "button", class: "ghost", disabled: !order.length, onclick: () => saveCsv(shownRows(app.experiments, order), `${page.project}-view`) }, `${plural(order.length, "row")} as shown, as CSV`);
  return [shown, el("a", { class: "button ghost", href: dataUrl("/export.csv"), download: "" }, "All experiments as CSV")];
}

// All columns, whether the table shows them or not. Arrays are their norms here, as in the table.
function shownRows(experiments, order) {
  const named = (key) => experiments.columns.filter((column) => column.key === key);
  const rest = experiments.columns.filter(({ key }) => key !== "number" && key !== "status");
  const cost = experiments.lists.cost.some((dollars) => dollars !== null) ? [{ kind: "state", key: "cost" }] : [];
  const columns = [...named("number"), ...named("status"), ...rest, ...cost];
  return [columns.map(({ kind, key, label }) => (kind === "state" ? key : label)), ...order.map((row) => columns.map((column) => experiments.get(column, row)))];
}
