// What Best so far draws: a point for each experiment, the best until each, and the scale on which they are told apart.

import { NO_RESULT } from "../experiments.js";
import { visibleRange } from "../format.js";

const [EDGE, NAMES] = [0.06, 0.2]; // of the axis: beyond the worst value, and beyond the best, where numbers stand at the line

// {points: in order of x, x, line: the best until each, winner: the point of the best}
export function collect(experiments, by) {
  const { started, finished, fitness, status } = experiments.lists;
  const first = started.reduce((least, value) => (value !== null && value < least ? value : least), Infinity);
  const outcomes = experiments.list(experiments.objective) ?? [];
  const points = [];
  for (let row = 0; row < experiments.size; row += 1) {
    const time = finished[row] ?? (status[row] === "running" ? Date.now() / 1000 : started[row]);
    const x = by === "time" ? time !== null && time - first : experiments.number[row];
    if (x === false || (status[row] === "queued" && started[row] === null)) continue;
    points.push({ row, x, value: outcomes[row] ?? null, status: status[row], fitness: status[row] === "completed" ? fitness[row] : null });
  }
  points.sort((a, b) => a.x - b.x || a.row - b.row);
  let winner = null;
  const line = points.map((point) => {
    if (point.fitness !== null && (winner === null || point.fitness > winner.fitness)) winner = point;
    return winner && winner.value;
  });
  return { points, x: points.map(({ x }) => x), line, winner };
}

// Those that were better than all before: {point, until: where the next one is}, in order of x.
export function rises(points, line) {
  const found = points.filter((point, at) => line[at] !== null && line[at] !== (at ? line[at - 1] : null));
  return found.map((point, at) => ({ point, until: found[at + 1]?.x ?? points.at(-1).x }));
}

// {log, mayLog: whether a log scale is possible, range: [low, high] of the axis}. What is far worse than the bulk does not
// count: it stands at the edge. Failures have no place on it: they stand in a lane of their own. `wanted`: "log", "linear" or
// "" for as the values are.
export function scaleOf(points, sign, wanted) {
  const values = valuesOf(points);
  if (!values.length) return { log: false, mayLog: false, range: [0, 1] };
  const [least, most] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const mayLog = least > 0 && (most > 10 * least || wanted === "log"); // elsewhere it changes nothing that can be seen
  const [low, high, log] = visibleRange(values, sign, wanted);
  const [below, above] = sign < 0 ? [NAMES, EDGE] : [EDGE, NAMES];
  if (log) {
    const [from, to] = [Math.log10(low), Math.log10(high)];
    const room = to - from || 1;
    return { log: true, mayLog, range: [10 ** (from - below * room), 10 ** (to + above * room)] };
  }
  const room = high - low || Math.abs(high) || 1;
  return { log: false, mayLog, range: [low - below * room, high + above * room] };
}

// What the lane of those without a result is called; empty where there is none.
export function laneOf(points) {
  const found = new Set(points.filter(hasNoResult).map(({ status }) => status));
  return found.size > 1 ? "no result" : ([...found][0] ?? "");
}

export const hasNoResult = ({ status }) => NO_RESULT.has(status);

const valuesOf = (points) => points.filter((point) => Number.isFinite(point.value) && !hasNoResult(point)).map(({ value }) => value);

export function extent(points) {
  const finite = valuesOf(points);
  return { min: finite.reduce((a, b) => Math.min(a, b), Infinity), max: finite.reduce((a, b) => Math.max(a, b), -Infinity) };
}
