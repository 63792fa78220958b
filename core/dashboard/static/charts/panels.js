// The pictures below the table, one at a time: slices, importance, contour, curves. Drawn when they come into sight.

import { el } from "../dom.js";
import { ContourPanel } from "./contour.js";
import { CurvesPanel } from "./curves.js";
import { ImportancePanel } from "./importance.js";
import { SlicesPanel } from "./slices.js";
import { onView } from "../view_state.js";

const KINDS = [["slices", "Slices", SlicesPanel], ["importance", "Importance", ImportancePanel], ["contour", "Contour", ContourPanel], ["curves", "Curves", CurvesPanel]];

export class Panels {
  constructor(app, section) {
    this.app = app;
    this.section = section;
    this.seen = false;
  }

  async start() {
    this.tabs = KINDS.map(([id, word]) => el("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}` }, word));
    this.boxes = KINDS.map(([id]) => el("div", { class: "panel", role: "tabpanel", id: `panel-${id}`, "aria-labelledby": `tab-${id}`, tabindex: 0, hidden: true }));
    this.section.replaceChildren(el("div", { class: "more", role: "tablist", "aria-label": "More charts" }, ...this.tabs), ...this.boxes);
    this.panels = KINDS.map(([, , Kind], at) => new Kind(this.app, this.boxes[at]));
    this.tabs.forEach((tab, at) => {
      tab.addEventListener("click", () => this.show(at));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = (at + step + this.tabs.length) % this.tabs.length;
        this.show(next);
        this.tabs[next].focus();
      });
    });
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      if (this.seen) this.draw();
    }, { rootMargin: "400px" }).observe(this.section); // before it comes into sight
    onView((what) => ["query", "brushes", "state", "selected", "sort"].some((key) => what.has(key)) && this.draw());
    this.show(0);
  }

  show(at) {
    this.now = at;
    this.tabs.forEach((tab, each) => {
      tab.setAttribute("aria-selected", String(each === at));
      tab.tabIndex = each === at ? 0 : -1;
      this.boxes[each].hidden = each !== at;
    });
    return this.draw();
  }

  openSlice(key) {
    this.show(0);
    this.panels[0].draw().then(() => this.boxes[0].querySelector(`[data-slice="${CSS.escape(key)}"]`)?.scrollIntoView({ block: "center" }));
  }

  draw() {
    return this.seen ? this.panels[this.now].draw() : undefined;
  }
}
