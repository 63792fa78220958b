// The list of projects: search while one types, and rows that follow the server. Sorting is the server's.

import { page } from "./api.js";
import { delayed, el } from "./dom.js";
import { follow, showLink } from "./live.js";
import { fillBar } from "./strip.js";

export function start() {
  const query = document.getElementById("query");
  const link = document.getElementById("live");
  const words = link?.textContent.trim() ?? "";
  const filter = () => {
    const wanted = query.value.trim().toLowerCase();
    for (const row of document.querySelectorAll("#rows tbody tr")) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  };
  query?.addEventListener("input", filter);
  const known = new Map((page.projects ?? []).map((project) => [project.name, project]));
  const drawBars = () => {
    for (const row of document.querySelectorAll("#rows tbody tr")) drawBar(row.querySelector("[data-key=progress]"), known.get(row.dataset.project));
  };
  drawBars();
  if (query?.value) filter(); // typed before this module was there
  const all = !document.querySelector("#projects nav"); // of several pages the server searches all, on Enter
  query?.form.addEventListener("submit", (event) => all && event.preventDefault());

  // The server writes the rows: news is its table, fetched anew and put in row by row.
  const refresh = delayed(async () => {
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [now, next] = [document.querySelector("#rows tbody"), fresh.querySelector("#rows tbody")];
    if (!now || !next) return now === next ? undefined : location.reload();
    const old = new Map([...now.rows].map((row) => [row.dataset.project, row]));
    const rows = [...next.rows].map((row) => {
      const before = old.get(row.dataset.project);
      if (!before) return document.adoptNode(row);
      [...row.cells].forEach((cell, at) => same(before.cells[at], cell) || before.cells[at].contains(document.activeElement) || before.cells[at].replaceWith(document.adoptNode(cell)));
      return before;
    });
    if (rows.length !== now.rows.length || rows.some((row, at) => row !== now.rows[at])) now.replaceChildren(...rows);
    drawBars();
    if (query?.value) filter();
  }, 300);
  let version = page.version ?? "";
  follow({
    url: () => `/api/events?after=${encodeURIComponent(version)}`,
    version: () => version,
    take: (data) => {
      version = data.version;
      for (const project of data.projects ?? []) known.set(project.name, project);
      refresh();
    },
    link: (state, last) => showLink(link, state, last, words),
  });
}

// Whether a cell says what it said; the bar within is ours.
function same(cell, fresh) {
  const plain = cell.cloneNode(true);
  plain.querySelector(".pbar")?.remove();
  return plain.isEqualNode(fresh);
}

function drawBar(cell, project) {
  if (!cell || !project?.total) return;
  const bar = el("div", { class: "pbar", "aria-hidden": "true" });
  fillBar(bar, project.counts, Math.max(project.size ?? 0, project.total));
  cell.querySelector(".pbar")?.remove();
  cell.append(bar);
}
