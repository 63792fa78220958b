// What one looks at, in the URL: filter, order, selection, brushes, columns. A copied address shows the same view.
//
//   ?q=lr<1e-3&state=failed&sort=val_loss,-lr&e=37&brush=lr:1e-4:1e-2&brush=opt:adam&compare=37,50&hide=Slot&show=Started

const listeners = new Set();
export const view = read(location.search);

export function read(search) {
  const given = new URLSearchParams(search);
  const list = (name) => (given.get(name) ?? "").split(",").map(decoded).filter(Boolean);
  return {
    query: given.get("q") ?? "",
    state: given.get("state") ?? "all",
    sort: list("sort").map((key) => (key.startsWith("-") ? { name: key.slice(1), down: true } : { name: key, down: false })),
    selected: Number(given.get("e")) || null,
    brushes: new Map(given.getAll("brush").map(parseBrush).filter(Boolean)),
    compare: list("compare").map(Number).filter(Number.isInteger).slice(0, 5),
    hidden: new Set(list("hide")),
    shown: new Set(list("show")),
    by: given.get("by") === "time" ? "time" : "number",
    scale: ["log", "linear"].includes(given.get("scale")) ? given.get("scale") : "",
    pair: list("pair").slice(0, 2),
  };
}

// A part of the address; null where somebody typed what is no escape, such as `%`.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

// A brush is a closed interval {low, high} of numbers, or {values: Set} of categories. Parts are escaped: a name may hold a colon.
function parseBrush(text) {
  const [name, ...parts] = text.split(":").map(decoded);
  if (name === null || parts.includes(null)) return null;
  if (parts[0] === "in") return [name, { values: new Set(parts.slice(1)) }];
  const [low, high] = parts.map((part, side) => (part === "" ? [-Infinity, Infinity][side] : Number(part)));
  return Number.isNaN(low + high) && !(low === -Infinity && high === Infinity) ? null : [name, { low, high }];
}

function write() {
  const url = new URLSearchParams();
  const list = (name, values) => values.length && url.set(name, values.map((value) => encodeURIComponent(value)).join(","));
  if (view.query) url.set("q", view.query);
  if (view.state !== "all") url.set("state", view.state);
  list("sort", view.sort.map(({ name, down }) => (down ? `-${name}` : name)));
  if (view.selected) url.set("e", view.selected);
  for (const [name, brush] of view.brushes) {
    const parts = brush.values ? ["in", ...brush.values] : [brush.low, brush.high].map((end) => (Number.isFinite(end) ? end : ""));
    url.append("brush", [name, ...parts].map(encodeURIComponent).join(":"));
  }
  list("compare", view.compare);
  list("hide", [...view.hidden]);
  list("show", [...view.shown]);
  if (view.by !== "number") url.set("by", view.by);
  if (view.scale) url.set("scale", view.scale);
  list("pair", view.pair);
  return url.toString();
}

export function onView(listener) {
  listeners.add(listener);
}

// Changes the view, the address and whoever listens. `what` names the keys, so that a listener can skip what is not its own.
export function change(changes) {
  Object.assign(view, changes);
  const search = write();
  history.replaceState(null, "", search ? `?${search}` : location.pathname);
  const what = new Set(Object.keys(changes));
  for (const listener of listeners) listener(what);
}

addEventListener("popstate", () => {
  Object.assign(view, read(location.search));
  for (const listener of listeners) listener(new Set(Object.keys(view)));
});
