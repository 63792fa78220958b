// Which rows the table shows, and in which order.

import { NO_RESULT } from "./experiments.js";
import { sortKeys } from "./table_columns.js";
import { view } from "./view_state.js";

// What was asked for, or the best first: [{name, down}].
export function sorting({ objective, sign }) {
  if (view.sort.length) return view.sort;
  return objective ? [{ name: objective.key, down: sign > 0 }] : [{ name: "number", down: true }];
}

// The keys after a click on a column: turned round where it was one already, the best first where it is the metric's.
export function sortedBy(experiments, key, more) {
  const { objective, sign } = experiments;
  const now = sorting(experiments);
  const at = now.findIndex(({ name }) => name === key);
  const turned = { name: key, down: at < 0 ? objective?.key === key && sign > 0 : !now[at].down };
  if (!more) return [turned];
  return at < 0 ? [...now, turned] : now.with(at, turned);
}

// Rows of `experiments` that the view shows. Running ones stand on top: {running, rest}.
export function ordered(app) {
  const { experiments } = app;
  const { mask } = app.matching();
  const { status } = experiments.lists;
  const running = [];
  const rest = [];
  for (let row = 0; row < experiments.size; row += 1) {
    if (mask[row] && (view.state === "all" || status[row] === view.state)) (status[row] === "running" ? running : rest).push(row);
  }
  running.sort((a, b) => experiments.number[a] - experiments.number[b]);
  const keys = sorting(experiments).map(({ name, down }) => [sortKeys(experiments, name), down ? -1 : 1]);
  if (!view.sort.length) keys.push([causes(experiments, rest), 1]);
  rest.sort((a, b) => {
    for (const [key, sign] of keys) {
      const [x, y] = [key[a], key[b]];
      if (x === y) continue;
      const [noX, noY] = [x !== x, y !== y]; // NaN: missing
      if (noX || noY) {
        if (noX && noY) continue;
        return noX ? 1 : -1;
      }
      return x < y ? -sign : sign;
    }
    return experiments.number[a] - experiments.number[b];
  });
  return { running, rest };
}

// What orders rows without a result, unless something else was asked for: those of the most frequent cause first.
function causes({ lists: { reason, status }, size }, rows) {
  const without = rows.filter((row) => NO_RESULT.has(status[row]));
  const counts = new Map();
  for (const row of without) counts.set(reason[row], (counts.get(reason[row]) ?? 0) + 1);
  const places = new Map([...counts].sort((a, b) => b[1] - a[1]).map(([cause], place) => [cause, place]));
  const keys = new Float64Array(size);
  for (const row of without) keys[row] = places.get(reason[row]);
  return keys;
}
