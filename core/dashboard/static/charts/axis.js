// Axes on which columns stand: hyperparameters and the metric, numbers or categories, linear or logarithmic.

import { numberText, visibleRange } from "../format.js";

// Whether a hyperparameter has but one value.
export const constant = (column) => (column.choices ? column.choices.length < 2 : column.min !== null && column.min !== undefined && column.min === column.max);

// Where a column's values stand on an axis, and what value stands at a place. `spread` keeps places off the edges: a
// category in the middle of its own part.
export function makeAxis(experiments, column) {
  if (column.choices) return categoryAxis(column);
  const every = experiments.ranking().map((row) => experiments.get(column, row)).filter(Number.isFinite);
  // Beside a log range a value by hand that has no logarithm stands at the end of the axis, which stays as it is.
  const positive = every.filter((value) => value > 0);
  const values = column.log && positive.length ? positive : every;
  let [low, high] = [column.min, column.max];
  if (column.kind === "metric" || low === null || low === undefined || values.length) {
    const [least, most] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    low = column.kind === "metric" ? least : Math.min(low ?? Infinity, least);
    high = column.kind === "metric" ? most : Math.max(high ?? -Infinity, most);
  }
  // A few very bad results must not press all others into one place: beyond the bulk they stand at the end of the axis.
  const all = [values === every ? low : every.reduce((a, b) => Math.min(a, b), low), high];
  let log = column.log && low > 0;
  if (column.kind === "metric" && values.length) [low, high, log] = visibleRange(values, experiments.sign);
  if (!(high > low)) [low, high] = [low - 0.5, low + 0.5];
  const [from, to] = log ? [Math.log(low), Math.log(high)] : [low, high];
  const place = (value) => (Number.isFinite(value) && (value > 0 || !log) ? Math.min(1, Math.max(0, ((log ? Math.log(value) : value) - from) / (to - from))) : 0);
  const value = (at) => (log ? Math.exp(from + at * (to - from)) : from + at * (to - from));
    return { column, low, high, log, all: [], between: [], ends: [(low > all[0] ? "≤ " : "") + numberText(low), (high < all[1] ? "≥ " : "") + numberText(high)], place, value, spread: (at) => 0.03 + 0.94 * at };
}

function categoryAxis(column) {
  const { choices } = column;
  const places = choices.map((choice, at) => [choices.length > 1 ? at / (choices.length - 1) : 0.5, String(choice)]);
  const known = new Map(places.map(([place, word]) => [word, place]));
  const ends = [places[0]?.[1] ?? "", places.length > 1 ? places.at(-1)[1] : ""];
  const spread = (place) => (0.5 + place * (choices.length - 1)) / choices.length;
  return { column, all: places, between: places.slice(1, -1).slice(0, 8), ends, place: (value) => known.get(String(value)) ?? 0, value: () => NaN, spread };
}
