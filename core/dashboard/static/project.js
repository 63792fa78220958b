// The page of one project: the parts, and how news of the server goes through them.
//
//   page-data, /experiments --> Experiments --> table, toolbar, pictures, inspector
//   events --> merge --> the same, only what changed
//   a click anywhere --> view (the URL) --> the same

import { dataUrl, getJson, page, projectUrl } from "./api.js";
import { startActions } from "./actions.js";
import { matching } from "./brush.js";
import { Curves } from "./curves.js";
import { Experiments } from "./data.js";
import { breath, el } from "./dom.js";
import { startKeys } from "./keys.js";
import { follow, showLink } from "./live.js";
import { moreMenu } from "./phone.js";
import { Sparks } from "./sparks.js";
import { drawStrip, STATE_WORDS } from "./strip.js";
import { Table } from "./table.js";
import { Toolbar } from "./toolbar.js";
import { Tray } from "./tray.js";
import { change, onView, view } from "./view_state.js";

const part = (id) => document.getElementById(id);

class App {
  constructor() {
    this.experiments = new Experiments();
    this.experiments.columns = page.columns ?? []; // buttons work before the data is there
    this.keep(page.summary);
    this.losses = 0; // of events whose rows could not be fetched
    this.curves = new Curves();
    this.sparks = new Sparks(this);
    this.lost = false;
    this.link = [null, new Date()];
  }

  // --- what the parts ask for -----------------------------------------------------------------------------------------

  matching() {
    const key = `${this.experiments.revision} ${view.query}`;
    if (this.matched?.key !== key || this.matched.brushes !== view.brushes) {
      this.matched = { ...matching(this.experiments, view), key, brushes: view.brushes };
    }
    return this.matched;
  }

  shown() {
    return this.table.order.length;
  }

  // The number of the experiment that the inspector shows: the chosen one, else the best, else the last failure.
  current() {
    if (view.selected && this.experiments.rows.has(view.selected)) return view.selected;
    const best = this.experiments.best();
    if (best !== undefined) return this.experiments.number[best];
    const { status } = this.experiments.lists;
    const last = status.lastIndexOf("failed");
    return last >= 0 ? this.experiments.number[last] : this.experiments.number[status.indexOf("running")] ?? null;
  }

  steps() {
    return this.curves.steps(this.experiments);
  }

  // Pixels of the bar beside a value: full for the best, short for the worst third.
  barWidth(row) {
    const ranking = this.experiments.ranking();
    const { fitness } = this.experiments.lists;
    const ends = [ranking[0], ranking[Math.floor(0.7 * (ranking.length - 1))]].map((each) => fitness[each]);
    if (ends[0] === ends[1]) return 48;
    const ratio = ends[0] / ends[1];
    const [best, poor, own] = [...ends, fitness[row]].map(ratio > 1000 || (ratio > 0 && ratio < 0.001) ? (value) => Math.log(Math.abs(value)) : Number);
    return Math.round(4 + 44 * Math.max(0, Math.min(1, (own - poor) / (best - poor))));
  }

  // --- what the parts do ----------------------------------------------------------------------------------------------

  choose(number, { open = true } = {}) {
    if (open && matchMedia("(max-width: 760px)").matches) return this.open(number);
    change({ selected: number });
  }

  open(number) {
    location.href = projectUrl(`/${number}`);
  }

  toggleCompare(number) {
    const chosen = view.compare.includes(number) ? view.compare.filter((each) => each !== number) : [...view.compare, number].slice(-5);
    change({ compare: chosen });
  }

  // --- news -----------------------------------------------------------------------------------------------------------

  keep(summary) {
    this.summary = summary;
    this.kept = Date.now();
  }

  // The summary with its times as they are now: while nothing is written no event brings them.
  clocked() {
    const { state, elapsed, left } = this.summary;
    if (state !== "running") return this.summary; // a pause is no work
    const passed = (Date.now() - this.kept) / 1000;
    return { ...this.summary, elapsed: elapsed === null ? null : elapsed + passed, left: left === null ? null : Math.max(0, left - passed) };
  }

  // One message after the other: an answer that was slow must not undo a later one. Those that came before rows were lost
  // would move the version over the gap: they are dropped, and the stream begins again from the version that is here.
  take(data) {
    const { losses } = this;
    this.taking = (this.taking ?? Promise.resolve()).then(() => losses === this.losses && this.takeIn(data)).catch(reportError);
  }

  async takeIn({ summary, experiments, version }) {
    if (summary) this.keep(summary);
    let message = experiments;
    if (!message && version !== this.experiments.version) {
      try {
        message = await getJson(dataUrl(`/experiments?after=${encodeURIComponent(this.experiments.version)}`));
      } catch {
        this.losses += 1;
        return this.stream.again();
      }
    }
    const numbers = message ? this.experiments.merge(message) : [];
    this.curves.outdate(numbers);
    if (this.experiments.size && !this.table) return location.reload(); // the first experiment: the page gets its table
    if (message?.whole) this.table?.refresh(); // rows may stand in other places of the columns now
    else this.table?.update(numbers);
    this.toolbar?.refresh();
    this.showState();
    this.inspector?.update(numbers);
    this.drawSoon(numbers.length > 0);
  }

  drawStrip() {
    drawStrip(part("strip"), this.clocked(), (number) => this.choose(number));
  }

  showState() {
    this.drawStrip();
    showLink(part("live"), ...this.link, STATE_WORDS[this.summary.state] ?? this.summary.state);
    this.actions?.refresh();
  }

  showLinkState(state, last) {
    const changed = this.lost !== (state === "lost");
    this.link = [state, last];
    this.lost = state === "lost";
    if (!changed) return;
    this.showState();
    this.toolbar?.refresh();
    this.inspector?.refresh();
  }

  // Pictures follow more slowly than the table, the more slowly the more there is to draw.
  drawSoon(changed) {
    this.dirty ||= changed;
    if (this.drawing) return;
    this.drawing = setTimeout(async () => {
      if (this.dirty || this.summary.state === "running") await this.drawPictures();
      this.dirty = false;
      this.drawing = null;
    }, this.experiments.size > 2000 ? 2500 : 700);
  }

  // Without any value there is nothing to draw: no empty axes.
  showCharts() {
    part("charts").hidden = !this.experiments.anyResult();
  }

  async drawPictures() {
    if (document.hidden) return (this.dirty = true);
    this.showCharts();
    await this.best?.draw();
    await breath();
    this.timeline?.draw();
    await breath();
    await this.parallel?.draw();
    await breath();
    await this.panels?.draw();
  }
}

// `data`: the promise of /experiments, which page.js asks for before this module is there.
export async function start(data) {
  const app = new App();
  const section = part("experiments");
  const tensorboard = part("tensorboard");
  if (tensorboard) tensorboard.hidden = false;
  app.actions = startActions(app);
  moreMenu(app);
  app.experiments.merge(await data);
  // Rows come later than the page was made, and the stream goes on from them: what the strip says must not be older.
  if (app.experiments.version !== page.version) app.keep(await getJson(dataUrl("/summary")));
  app.showState();
  const pictures = app.experiments.size ? import("./pictures.js") : null; // comes while the table is drawn
  await breath();
  if (app.experiments.size) {
    takeOver(section);
    app.toolbar = new Toolbar(app, section);
    app.table = new Table(app, section.querySelector(".scroll"), app.toolbar.fresh);
    app.table.refresh();
    app.toolbar.refresh();
    app.tray = new Tray(app, section);
    onView((what) => (what.has("query") || what.has("state") || what.has("brushes")) && app.toolbar.refresh());
    performance.mark("studio-table");
    await breath();
  }
  app.stream = follow({
    url: (version) => dataUrl(`/events?after=${encodeURIComponent(version)}`),
    version: () => app.experiments.version,
    take: (data) => app.take(data),
    gone: () => (location.href = "/"),
    link: (state, last) => app.showLinkState(state, last),
  });
  setInterval(() => tickTimes(app), 1000);
  if (!pictures) return;
  startKeys(app);
  await (await pictures).startPictures(app);
}

// The server's plain table becomes the live one: what only that had goes.
function takeOver(section) {
  for (const old of section.querySelectorAll(":scope > .tbar, :scope > .why, :scope > .hint, :scope > nav, :scope > .empty")) old.remove();
  const box = section.querySelector(".scroll") ?? section.appendChild(el("div", { class: "scroll" }, el("table", { id: "rows" })));
  box.classList.add("cards");
  for (const name of ["tabindex", "role", "aria-labelledby"]) box.removeAttribute(name);
}

// The clocks of the strip, and of running experiments in rows that are in sight.
function tickTimes(app) {
  if (document.hidden || app.lost) return;
  app.drawStrip();
  const { experiments, table } = app;
  if (!table || app.summary.state !== "running") return;
  for (const number of table.made.keys()) if (experiments.status(experiments.rows.get(number)) === "running") table.stale.add(number);
  if (table.stale.size) table.draw();
}
