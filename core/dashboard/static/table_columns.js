// The columns of the table of experiments: which there are, what orders a row, what a cell shows.

import { el, glyph, svg } from "./dom.js";
import { NO_RESULT } from "./experiments.js";
import { durationText, exactText, middle, moneyText, numberText, placeClass, valueText } from "./format.js";
import { category } from "./theme.js";
import { view } from "./view_state.js";

// In the order in which they stand. `app` has `experiments`, `summary` and `sparks`.
export function tableColumns(app) {
  const { experiments } = app;
  const { objective } = experiments;
  const list = [
    { key: "status", label: "State", short: "", class: "st", fill: fillState },
    { key: "number", label: "#", class: "n", fill: (cell, row) => cell.append(`#${experiments.number[row]}`) },
  ];
  if (objective) list.push({ key: objective.key, label: objective.label, class: "m", fill: fillOutcome });
  if (objective && app.sparks.any) list.push({ key: "curve", label: "Curve", class: "c", fixed: true, fill: (cell, row) => app.sparks.fill(cell, row) });
  // The first hyperparameter and the first category that are shown stand on a phone's card.
  const onCards = experiments.parameters.filter((column) => !isHidden(column, view));
  const firstChoice = onCards.find((column) => column.choices);
  const firstNumber = onCards.find((column) => column !== firstChoice);
  for (const column of experiments.parameters) {
    const place = column === firstNumber ? " p1" : column === firstChoice ? " p2" : "";
    list.push({ key: column.key, label: column.label, column, class: (column.choices ? "cat" : "num") + place, fill: fillParameter(column) });
  }
  list.push({ key: "duration", label: "Time", class: "num t", fill: fillTime });
  if (experiments.lists.slot.some((slot) => slot !== null)) list.push({ key: "slot", label: "Slot", class: "w", fill: (cell, row) => text(cell, experiments.lists.slot[row], (slot) => `slot ${slot}`) });
  if (experiments.lists.cost.some(Boolean)) list.push({ key: "cost", label: "Cost", class: "num", fill: (cell, row) => text(cell, experiments.lists.cost[row], moneyText) });
  list.push({ key: "started", label: "Started", class: "t", hidden: true, fill: (cell, row) => text(cell, experiments.lists.started[row], when) });
  list.push({ key: "exit_code", label: "Exit", class: "num", hidden: true, fill: (cell, row) => text(cell, experiments.lists.exit_code[row], String) });
  list.push({ key: "attempts", label: "Attempts", class: "num", hidden: true, fill: (cell, row) => text(cell, experiments.lists.attempts[row], String) });
  list.push({ key: "reason", label: "Reason", class: "w", hidden: true, fill: (cell, row) => text(cell, experiments.lists.reason[row] || null, String) });
  return list;

  function form(column) {
    return experiments.form(column);
  }

  function fillState(cell, row) {
    const status = experiments.status(row);
    cell.append(glyph(status), el("span", { class: "vh" }, status));
  }

  function fillOutcome(cell, row) {
    const status = experiments.status(row);
    const value = experiments.outcome(row);
    if (NO_RESULT.has(status)) {
      const reason = experiments.lists.reason[row] || status;
      cell.append(el("span", { class: "reason", title: reason }, reason.replace(/^exit code \d+: /, "")));
      return;
    }
    if (value !== null) cell.append(el("b", { class: `w${form(objective).wide}${placeClass(numberText(value), form(objective))}`, title: String(value) }, numberText(value)));
    if (status === "running") {
      const step = experiments.lists.step[row];
      if (step !== null && step !== undefined) cell.append(el("small", {}, app.steps() ? `step ${step}/${app.steps()}` : `step ${step}`));
      else if (value === null) cell.append(el("small", {}, "started"));
    } else if (status === "completed" && value !== null) {
      cell.append(svg("svg", { class: "vb", width: app.barWidth(row), height: 7, "aria-hidden": "true" }));
      if (row === experiments.best()) cell.append(el("em", { class: "tag" }, "best"));
    } else if (status === "pruned") cell.append(el("small", {}, "pruned"));
  }

  function fillParameter(column) {
    return (cell, row) => {
      const value = experiments.get(column, row);
      if (value === null) return;
      if (column.choices) cell.append(dot(column, value), middle(exactText(value), 24));
      else {
        cell.append(valueText(value));
        cell.className += placeClass(valueText(value), form(column));
      }
      if (cell.textContent !== exactText(value)) cell.title = exactText(value);
    };
  }

  function fillTime(cell, row) {
    const seconds = elapsed(experiments, row);
    if (seconds !== null) cell.append(durationText(seconds));
  }
}

export const isHidden = (column, view) => (column.hidden ? !view.shown.has(column.key) : view.hidden.has(column.key));

// Seconds that an experiment took, or has taken so far.
export function elapsed(experiments, row) {
  const { duration, started, status } = experiments.lists;
  if (status[row] === "running" && started[row] !== null) return Math.max(0, Date.now() / 1000 - started[row]);
  return duration[row] ?? null;
}

export function dot(column, value) {
  return el("i", { class: `dot ${category(Math.max(0, column.choices.findIndex((choice) => String(choice) === String(value))))}` });
}

export const when = (seconds) => new Date(seconds * 1000).toLocaleString("sv-SE").slice(0, 16);

function text(cell, value, show) {
  if (value !== null && value !== undefined) cell.append(show(value));
}

// What orders rows by a column: numbers, or texts in their place among all; NaN is missing and comes last either way.
export function sortKeys(experiments, key) {
  const { size } = experiments;
  const column = experiments.columns.find((each) => each.key === key) ?? { key };
  const keys = new Float64Array(size);
  const texts = [];
  for (let row = 0; row < size; row += 1) {
    const value = key === "duration" ? elapsed(experiments, row) : experiments.get(column, row);
    if (typeof value === "string") texts.push([row, value]);
    keys[row] = typeof value === "number" ? value : typeof value === "boolean" ? Number(value) : NaN;
  }
  if (texts.length) {
    const order = new Intl.Collator(undefined, { numeric: true });
    const distinct = [...new Set(texts.map(([, value]) => value))].sort(order.compare);
    const places = new Map(distinct.map((value, place) => [value, place]));
    for (const [row, value] of texts) keys[row] = places.get(value);
  }
  return keys;
}
