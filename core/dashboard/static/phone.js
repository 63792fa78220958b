// What a phone has in place of what it has no room for: a menu of the header's other actions, and a choice of the order.

import { isHidden, tableColumns } from "./table_columns.js";
import { el } from "./dom.js";
import { exportItems } from "./download.js";
import { menu } from "./menu.js";
import { sorting } from "./table_order.js";
import { change, view } from "./view_state.js";

// The actions of the header that are hidden there, and the table as CSV.
export function moreMenu(app) {
  const items = () => {
    const hidden = [...document.querySelectorAll(".acts > .hidem")].filter((action) => !action.hidden);
    const copies = hidden.map((action) => {
      const name = action.textContent;
      if (action.href) return el("a", { class: "button ghost", href: action.href, target: "_blank", rel: "noopener" }, name);
      return el("button", { type: "button", class: `ghost ${action.classList.contains("danger") ? "danger" : ""}`, disabled: action.disabled, onclick: () => action.click() }, name);
    });
    return [...copies, ...exportItems(app)];
  };
  document.querySelector(".acts").append(menu("More", items, { class: "pop phone" }));
}

// The order of the table as a select, where the heads of its columns are not seen.
export class SortSelect {
  constructor(app) {
    this.app = app;
    this.element = el("select", { class: "phone", "aria-label": "Sort by" });
    this.element.addEventListener("change", () => {
      const { value } = this.element;
      change({ sort: [{ name: value.slice(1), down: value[0] === "-" }] });
    });
  }

  refresh() {
    const [now] = sorting(this.app.experiments);
    const columns = tableColumns(this.app).filter((column) => !column.fixed && (column.key === now.name || !isHidden(column, view)));
    const options = columns.flatMap(({ key, label }) => [[`+${key}`, `${label} ▲`], [`-${key}`, `${label} ▼`]]);
    const signature = JSON.stringify(options);
    if (signature !== this.drawn) this.element.replaceChildren(...options.map(([value, words]) => el("option", { value }, words)));
    this.drawn = signature;
    this.element.value = `${now.down ? "-" : "+"}${now.name}`;
  }
}
