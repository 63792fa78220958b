// The experiments in the browser: columns of values, as the API sends them with layout=columns, kept up to date by number.

import { columnForm } from "./format.js";

const LISTS = ["status", "fitness", "started", "finished", "duration", "slot", "reason", "failure", "attempts", "exit_code", "step", "cost"];

// Whether a column has what experiments achieved.
export const isMeasured = (column) => column.kind === "metric" || column.key === "fitness";

export const NO_RESULT = new Set(["failed", "stopped"]); // the server sends no metric for these: what they reported is no result

export class Experiments {
  constructor() {
    this.version = "";
    this.columns = [];
    this.sign = 1;
    this.clear();
    this.revision = 0; // counts merges, for whoever caches what it derived
  }

  clear() {
    this.number = [];
    this.rows = new Map(); // number -> row
    this.lists = Object.fromEntries(LISTS.map((name) => [name, []]));
    this.metric = Object.create(null); // a hyperparameter may be called __proto__
    this.values = Object.create(null);
  }

  get size() {
    return this.number.length;
  }

  // Takes a message of the server. Returns the numbers that are new or changed.
  merge(message) {
    if (message.complete) this.clear();
    this.version = message.version;
    if (message.columns) this.columns = message.columns;
    if (message.direction) this.sign = message.direction === "min" ? -1 : 1;
    const { number } = message;
    const rows = number.map((each) => {
      let row = this.rows.get(each);
      if (row === undefined) {
        row = this.number.push(each) - 1;
        this.rows.set(each, row);
      }
      return row;
    });
    const put = (into, from) => {
      if (from) for (let i = 0; i < rows.length; i += 1) into[rows[i]] = from[i];
    };
    for (const name of LISTS) put(this.lists[name], message[name]);
    for (const family of ["metric", "values"]) {
      for (const [name, from] of Object.entries(message[family] ?? {})) put((this[family][name] ??= []), from);
    }
    this.listChoices();
    this.revision += 1;
    return number;
  }

  // A hyperparameter with texts whose range says nothing of them, as a program's own: the choices are those that were made.
  listChoices() {
    for (const column of this.parameters) {
      if (column.choices && !column.made) continue;
      const texts = new Set(this.values[column.key]?.filter((value) => typeof value === "string"));
      if (texts.size) Object.assign(column, { choices: [...texts].sort(), made: true });
    }
  }

  status(row) {
    return this.lists.status[row];
  }

  // All values of a column, in the order of rows; undefined where there is none.
  list(column) {
    if (column.kind === "param") return this.values[column.key];
    if (column.kind === "metric") return this.metric[column.key.slice("metric.".length)];
    return column.key === "number" ? this.number : this.lists[column.key];
  }

  // The value of a column in a row: a number, a text or null.
  get(column, row) {
    return this.list(column)?.[row] ?? null;
  }

  get parameters() {
    return this.columns.filter((column) => column.kind === "param");
  }

  // The metric that is searched for.
  get objective() {
    return this.columns.find((column) => column.kind === "metric") ?? null;
  }

  // How the numbers of a column are aligned.
  form(column) {
    if (this.formed !== this.revision) [this.formed, this.forms] = [this.revision, new Map()];
    if (!this.forms.has(column.key)) this.forms.set(column.key, columnForm(this.list(column) ?? []));
    return this.forms.get(column.key);
  }

  // The objective's value: of a running experiment the last one; null where there is no result.
  outcome(row) {
    return this.objective ? this.get(this.objective, row) : null;
  }

  anyResult() {
    return this.objective !== null && this.number.some((_, row) => this.outcome(row) !== null);
  }

  // Rows that completed with a fitness, best first; equals in order of number.
  ranking() {
    if (this._ranked !== this.revision) {
      const { fitness, status } = this.lists;
      const rows = [];
      for (let row = 0; row < this.size; row += 1) if (status[row] === "completed" && fitness[row] !== null) rows.push(row);
      this._ranking = rows.sort((a, b) => fitness[b] - fitness[a] || this.number[a] - this.number[b]);
      this._ranks = new Map(this._ranking.map((row, rank) => [row, rank]));
      this._ranked = this.revision;
    }
    return this._ranking;
  }

  // 0 for the best row; undefined for those without a result.
  rank(row) {
    this.ranking();
    return this._ranks.get(row);
  }

  best() {
    return this.ranking()[0];
  }

  counts() {
    const counts = {};
    for (const status of this.lists.status) counts[status] = (counts[status] ?? 0) + 1;
    return counts;
  }
}
