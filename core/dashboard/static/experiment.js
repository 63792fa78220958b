// The page of one experiment: its curve and its log alive, retry and stop, copies of its commands.

import { dataUrl, getJson, page } from "./api.js";
import { isPossible, startActions } from "./actions.js";
import { when } from "./columns.js";
import { Curves } from "./curves.js";
import { Experiments } from "./data.js";
import { delayed, el } from "./dom.js";
import { counted, durationText, numberText } from "./format.js";
import { follow, showLink } from "./live.js";
import { LogView } from "./log_view.js";
import { copy } from "./said.js";
import { STATE_WORDS } from "./strip.js";
import { colour, onTheme } from "./theme.js";
import { band, drawCurves } from "./charts/curves.js";
import { downloads } from "./charts/plot.js";

const RETRY = 2000; // milliseconds

const part = (id) => document.getElementById(id);

export async function start() {
  const { number } = page;
  const app = { experiments: new Experiments(), summary: page.summary, curves: new Curves(), lost: false };
  const log = new LogView(part("log"), dataUrl(`/${number}/log`));
  let [status, started] = [null, null];
  app.actions = startActions(app);

  const plot = el("div", { class: "plot", role: "img", "aria-label": `Metric of experiment ${number} by step` });
  const rows = () => [["step", page.summary.metric], ...(app.curve?.step.map((step, at) => [step, app.curve.value[at]]) ?? [])];
  part("curve").querySelector("h2").after(downloads("Curve", plot, rows));
  part("curve").append(plot);
  const drawCurve = async () => {
    app.curve = (await app.curves.of([number], 1000)).get(number);
    const { step = [], value } = app.curve ?? {};
    if (step.length) part("logged").textContent = `${counted(step.length, "value")}, the last at step ${step.at(-1)}: ${numberText(value.at(-1))}`;
    plot.hidden = !app.curve || app.curve.step.length < 2;
    if (!plot.hidden) await drawCurves(plot, [{ number, ...app.curve, stroke: () => colour("accent"), label: `#${number}` }], { band: await band() });
  };

  // What an experiment is, in the page: the server wrote it, and writes it anew when it ended or began again.
  const take = delayed(async () => {
    const detail = await getJson(dataUrl(`/${number}`)).catch(() => null);
    if (!detail) return setTimeout(take, RETRY); // this may have been the last news of it
    if (status !== null && detail.status !== status) return location.reload();
    status = detail.status;
    started = detail.started;
    for (const button of document.querySelectorAll("[data-action]")) {
      const { action } = button.dataset;
      button.hidden = !isPossible(action, app.summary) || (action === "retry" ? !["failed", "stopped"].includes(status) : status !== "running");
    }
    if (detail.metric) part("value").textContent = numberText(detail.metric.value);
    await drawCurve();
    log.running = status === "running";
    await log.more();
  }, 100);
  take();
  setInterval(() => {
    if (status === "running" && started && !app.lost) part("time").textContent = durationText(Date.now() / 1000 - started);
  }, 1000);
  for (const time of document.querySelectorAll("#attempts time")) time.textContent = when(Date.parse(time.dateTime) / 1000); // in the reader's zone

  part("winning")?.after(el("div", { class: "ia" }, el("button", { type: "button", onclick: () => copy(part("winning").textContent, "Command copied.") }, "Copy command")));
  onTheme(() => plot.plot?.redraw());
  follow({
    url: (version) => dataUrl(`/events?after=${encodeURIComponent(version)}`),
    version: () => app.version ?? page.version,
    take: (data) => {
      app.version = data.version;
      app.summary = data.summary ?? app.summary;
      if (data.experiments && !data.experiments.number.includes(number)) return;
      app.curves.outdate([number]);
      take();
    },
    gone: () => (location.href = "/"),
    link: (state, last) => {
      app.lost = state === "lost";
      showLink(part("live"), state, last, STATE_WORDS[app.summary.state] ?? app.summary.state);
      app.actions.refresh();
    },
  });
}
