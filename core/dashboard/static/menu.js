// A button with a menu under it. Escape and a click elsewhere close it, and so does choosing a button or a link in it.

import { el } from "./dom.js";

const MARGIN = 8; // pixels to the window's edge

// `fill()` makes what stands in the menu, each time it opens.
export function menu(word, fill, attributes = {}) {
  const button = el("button", { type: "button", class: "ghost", "aria-expanded": "false" }, word);
  const box = el("div", { class: "menu", hidden: true });
  const pop = el("div", { class: "pop", ...attributes }, button, box);
  const show = (open) => {
    box.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => {
    if (box.hidden) box.replaceChildren(...fill());
    show(box.hidden);
    if (box.hidden) return;
    box.style.transform = ""; // it hangs at the button's right end: where that stands at the left, it is moved inside
    const { left } = box.getBoundingClientRect();
    if (left < MARGIN) box.style.transform = `translateX(${MARGIN - left}px)`;
    box.querySelector("input, button:enabled, a")?.focus();
  });
  addEventListener("click", (event) => pop.contains(event.target) || show(false));
  pop.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || box.hidden) return;
    event.stopPropagation();
    show(false);
    button.focus();
  });
  // Before the item's own work, which may open a dialog: that gives the focus back to the button.
  box.addEventListener("click", (event) => {
    if (!event.target.closest("button, a")) return;
    show(false);
    button.focus();
  }, { capture: true });
  return pop;
}
