// The inspector: the card of the chosen experiment, or the best. The server writes the card; this draws its curve.

import { Away, experimentsUrl, getJson, projectUrl } from "./api.js";
import { delayed, el, patch } from "./dom.js";
import { noCurve } from "./sparklines.js";
import { colour, onTheme } from "./theme.js";
import { tick } from "./ticking.js";
import { onView, view } from "./view_state.js";
import { quartiles, drawCurves } from "./charts/curves.js";

export class Inspector {
  constructor(app, element) {
    this.app = app;
    this.element = element;
    this.load = delayed(() => this.fetch(), 60);
    this.reload = delayed(() => this.fetch(), 900);
    element.addEventListener("click", (event) => this.clicked(event));
    onTheme(() => this.plot?.plot?.redraw());
    onView((what) => what.has("selected") ? this.refresh() : what.has("compare") && this.mark());
  }

  update(numbers) {
    const { experiments } = this.app;
    const number = this.app.current();
    if (number !== this.number) return this.refresh();
    if (numbers.includes(number)) (experiments.status(experiments.rows.get(number)) === "running" ? this.reload : this.load)();
  }

  // `shown`: the number of the card that the server wrote with the page.
  refresh(shown = null) {
    const number = this.app.current();
    const other = number !== this.number;
    this.number = number;
    if (number === null || !other) return;
    if (number === shown) {
      this.mark();
      this.drawCurve(); // what changed in the script comes later: it has to be parsed
    }
    this.load();
  }

  async fetch() {
    const { number } = this;
    if (number === null) return;
    try {
      const { html } = await getJson(projectUrl(`/card/${number}`));
      if (number !== this.number) return;
      this.element.setAttribute("aria-label", `Experiment ${number}`);
      patch(this.element, html, ".plot");
      tick(this.element);
      this.mark();
      await this.drawCurve();
    } catch (error) {
      if (number === this.number && !(error instanceof Away)) this.element.replaceChildren(el("p", { class: "note" }, error.message));
    }
  }

  get plot() {
    return this.element.querySelector(".plot");
  }

  mark() {
    const button = this.element.querySelector("[data-compare]");
    button?.setAttribute("aria-pressed", String(view.compare.includes(Number(button.dataset.compare))));
  }

  async drawCurve() {
    const { number, plot } = this;
    const { experiments, curves } = this.app;
    const row = experiments.rows.get(number);
    if (!plot || row === undefined) return;
    const [found, band] = await Promise.all([curves.of([number]), quartiles()]);
    const curve = found.get(number);
    if (number !== this.number || plot !== this.plot) return;
    const none = !curve || curve.step.length < 2;
    plot.classList.toggle("none", none);
    if (none) return plot.replaceChildren(el("p", { class: "note" }, noCurve(experiments.status(row), curve)));
    const name = row === experiments.best() ? "best" : experiments.status(row) === "running" ? "run-fill" : "accent";
    await drawCurves(plot, [{ number, ...curve, stroke: () => colour(name), label: `#${number}` }], { band });
  }

  clicked(event) {
    const { compare, retryOne, stopOne } = event.target.closest("button")?.dataset ?? {};
    if (compare) this.app.toggleCompare(Number(compare));
    else if (retryOne) this.app.ask("retry", { numbers: [Number(retryOne)] }, 1);
    else if (stopOne) this.app.ask("stop", { numbers: [Number(stopOne)] });
  }
}

export const logUrl = (number) => experimentsUrl(`/${number}/log`);
