// The strip: best value, progress, time, slots, search. The server draws it first; this one keeps it up to date.

import { page } from "./api.js";
import { el, glyph } from "./dom.js";
import { betterWords } from "./data.js";
import { STATUSES, aboutText, counted, middle, moneyText, numberText } from "./format.js";

export const STATE_WORDS = page.states ?? {};

export function drawStrip(section, summary, choose) {
  const cells = [lead(summary, choose), progress(summary), ...figures(summary)];
  cells.forEach((cell, at) => {
    const old = section.children[at];
    if (!old) section.append(cell);
    else if (!old.isEqualNode(cell)) old.replaceWith(cell);
  });
  while (section.children.length > cells.length) section.lastElementChild.remove();
}

function lead(summary, choose) {
  const name = summary.metric ?? "fitness";
  const { best } = summary;
  const title = el("span", { title: name }, `Best ${middle(name, 26)} `, el("em", {}, betterWords(summary.direction)));
  if (!best) return el("div", { class: "kpi lead none" }, title, el("strong", {}, lacking(summary)), el("small", {}, summary.total ? counted(summary.total, "experiment") + " so far" : ""));
  const link = el("a", { href: `?e=${best.number}`, "data-choose": best.number }, `#${best.number}`);
  link.addEventListener("click", (event) => {
    event.preventDefault();
    choose(best.number);
  });
  const ago = best.ago ? `${counted(best.ago, "experiment")} ago` : "the latest";
  return el("div", { class: "kpi lead" }, title, el("strong", { title: String(best.value) }, numberText(best.value)), el("small", {}, link, summary.total > 1 ? ` · ${ago}` : ""));
}

function lacking({ counts, state, total }) {
  const { failed = 0 } = counts;
  if (state === "running" || state === "paused" || !failed || failed < total) return "No result yet";
  return `No result: ${failed > 1 ? `all ${failed}` : "it"} failed`;
}

function progress(summary) {
  const { counts, finished, total } = summary;
  const size = Math.max(summary.size ?? 0, total);
  const bar = el("div", { class: "pbar", role: "progressbar", "aria-label": "Finished experiments", "aria-valuenow": finished, "aria-valuemin": 0, "aria-valuemax": Math.max(1, size) });
  fillBar(bar, counts, size);
  const queued = Math.max(counts.queued ?? 0, summary.state === "running" || summary.state === "paused" ? size - total + (counts.queued ?? 0) : 0);
  const legend = el("div", { class: "leg" });
  for (const status of STATUSES) {
    const count = status === "queued" ? queued : counts[status] ?? 0;
    if (count || status === "completed") legend.append(el("span", {}, glyph(status), `${count} ${status}`));
  }
  const head = summary.size ? `${finished} of ${size} finished` : `${finished} finished`;
  return el("div", { class: "prog" }, el("div", { class: "ph" }, el("b", {}, head), el("span", {}, timeWords(summary))), bar, legend);
}

// A part for each state but the queued ones, as wide as its share of `size`.
export function fillBar(bar, counts, size) {
  for (const status of STATUSES) {
    if (!counts[status] || status === "queued") continue;
    const part = el("i", { class: status });
    part.style.width = `${(100 * counts[status]) / size}%`;
    bar.append(part);
  }
}

function timeWords(summary) {
  if (summary.state === "running") return summary.left === null ? "" : `about ${aboutText(summary.left)} left`;
  if (summary.state === "done") return summary.elapsed ? `Done in ${aboutText(summary.elapsed)}` : "Done";
  return STATE_WORDS[summary.state] ?? summary.state;
}

function figures(summary) {
  const [amount, unit] = aboutText(summary.elapsed ?? 0).split(" ");
  const rate = summary.rate ? `${numberText(summary.rate, 2)} experiments a minute` : "";
  const live = summary.state === "running" || summary.state === "paused";
  const slots = live ? [String(summary.busy), el("u", {}, `of ${summary.slots} busy`)] : [String(summary.slots)];
  const where = !summary.backend || summary.backend === "local" ? "this machine" : summary.backend;
  const price = summary.cost ? ` · ${moneyText(summary.cost)}` : "";
  const script = summary.script ? el("code", { title: summary.script }, summary.script.split("/").at(-1)) : "a program's own loop";
  const more = [counted(summary.parameters, "hyperparameter"), summary.seed === null || summary.seed === undefined ? "" : `seed ${summary.seed}`].filter(Boolean);
  return [
    el("div", { class: "kpi hidem" }, el("span", {}, "Elapsed"), el("strong", {}, String(amount), el("u", {}, unit)), el("small", {}, rate)),
    el("div", { class: "kpi hidem" }, el("span", {}, "Slots"), el("strong", {}, ...slots), el("small", {}, `${where}${price}`)),
    el("div", { class: "kpi hidem wide" }, el("span", {}, "Search"), el("strong", { class: "txt" }, summary.optimizer ?? "grid"), el("small", {}, script, ` · ${more.join(" · ")}`)),
  ];
}
