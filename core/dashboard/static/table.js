// The table of experiments: the server's plain table, with all rows, of which only those in sight are in the page.
//
//   experiments --matching--> mask --sort--> order --window--> rows in the page
//
// On a phone, where the page itself scrolls, a part of the cards and a button for more: what stands below must be reached.
// The order is held while the pointer is in the table or it is scrolled: rows change in their places, new ones are counted.
// The focus stays on the table itself and `aria-activedescendant` names the chosen row, so no change of rows can lose it.

import { el, framed } from "./dom.js";
import { counted, middle } from "./format.js";
import { isHidden, tableColumns } from "./table_columns.js";
import { ordered } from "./table_order.js";
import { drawHead } from "./table_head.js";
import { change, onView, view } from "./view_state.js";

const AROUND = 8; // rows beyond either end of the window
const PRINTED = 2000; // rows on paper
const [CARDS, MORE] = [10, 25]; // at first on a phone, and more at a time

export class Table {
  // `box` scrolls and holds the table; `fresh` is the button for results that wait.
  constructor(app, box, fresh) {
    this.app = app;
    this.box = box;
    this.newResults = fresh;
    this.table = box.querySelector("table");
    this.head = this.table.tHead ?? this.table.createTHead();
    this.body = this.table.tBodies[0] ?? this.table.createTBody();
    this.narrow = matchMedia("(max-width: 760px)");
    this.order = []; // rows of `experiments`, as they stand
    this.made = new Map(); // number -> its tr, of those in the page
    this.stale = new Set(); // numbers whose tr is out of date
    this.held = false;
    this.draw = framed(() => this.render());
    this.start();
  }

  start() {
    const { table, body } = this;
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", "Experiments");
    table.tabIndex = 0;
    table.classList.add("live-table");
    for (const tr of [...body.rows]) this.made.set(Number(tr.dataset.number), tr); // the server's first rows stay
    this.above = pad();
    this.below = pad();
    body.prepend(this.above);
    body.append(this.below);
    this.cards = CARDS;
    this.more = el("button", { type: "button", class: "rest-of", hidden: true, onclick: () => this.showMore() });
    this.box.after(this.more);
    addEventListener("scroll", () => this.scrolled(), { capture: true, passive: true });
    addEventListener("resize", this.draw);
    this.narrow.addEventListener("change", this.draw);
    this.box.addEventListener("pointerenter", () => (this.pointer = true));
    this.box.addEventListener("pointerleave", () => {
      this.pointer = false;
      this.release();
    });
    body.addEventListener("click", (event) => this.clicked(event));
    table.addEventListener("keydown", (event) => this.keyed(event));
    this.newResults.addEventListener("click", () => {
      this.box.scrollTop = 0;
      this.refresh();
      this.table.focus({ preventScroll: true }); // the button that had the focus is gone
    });
    for (const [event, printing] of [["beforeprint", true], ["afterprint", false]]) {
      addEventListener(event, () => {
        this.printing = printing;
        this.render();
      });
    }
    onView((what) => {
      if (what.has("sort")) this.box.scrollTop = 0;
      if (["query", "state", "sort", "brushes", "hidden", "shown"].some((key) => what.has(key))) this.refresh();
      if (what.has("selected") || what.has("compare")) this.mark();
    });
  }

  // --- which rows, in which order ---------------------------------------------------------------------------------

  // All anew: order, columns, cells.
  refresh() {
    this.recolumn();
    const { running, rest } = ordered(this.app);
    this.asRunning = new Set(running);
    this.order = running.concat(rest);
    this.waiting = 0;
    this.newResults.hidden = true;
    this.table.setAttribute("aria-rowcount", this.order.length + 1);
    this.app.tableChanged?.(this.order.length);
    this.render();
  }

  recolumn() {
    this.columns = tableColumns(this.app).filter((column) => !isHidden(column, view));
    drawHead(this.head, this.columns, this.app.experiments);
    this.above.firstChild.colSpan = this.below.firstChild.colSpan = this.columns.length;
    this.table.setAttribute("aria-colcount", this.columns.length);
    this.forms = this.formsNow();
    for (const number of this.made.keys()) this.stale.add(number);
  }

  // These numbers are new or changed; columns may be.
  update(numbers) {
    for (const number of numbers) this.stale.add(number);
    if (!this.columns || !this.holds()) return this.refresh();
    if (this.columnsChanged()) this.recolumn();
    // Results that are new, and rows that ended since the order was made: their place may be another now.
    const shown = new Set(this.order);
    this.waiting = ordered(this.app).rest.filter((row) => !shown.has(row) || this.asRunning.has(row)).length;
    this.newResults.hidden = !this.waiting;
    this.newResults.textContent = counted(this.waiting, "new result");
    if (!this.order.length) return this.refresh();
    this.draw();
  }

  holds() {
    return this.pointer || this.offset() > 4;
  }

  release() {
    if (this.waiting && !this.holds()) this.refresh();
  }

  columnsChanged() {
    const now = tableColumns(this.app).filter((column) => !isHidden(column, view));
    return now.length !== this.columns.length || now.some((column, at) => column.key !== this.columns[at].key) || this.forms !== this.formsNow();
  }

  // How numbers are aligned: a new one may move all of its column.
  formsNow() {
    const { experiments } = this.app;
    return JSON.stringify([experiments.objective, ...experiments.parameters].map((column) => column && experiments.form(column)));
  }

  // --- the window -----------------------------------------------------------------------------------------------------

  get height() {
    return this.narrow.matches ? 58 : 28; // as studio.css has it
  }

  // Rows that can be scrolled to.
  get count() {
    return this.narrow.matches ? Math.min(this.cards, this.order.length) : this.order.length;
  }

  showMore() {
    this.cards += MORE;
    this.render();
    if (this.more.hidden) this.table.focus({ preventScroll: true });
  }

  // How far the first row is above the top of what scrolls.
  offset() {
    if (!this.narrow.matches) return this.box.scrollTop;
    return Math.max(0, -this.body.getBoundingClientRect().top);
  }

  scrolled() {
    this.draw();
    if (this.waiting) this.release();
  }

  render() {
    if (!this.columns) return;
    const { experiments } = this.app;
    const { height } = this;
    const body = this.body.getBoundingClientRect();
    const box = this.box.getBoundingClientRect();
    const top = Math.max(this.narrow.matches ? 0 : box.top, 0) - body.top;
    const bottom = Math.min(this.narrow.matches ? innerHeight : box.bottom, innerHeight) - body.top;
    const count = this.count;
    const from = this.printing ? 0 : Math.max(0, Math.min(count, Math.floor(top / height)) - AROUND);
    const to = this.printing ? Math.min(count, PRINTED) : Math.max(from, Math.min(count, Math.max(Math.ceil(bottom / height) + AROUND, Math.min(count, 24))));
    const wanted = this.order.slice(from, to).map((row) => experiments.number[row]);
    const keep = new Set(wanted);
    for (const [number, tr] of this.made) {
      if (keep.has(number)) continue;
      tr.remove();
      this.made.delete(number);
    }
    let cursor = this.above.nextSibling;
    wanted.forEach((number, at) => {
      let tr = this.made.get(number);
      if (!tr) {
        tr = el("tr", { id: `row-${number}`, "data-number": number });
        this.made.set(number, tr);
        this.stale.add(number);
      }
      if (tr === cursor) cursor = cursor.nextSibling;
      else this.body.insertBefore(tr, cursor);
      if (this.stale.has(number)) this.fill(tr, experiments.rows.get(number));
      tr.setAttribute("aria-rowindex", from + at + 2);
    });
    this.stale.clear();
    this.above.firstChild.style.height = `${from * height}px`;
    this.below.firstChild.style.height = `${(count - to) * height}px`;
    const rest = this.order.length - count;
    this.more.hidden = !rest;
    this.more.textContent = `Show ${Math.min(MORE, rest)} more of ${this.order.length}`;
    this.mark();
    this.app.sparks.want(wanted);
  }

  fill(tr, row) {
    const { experiments } = this.app;
    tr.className = experiments.status(row);
    const cells = this.columns.map((column, at) => {
      const cell = el("td", { class: column.class, "data-key": column.key, "data-name": column.class.includes("p1") ? middle(column.label, 18) : null, "aria-colindex": at + 1 });
      column.fill(cell, row);
      return cell;
    });
    // Cells that show the same stay: a text that is being selected, a picture, a pointer's hover.
    const old = [...tr.cells];
    if (old.length !== cells.length) return tr.replaceChildren(...cells);
    cells.forEach((cell, at) => {
      if (!old[at].isEqualNode(cell)) old[at].replaceWith(cell);
    });
  }

  // --- choosing -------------------------------------------------------------------------------------------------------

  mark() {
    const chosen = this.app.current();
    for (const [number, tr] of this.made) {
      tr.classList.toggle("sel", number === chosen);
      tr.classList.toggle("cmp", view.compare.includes(number));
      tr.setAttribute("aria-selected", String(number === chosen));
    }
    if (this.made.has(chosen)) this.table.setAttribute("aria-activedescendant", `row-${chosen}`);
    else this.table.removeAttribute("aria-activedescendant");
  }

  clicked(event) {
    const tr = event.target.closest("tr[data-number]");
    if (!tr || event.target.closest("a, button")) return;
    const number = Number(tr.dataset.number);
    if (event.ctrlKey || event.metaKey || event.shiftKey) this.app.toggleCompare(number);
    else this.app.choose(number);
  }

  keyed(event) {
    if (event.target !== this.table) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 2);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step !== undefined) this.step(step);
    else if (event.key === "Enter" && this.app.current()) this.app.open(this.app.current());
    else return;
    event.preventDefault();
  }

  // Moves the choice by so many rows, and brings it into sight.
  step(by) {
    if (!this.order.length) return;
    const at = this.order.indexOf(this.app.experiments.rows.get(this.app.current()));
    const next = Math.max(0, Math.min(this.order.length - 1, at < 0 ? 0 : at + by));
    this.app.choose(this.app.experiments.number[this.order[next]], { open: false });
    this.reveal(next);
  }

  reveal(place) {
    const { height } = this;
    if (this.narrow.matches) return this.made.get(view.selected)?.scrollIntoView({ block: "nearest" });
    const head = this.head.offsetHeight;
    const room = this.box.clientHeight - head;
    if (place * height < this.box.scrollTop) this.box.scrollTop = place * height;
    else if ((place + 1) * height > this.box.scrollTop + room) this.box.scrollTop = (place + 1) * height - room;
    this.render();
  }
}

function pad() {
  return el("tr", { class: "pad", "aria-hidden": "true" }, el("td"));
}
