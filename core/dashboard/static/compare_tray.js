// The experiments that were picked for comparison, at the bottom of the page.

import { el } from "./dom.js";
import { projectUrl } from "./api.js";
import { change, onView, view } from "./view_state.js";

export class Tray {
  constructor(app, section) {
    this.bar = el("div", { class: "tray", role: "region", "aria-label": "Comparison", hidden: true });
    section.after(this.bar);
    onView((what) => what.has("compare") && this.refresh());
    this.refresh();
  }

  refresh() {
    const { compare } = view;
    this.bar.hidden = !compare.length;
    const numbers = compare.map((number) => `#${number}`).join(", ");
    const clear = el("button", { type: "button", class: "ghost", onclick: () => change({ compare: [] }) }, "Clear");
    const go =
      compare.length > 1
        ? el("a", { class: "button primary", href: projectUrl(`/compare?e=${compare.join(",")}`) }, `Compare ${compare.length}`)
        : el("span", { class: "note" }, "Pick 1 to 4 more: Ctrl-click their rows, or c for the chosen one.");
    this.bar.replaceChildren(el("b", {}, numbers), go, el("span", { class: "sp" }), clear);
  }
}
