// The list of projects: the server searches and sorts; what it answers is put in part by part, while one types and as news comes.

import { page } from "./api.js";
import { delayed, patch } from "./dom.js";
import { follow, showLink } from "./live.js";

export function start() {
  const [query, link, found] = ["query", "live", "found"].map((id) => document.getElementById(id));
  let words = link.textContent.trim();
  let asked = 0;

  const refresh = async () => {
    const turn = (asked += 1);
    const address = new URL(location.href);
    if (query.value.trim()) address.searchParams.set("q", query.value.trim());
    else address.searchParams.delete("q");
    if (address.searchParams.get("q") !== new URL(location.href).searchParams.get("q")) address.searchParams.delete("page");
    const answer = await fetch(address).catch(() => null);
    if (!answer?.ok || turn !== asked) return; // one typed on
    history.replaceState(null, "", address);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    words = fresh.getElementById("live").textContent.trim();
    if (!link.classList.contains("lost")) showLink(link, "live", new Date(), words);
    const [now, next] = [found.querySelector("tbody"), fresh.querySelector("#found tbody")];
    if (!now || !next || found.querySelector("thead").textContent !== fresh.querySelector("#found thead").textContent) {
      return patch(found, fresh.getElementById("found").innerHTML);
    }
    const old = new Map([...now.rows].map((row) => [row.dataset.project, row]));
    const rows = [...next.rows].map((row) => {
      const before = old.get(row.dataset.project);
      if (!before) return document.adoptNode(row);
      [...row.cells].forEach((cell, at) => before.cells[at].isEqualNode(cell) || before.cells[at].contains(document.activeElement) || before.cells[at].replaceWith(document.adoptNode(cell)));
      return before;
    });
    if (rows.length !== now.rows.length || rows.some((row, at) => row !== now.rows[at])) now.replaceChildren(...rows);
  };
  query.addEventListener("input", delayed(refresh, 120));
  query.form.addEventListener("submit", (event) => {
    event.preventDefault();
    refresh();
  });
  if (query.value !== query.defaultValue) refresh(); // typed before this module was there

  let version = page.version ?? "";
  const news = delayed(refresh, 300);
  follow({
    url: () => `/api/events?changed_since=${encodeURIComponent(version)}`,
    version: () => version,
    take: (data) => {
      version = data.version;
      news();
    },
    link: (state, last) => showLink(link, state, last, words),
  });
}
