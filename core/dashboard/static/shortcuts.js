// Keys that work anywhere on the page of a project, except where one types.

import { change, view } from "./view_state.js";

export function startKeys(app) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    if (event.key === "j") app.table.step(1);
    else if (event.key === "k") app.table.step(-1);
    else if (event.key === "c" && app.current()) app.toggleCompare(app.current());
    else if (event.key === "/") app.toolbar.query.focus();
    else if (event.key === "Escape" && (view.brushes.size || view.query || view.state !== "all")) change({ brushes: new Map(), query: "", state: "all" });
    else return;
    event.preventDefault();
  });
}
