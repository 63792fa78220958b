// The page of one experiment: its curve and its log alive, retry and stop.

import { experimentsUrl, getJson, page, projectUrl } from "./api.js";
import { isPossible, startActions } from "./actions.js";
import { Curves } from "./curve_cache.js";
import { Experiments, NO_RESULT } from "./experiments.js";
import { delayed } from "./dom.js";
import { beforeEnd, counted, numberText } from "./format.js";
import { follow, showLink } from "./live.js";
import { LogView } from "./log_view.js";
import { colour, onTheme } from "./theme.js";
import { startTicking } from "./ticking.js";
import { say } from "./toast.js";
import { axisChoice, drawCurves, quartiles } from "./charts/curves.js";
import { downloads } from "./charts/picture.js";

const RETRY = 2000; // milliseconds
const PARTS = ["strip", "files", "attempts", "environment"]; // what the server writes anew when a run ended or began again

const part = (id) => document.getElementById(id);

export async function start() {
  const { number } = page;
  const app = { experiments: new Experiments(), summary: page.summary, curves: new Curves(), lost: false };
  const log = new LogView(part("log"), experimentsUrl(`/${number}/log`));
  let { status } = page.experiment;
  app.actions = startActions(app);

  const plot = part("curve").querySelector(".plot");
  const name = page.summary.metric.name;
  const axis = axisChoice(() => drawCurve());
  if (plot) {
    const rows = () => [["step", name], ...(app.curve?.step.map((step, at) => [step, app.curve.value[at]]) ?? [])];
    part("curve").querySelector("h2").after(downloads("Curve", plot, rows), axis.element);
  }
  const drawCurve = async () => {
    app.curve = (await app.curves.of([number], 1000)).get(number);
    const { step = [], value } = app.curve ?? {};
    if (step.length) part("logged").textContent = `${counted(step.length, "value")}, the last at step ${step.at(-1)}: ${numberText(value.at(-1))}${beforeEnd(status)}`;
    if (!plot) return;
    plot.hidden = step.length < 2;
    if (plot.hidden) return;
    axis.offer([app.curve]);
    await drawCurves(plot, [{ number, ...app.curve, stroke: () => colour("accent"), label: `#${number}` }], { by: axis.by(), band: await quartiles() });
  };

  const take = delayed(async () => {
    const detail = await getJson(experimentsUrl(`/${number}`)).catch(() => null);
    if (!detail) return setTimeout(take, RETRY); // this may have been the last news of it
    const other = detail.status !== status;
    status = detail.status;
    if (other) await renew();
    for (const button of document.querySelectorAll("[data-action]")) {
      const { action } = button.dataset;
      button.hidden = !isPossible(action, app.summary) || (action === "retry" ? !NO_RESULT.has(status) : status !== "running");
    }
    showLink(part("live"), app.lost ? "lost" : "live", new Date(), status);
    if (detail.metric && status === "running") part("value").textContent = numberText(detail.metric.value);
    await drawCurve();
    log.running = status === "running";
    await log.more();
  }, 100);
  take();
  startTicking(() => !app.lost);
  onTheme(() => plot?.plot?.redraw());
  follow({
    url: (version) => projectUrl(`/stream?changed_since=${encodeURIComponent(version)}`),
    version: () => app.version ?? page.version,
    take: (data) => {
      app.version = data.version;
      app.summary = data.project;
      if (data.experiments && !data.experiments.number.includes(number)) return;
      app.curves.outdate([number]);
      take();
    },
    gone: () => say(`Project ${page.project} was removed or renamed. What is shown is its last state.`, { error: true, stays: true }),
    link: (state, last) => {
      app.lost = state === "lost";
      showLink(part("live"), state, last, status);
      app.actions.refresh();
    },
  });
}

// The parts of the page that say how the run ended, without losing the place in its log.
async function renew() {
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const id of PARTS) if (part(id) && fresh.getElementById(id)) part(id).replaceWith(document.adoptNode(fresh.getElementById(id)));
  const [now, next] = [document, fresh].map((page) => page.querySelector("main > .why"));
  if (next && !now) part("strip").after(document.adoptNode(next));
  else if (now) next ? now.replaceWith(document.adoptNode(next)) : now.remove();
}
