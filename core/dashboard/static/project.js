// The page of one project: the parts, and how news of the server goes through them.
//
//   page-data, /experiments --> Experiments --> table, toolbar, pictures, inspector
//   events --> merge --> the same, only what changed
//   a click anywhere --> view (the URL) --> the same

import { dataUrl, getJson, page, projectUrl, tableUrl, tensorboardAddress } from "./api.js";
import { startActions } from "./actions.js";
import { matching } from "./filters.js";
import { Curves } from "./curve_cache.js";
import { Experiments } from "./experiments.js";
import { breath, patch } from "./dom.js";
import { startKeys } from "./shortcuts.js";
import { follow, showLink } from "./live.js";
import { moreMenu } from "./phone.js";
import { Sparks } from "./sparklines.js";
import { Table } from "./table.js";
import { tick, startTicking } from "./ticking.js";
import { say } from "./toast.js";
import { Toolbar } from "./toolbar.js";
import { Tray } from "./compare_tray.js";
import { colour } from "./theme.js";
import { numberText } from "./format.js";
import { change, onView, view } from "./view_state.js";

const part = (id) => document.getElementById(id);

class App {
  constructor() {
    this.experiments = new Experiments();
    this.experiments.columns = page.columns ?? []; // buttons work before the data is there
    this.summary = page.summary;
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

  // The parts that the server writes: strip and failures.
  show(html) {
    patch(part("strip"), html.strip);
    patch(part("failures"), html.failures);
    tick(part("strip"));
  }

  // One message after the other: an answer that was slow must not undo a later one. Those that came before rows were lost
  // would move the version over the gap: they are dropped, and the stream begins again from the version that is here.
  take(data) {
    const { losses } = this;
    this.taking = (this.taking ?? Promise.resolve()).then(() => losses === this.losses && this.takeIn(data)).catch(reportError);
  }

  async takeIn({ project, experiments, version, html }) {
    this.summary = project;
    if (part("strip")) this.show(html);
    let message = experiments;
    if (!message && version !== this.experiments.version) {
      try {
        message = await getJson(tableUrl(this.experiments.version));
      } catch {
        this.losses += 1;
        return this.stream.again();
      }
    }
    const numbers = message ? this.experiments.merge(message) : [];
    this.curves.outdate(numbers);
    if (this.experiments.size && !this.table) return location.reload(); // the first experiment: the page gets its table
    if (message?.complete) this.table?.refresh(); // rows may stand in other places of the columns now
    else this.table?.update(numbers);
    this.toolbar?.refresh();
    this.showState();
    this.inspector?.update(numbers);
    this.drawSoon(numbers.length > 0);
  }

  showState() {
    showLink(part("live"), ...this.link, this.summary.state_text);
    showProgress(this.summary);
    this.actions?.refresh();
  }

  showLinkState(state, last) {
    const changed = this.lost !== (state === "lost");
    this.link = [state, last];
    this.lost = state === "lost";
    if (!changed) return;
    this.showState();
    this.toolbar?.refresh();
    if (!this.lost) this.inspector?.load();
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
    part("charts").hidden = part("more").hidden = !this.experiments.anyResult();
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
  if (tensorboard) Object.assign(tensorboard, { onclick: openTensorboard, disabled: false }); // before, a click would be lost
  app.actions = startActions(app);
  app.showState();
  if (!section) return wait(app);
  moreMenu(app);
  app.experiments.merge(await data);
  const pictures = app.experiments.size ? import("./charts.js") : null; // comes while the table is drawn
  await breath();
  if (app.experiments.size) {
    adoptServerTable(section);
    app.toolbar = new Toolbar(app, section);
    app.table = new Table(app, section.querySelector(".scroll"), app.toolbar.newResults);
    app.table.refresh();
    app.toolbar.refresh();
    app.tray = new Tray(app, section);
    onView((what) => (what.has("query") || what.has("state") || what.has("brushes")) && app.toolbar.refresh());
    performance.mark("studio-table");
    await breath();
  }
  app.stream = follow({
    url: (version) => projectUrl(`/stream?changed_since=${encodeURIComponent(version)}`),
    // Rows come later than the page was made: what the server wrote must not stay older than they are.
    version: () => (app.heard ? app.experiments.version : page.version),
    take: (data) => {
      app.heard = true;
      app.take(data);
    },
    gone: showGone,
    link: (state, last) => app.showLinkState(state, last),
  });
  startTicking(() => !app.lost);
  setInterval(() => tickRows(app), 1000);
  part("strip").addEventListener("click", (event) => {
    const { choose } = event.target.dataset;
    if (!choose || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    app.choose(Number(choose));
  });
  part("failures").addEventListener("click", (event) => {
    const { show, retry } = event.target.dataset;
    if (retry) app.ask("retry", {}, Number(retry));
    if (!show) return;
    change({ state: show, query: "", brushes: new Map() });
    const first = app.table.order[0];
    if (first !== undefined) app.choose(app.experiments.number[first], { open: false });
  });
  if (!pictures) return;
  startKeys(app);
  await (await pictures).startPictures(app);
}

// The server's first rows become those of the live table.
function adoptServerTable(section) {
  const box = section.querySelector(".scroll");
  for (const name of ["tabindex", "role", "aria-labelledby"]) box.removeAttribute(name);
}

// The times of running experiments in rows that are in sight.
function tickRows(app) {
  if (document.hidden || app.lost) return;
  const { experiments, table } = app;
  if (!table || app.summary.state !== "running") return;
  for (const number of table.made.keys()) if (experiments.status(experiments.rows.get(number)) === "running") table.stale.add(number);
  if (table.stale.size) table.draw();
}

// A project without experiments: the page is made anew when the first one starts.
function wait(app) {
  follow({
    url: (version) => projectUrl(`/stream?changed_since=${encodeURIComponent(version)}`),
    version: () => page.version,
    take: ({ project }) => project.experiments && location.reload(),
    gone: showGone,
    link: (state, last) => showLink(part("live"), state, last, app.summary.state_text),
  });
}

function showGone() {
  say(`Project ${page.project} was removed or renamed. What is shown is its last state.`, { error: true, stays: true });
  document.body.classList.add("gone");
}

async function openTensorboard() {
  const tab = open("about:blank", "_blank"); // before the answer: a later one would be blocked
  try {
    const address = await tensorboardAddress();
    if (tab) tab.location = address;
    else location.href = address;
  } catch (error) {
    tab?.close();
    say(error.message, { error: true });
  }
}

// Progress in the title and in the icon of the tab.
function showProgress({ project, state, finished, planned, experiments, best }) {
  const size = Math.max(planned ?? 0, experiments);
  const share = size && state === "running" ? `${Math.floor((100 * finished) / size)} % · ` : "";
  const value = best ? `${numberText(best.metric?.value ?? best.fitness)} · ` : "";
  document.title = `${share}${value}${project} · studio`;
  const icon = document.querySelector('link[rel="icon"]');
  if (state !== "running" || !size) return icon.setAttribute("href", "/static/icon.svg");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const context = canvas.getContext("2d");
  context.lineWidth = 6;
  for (const [name, part] of [["queue", 1], ["best", finished / size]]) {
    context.strokeStyle = colour(name);
    context.beginPath();
    context.arc(16, 16, 12, -Math.PI / 2, (2 * part - 0.5) * Math.PI);
    context.stroke();
  }
  icon.setAttribute("href", canvas.toDataURL());
}
