// Copies what the pages load from node_modules/ into vendor/, with the licences. `npm ci` runs it.
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const vendor = join(here, "vendor");
const files = {
  "uplot.js": "uplot/dist/uPlot.esm.js",
  "uplot.css": "uplot/dist/uPlot.min.css",
  "uplot.LICENSE": "uplot/LICENSE",
  "echarts.js": "echarts/dist/echarts.esm.min.mjs",
  "echarts.LICENSE": "echarts/LICENSE",
  "zrender.LICENSE": "zrender/LICENSE",
};

rmSync(vendor, { recursive: true, force: true });
mkdirSync(vendor);
for (const [name, source] of Object.entries(files)) copyFileSync(join(here, "node_modules", source), join(vendor, name));
