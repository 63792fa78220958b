// The entry of every page: the theme, then the module of the page's kind.

import { Away, getJson, page, tableUrl } from "./api.js";
import { startTheme } from "./theme.js";
import { copy } from "./toast.js";

const theme = document.getElementById("theme");
if (theme) theme.hidden = false;
startTheme(theme);

const MODULES = { project: "./project.js", experiment: "./experiment.js", compare: "./compare.js", projects: "./projects.js" };
let data;
addEventListener("unhandledrejection", (event) => event.reason instanceof Away && event.preventDefault());
addEventListener("click", (event) => {
  const { copy: text, said } = event.target.closest?.("[data-copy]")?.dataset ?? {};
  if (text !== undefined) copy(text, said);
});
if (page.page === "project" && page.summary.experiments) {
  data = getJson(tableUrl()); // the rows, and the first chart's library, come while the page's own modules do
  data.catch(() => null); // start() has it, and its error
  import(new URL("../vendor/uplot.js", import.meta.url)).catch(() => null);
}
document.body.classList.add("awake");
if (MODULES[page.page]) {
  const module = import(MODULES[page.page]);
  // What the server wrote is painted first; a page that nobody sees has no frames.
  if (!document.hidden) await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  await (await module).start(data);
}
performance.mark("studio-ready");
