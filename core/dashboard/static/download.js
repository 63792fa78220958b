// Files to keep: the table as CSV, which the server writes, a picture, and the data behind a picture.

import { experimentsUrl, page, rowsAsCsv } from "./api.js";
import { el } from "./dom.js";
import { counted } from "./format.js";
import { say } from "./toast.js";

// What stands in a menu for the table: the rows as they stand in the page, or all experiments.
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
    el("a", { class: "button ghost", href: experimentsUrl(".csv"), download: "" }, "All experiments as CSV"),
  ];
}

// `rows`: the head first.
export function saveCsv(rows, name) {
  save(new Blob([csv(rows)], { type: "text/csv" }), `${name}.csv`);
}

export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function csv(rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    // A spreadsheet would run a text that begins like a formula.
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
