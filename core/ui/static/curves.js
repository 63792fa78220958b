// Curves of single experiments: fetched when asked for, kept, fetched anew when their experiment went on.

import { dataUrl, getJson } from "./api.js";

const AT_ONCE = 200; // numbers in one request, as the server allows

export class Curves {
  constructor() {
    this.known = new Map(); // number -> {step, value}
    this.old = new Set(); // numbers whose curve has grown since
  }

  // Those of `numbers`, as a Map; numbers without a curve are left out. At most `most` points each.
  async of(numbers, most = 200) {
    const missing = numbers.filter((number) => !this.known.has(number) || this.old.has(number) || this.known.get(number).most < most);
    for (let at = 0; at < missing.length; at += AT_ONCE) {
      const some = missing.slice(at, at + AT_ONCE);
      for (const number of some) this.old.delete(number);
      const { curves } = await getJson(dataUrl(`/curves?e=${some.join(",")}&most=${most}`));
      for (const number of some) this.known.set(number, { step: [], value: [], ...curves[number], most });
    }
    return new Map(numbers.map((number) => [number, this.known.get(number)]).filter(([, curve]) => curve?.step.length));
  }

  outdate(numbers) {
    for (const number of numbers) if (this.known.has(number)) this.old.add(number);
  }
}
