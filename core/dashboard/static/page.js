// The entry of every page: the theme, then the module of the page's kind.

import { dataUrl, getJson, page } from "./api.js";
import { startTheme } from "./theme.js";

const theme = document.getElementById("theme");
if (theme) theme.hidden = false;
startTheme(theme);

const MODULES = { project: "./project.js", experiment: "./experiment.js", compare: "./compare.js", projects: "./projects.js" };
let data;
if (page.page === "project") {
  data = getJson(dataUrl("/experiments")); // the rows, and the first chart's library, come while the page's own modules do
  data.catch(() => null); // start() has it, and its error
  import("/vendor/uplot.js").catch(() => null);
}
if (MODULES[page.page]) await (await import(MODULES[page.page])).start(data);
performance.mark("studio-ready");
