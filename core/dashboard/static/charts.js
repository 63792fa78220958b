// The pictures of a project's page and its inspector: a module of their own, so that the table need not wait for their scripts.

import { breath, el } from "./dom.js";
import { Inspector } from "./inspector.js";
import { onTheme } from "./theme.js";
import { BestChart } from "./charts/best.js";
import { ParallelChart } from "./charts/parallel.js";
import { Timeline } from "./charts/timeline.js";
import { Panels } from "./charts/panels.js";

const part = (id) => document.getElementById(id);

export async function startPictures(app) {
  const charts = part("charts");
  app.showCharts();
  const [left, right] = [el("figure", {}), el("figure", { class: "pcf" })];
  charts.replaceChildren(left, right);
  app.best = new BestChart(app, left);
  app.parallel = new ParallelChart(app, right);
  await app.best.draw();
  performance.mark("studio-best");
  await breath();
  const shown = Number(part("inspector").querySelector("[data-compare]")?.dataset.compare) || null;
  app.inspector = new Inspector(app, part("inspector"));
  app.inspector.refresh(shown);
  await breath();
  app.timeline = new Timeline(app, part("slots"));
  app.timeline.draw();
  await breath();
  await app.parallel.draw();
  await breath();
  app.panels = new Panels(app, part("more"));
  await app.panels.start();
  onTheme(() => app.drawPictures());
  document.addEventListener("visibilitychange", () => document.hidden || app.drawSoon(app.dirty));
}
