// The table as CSV: the rows as they stand in the page, or all experiments. The server writes both.

import { dataUrl, page, rowsAsCsv } from "./api.js";
import { el } from "./dom.js";
import { counted } from "./format.js";
import { say } from "./said.js";
import { save } from "./save.js";

// What stands in a menu for it.
export function exportItems(app) {
  const order = app.table?.order ?? [];
  const shown = async () => {
    try {
      save(await rowsAsCsv(order.map((row) => app.experiments.number[row])), `${page.project}.csv`);
    } catch (error) {
      say(error.message, { error: true });
    }
  };
  return [
    el("button", { type: "button", class: "ghost", onclick: shown }, `${counted(order.length, "row")} as shown, as CSV`),
    el("a", { class: "button ghost", href: dataUrl("/export.csv"), download: "" }, "All experiments as CSV"),
  ];
}
