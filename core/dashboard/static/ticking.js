// Times that go on by themselves: texts of the server that say from when they count.
//
//   data-since="EPOCH"     a running experiment: 1:23 since then
//   data-elapsed="SECONDS" data-left="SECONDS"     as the strip had them when it came: 38 min, about 16 min left

import { aboutText, durationText } from "./format.js";

const came = new WeakMap(); // element -> when it was first seen

export function tick(root = document) {
  const now = Date.now() / 1000;
  for (const element of root.querySelectorAll("[data-since], [data-elapsed], [data-left]")) {
    const { since, elapsed, left } = element.dataset;
    if (!came.has(element)) came.set(element, now);
    const passed = now - came.get(element);
    const text = since ? durationText(Math.max(0, now - Number(since))) : elapsed ? aboutText(Number(elapsed) + passed) : `about ${aboutText(Math.max(0, Number(left) - passed))} left`;
    if (element.textContent !== text) element.textContent = text;
  }
}

// `going()`: whether the page still hears from the server.
export function startTicking(going = () => true) {
  tick();
  setInterval(() => !document.hidden && going() && tick(), 1000);
}
