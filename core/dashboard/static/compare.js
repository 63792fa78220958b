// Two to five experiments side by side: their curves in one picture; the rest of the page is the server's.

import { page } from "./api.js";
import { Curves } from "./curve_cache.js";
import { el } from "./dom.js";
import { onTheme } from "./theme.js";
import { axisChoice, drawCurves, stroke } from "./charts/curves.js";
import { downloads } from "./charts/picture.js";

export async function start() {
  for (const log of document.querySelectorAll("#logs pre")) log.scrollTop = log.scrollHeight;
  const section = document.getElementById("curves");
  const found = await new Curves().of(page.numbers, 1000);
  const numbers = page.numbers.filter((number) => found.get(number)?.step.length > 1);
  if (!numbers.length) return (section.hidden = true);
  const plot = el("div", { class: "plot", role: "img", "aria-label": `Curves of experiments ${numbers.join(", ")}` });
  const rows = () => [["number", "step", page.summary.metric.name], ...numbers.flatMap((number) => found.get(number).step.map((step, at) => [number, step, found.get(number).value[at]]))];
  const without = page.numbers.filter((number) => !numbers.includes(number)).map((number) => `#${number}`);
  const missing = without.length ? el("p", { class: "note" }, `No curve: ${without.join(", ")}`) : null;
  const curves = numbers.map((number) => ({ number, ...found.get(number), stroke: stroke(page.numbers.indexOf(number)), label: `#${number}` }));
  const draw = () => drawCurves(plot, curves, { by: axis.by() });
  const axis = axisChoice(draw);
  axis.offer(curves);
  section.replaceChildren(el("figcaption", {}, el("h2", {}, page.summary.metric.name), axis.element, missing ?? "", downloads("Curves", plot, rows)), plot);
  await draw();
  onTheme(() => plot.plot?.redraw());
}
