// Curves of single experiments: fetched when asked for, kept, fetched anew when their experiment went on.

import { dataUrl, getJson } from "./api.js";

const AT_ONCE = 200; // numbers in one request, as the server allows

export class Curves {
  constructor() {
    this.known = new Map(); // number -> {step, value}
    this.old = new Set(); // numbers whose curve has grown since
    this.revision = 0; // counts answers, for whoever caches what it derived
  }

  // Those of `numbers`, as a Map; numbers without a curve are left out. At most `most` points each.
  async of(numbers, most = 200) {
    const missing = numbers.filter((number) => !this.known.has(number) || this.old.has(number) || this.known.get(number).most < most);
    for (let at = 0; at < missing.length; at += AT_ONCE) {
      const some = missing.slice(at, at + AT_ONCE);
      const { curves } = await this.fetch(some, most);
      this.revision += 1;
      for (const number of some) this.known.set(number, { step: [], value: [], ...curves[number], most });
    }
    return new Map(numbers.map((number) => [number, this.known.get(number)]).filter(([, curve]) => curve?.step.length));
  }

  // What grows meanwhile is old again; where there is no answer all stay as old as they were.
  async fetch(numbers, most) {
    const old = numbers.filter((number) => this.old.delete(number));
    try {
      return await getJson(dataUrl(`/curves?experiments=${numbers.join(",")}&points=${most}`));
    } catch (error) {
      for (const number of old) this.old.add(number);
      throw error;
    }
  }

  // The step at which experiments that are done end, as far as their curves are known; null without.
  steps(experiments) {
    const key = `${this.revision} ${experiments.revision}`;
    if (this.stepsKey !== key) {
      this.stepsKey = key;
      this.stepsKnown = null;
      for (const [number, { step }] of this.known) {
        if (step.length && experiments.status(experiments.rows.get(number)) === "completed") this.stepsKnown = Math.max(this.stepsKnown ?? 0, step.at(-1));
      }
    }
    return this.stepsKnown;
  }

  outdate(numbers) {
    for (const number of numbers) if (this.known.has(number)) this.old.add(number);
  }
}
