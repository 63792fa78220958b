// Which rows the view shows: state, query and brushes together, and the brushes as words.

import { parseQuery, PENDING, QueryError } from "./query.js";
import { STATUSES, valueText } from "./format.js";
import { isMeasured } from "./experiments.js";
import { elapsed } from "./table_columns.js";

const PASSES = 2;

// {mask: 1 where query and brushes hold, PASSES where they may when a running one has its value; the count of those that
// hold; pending: of the others; error: what is wrong with the query or ""}
export function matching(experiments, view) {
  const { size } = experiments;
  const mask = new Uint8Array(size).fill(1);
  let error = "";
  const keep = (holds, mayHold) => {
    for (let row = 0; row < size; row += 1) {
      if (!mask[row] || holds(row)) continue;
      mask[row] = experiments.status(row) === "running" && mayHold(row) ? PASSES : 0;
    }
  };
  if (view.query.trim()) {
    const parsed = (pending) => parseQuery(view.query, queryColumns(experiments, pending), (row) => rowTexts(experiments, row));
    try {
      keep(parsed(false), parsed(true));
    } catch (problem) {
      if (!(problem instanceof QueryError)) throw problem;
      error = problem.message;
    }
  }
  for (const [key, brush] of view.brushes) {
    const column = columnOf(experiments, key);
    if (column) keep((row) => within(brush, experiments.get(column, row)), () => isMeasured(column));
  }
  let [count, pending] = [0, 0];
  for (let row = 0; row < size; row += 1) {
    count += mask[row] === 1;
    pending += mask[row] === PASSES;
  }
  return { mask, count, pending, error };
}

const columnOf = (experiments, key) => experiments.columns.find((column) => column.key === key) ?? null;

export function within(brush, value) {
  if (value === null || value === undefined) return false;
  return brush.values ? brush.values.has(String(value)) : value >= brush.low && value <= brush.high;
}

export function filterText(experiments, key, brush) {
  const name = columnOf(experiments, key)?.label ?? key;
  if (brush.values) return `${name} = ${[...brush.values].join(" or ")}`;
  if (!Number.isFinite(brush.low)) return `${name} ≤ ${valueText(brush.high)}`;
  if (!Number.isFinite(brush.high)) return `${name} ≥ ${valueText(brush.low)}`;
  return `${valueText(brush.low)} ≤ ${name} ≤ ${valueText(brush.high)}`;
}

// An end of a brush beyond all values is no end: the chip says `≤ 0.31`, and later values beyond it count too.
export function openEnds(low, high, { min, max }) {
  return { low: low <= min ? -Infinity : neat(low), high: high >= max ? Infinity : neat(high) };
}

const neat = (value) => Number(value.toPrecision(4));

// `pending`: a running experiment's metric is yet to come, whatever it reported so far. A hyperparameter's own name comes
// before the words for what every experiment has.
function queryColumns(experiments, pending) {
  const columns = new Map();
  const add = (name, read) => columns.has(name) || columns.set(name, read);
  const status = Object.assign((row) => experiments.status(row), { words: STATUS_WORDS });
  const time = (row) => elapsed(experiments, row);
  for (const column of experiments.columns) {
    const plain = (row) => (pending && isMeasured(column) ? PENDING : experiments.get(column, row));
    const read = column.kind === "state" ? { status, duration: time }[column.key] ?? plain : plain;
    add(column.label, read);
    add(column.key, read);
    add(column.label.toLowerCase(), read);
  }
  if (experiments.objective) add("metric", columns.get(experiments.objective.key));
  for (const name of ["state", "status"]) add(name, status);
  for (const name of ["number", "#", "experiment"]) add(name, (row) => experiments.number[row]);
  for (const name of ["time", "duration"]) add(name, time);
  add("exit", (row) => experiments.lists.exit_code[row]);
  for (const name of ["reason", "slot", "attempts", "failure", "fitness", "step", "cost"]) add(name, (row) => experiments.lists[name][row] ?? null);
  return columns;
}

// A state by its name, and by the short word that people type for it.
const STATUS_WORDS = new Map([...STATUSES.map((status) => [status, status]), ["done", "completed"]]);

function rowTexts(experiments, row) {
  const status = experiments.status(row);
  const found = [status, experiments.lists.reason[row] ?? ""];
  for (const column of experiments.parameters) {
    const value = experiments.get(column, row);
    if (typeof value === "string") found.push(value);
  }
  return found;
}
