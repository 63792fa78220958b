// The head of the live table: a button for each column, which sorts by it.

import { el } from "./dom.js";
import { middle } from "./format.js";
import { sortedBy, sorting } from "./table_order.js";
import { change } from "./view_state.js";

const LONGEST = 26; // characters of a name

// Draws it anew where columns or order are others. The button that had the focus has it again.
export function drawHead(head, columns, experiments) {
  const keys = sorting(experiments);
  const signature = JSON.stringify([columns.map((column) => column.key), keys]);
  if (signature === head.drawn) return;
  head.drawn = signature;
  const focused = head.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  head.replaceChildren(el("tr", { "aria-rowindex": 1 }, ...columns.map((column, at) => headCell(column, at, keys, experiments))));
  if (focused) head.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function headCell(column, at, keys, experiments) {
  const place = keys.findIndex(({ name }) => name === column.key);
  const down = place >= 0 && keys[place].down;
  const label = middle(column.short ?? column.label, LONGEST);
  if (column.fixed) return el("th", { scope: "col", class: column.class, "aria-colindex": at + 1 }, label);
  const arrow = place < 0 ? "" : down ? " ▼" : " ▲";
  const several = place >= 0 && keys.length > 1 ? el("sup", {}, String(place + 1)) : null;
  const words = label ? [`${label}${arrow}`, several] : [el("span", { class: "vh" }, column.label), arrow];
  const button = el("button", { type: "button", "data-key": column.key, title: `Sort by ${column.label}; with Shift as a further key` }, ...words);
  button.addEventListener("click", (event) => change({ sort: sortedBy(experiments, column.key, event.shiftKey) }));
  const sort = place < 0 ? "none" : down ? "descending" : "ascending";
  return el("th", { scope: "col", class: column.class, "aria-sort": sort, "aria-colindex": at + 1 }, button);
}
