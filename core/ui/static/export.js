// The table as CSV: the rows that the view shows, in its order, or all experiments. The server makes both.

import { dataUrl } from "./api.js";
import { el } from "./dom.js";
import { plural } from "./format.js";

// What stands in a menu for it.
export function exportItems(app) {
  const link = (search, words) => el("a", { class: "button ghost", href: dataUrl(`/export.csv${search}`), download: "" }, words);
  return [link(location.search, `${plural(app.table?.order.length ?? 0, "row")} as shown, as CSV`), link("", "All experiments as CSV")];
}
