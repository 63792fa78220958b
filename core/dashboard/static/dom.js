// Elements without HTML in strings: what a run printed or a project is called is only ever text.

// el("button", { class: "ghost", onclick: f }, "text", child)
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// The shape of a state, of those in templates/base.html.
export function glyph(status) {
  const shape = document.getElementById(`g-${status}`) ? status : "queued";
  return svg("svg", { class: `g ${status}`, viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("use", { href: `#g-${shape}` }));
}

// Puts HTML of the server in the place of what `parent` holds, touching only what differs: a text that is being selected, an
// open <details> and the focus stay. Elements that match `kept` stay as they are where both have one.
export function patch(parent, html, kept = ":not(*)") {
  const made = document.createElement("template");
  made.innerHTML = html; // Jinja has escaped all that is not ours
  const next = [...made.content.childNodes].filter((node) => node.nodeType !== Node.TEXT_NODE || node.data.trim());
  const old = [...parent.childNodes].filter((node) => node.nodeType !== Node.TEXT_NODE || node.data.trim());
  next.forEach((node, at) => {
    const before = old[at];
    if (!before) parent.append(node);
    else if (before.matches?.(kept) && node.matches?.(kept) && sameData(before, node)) before.hidden = false;
    else if (!before.isEqualNode(node)) {
      if (before.open && node.tagName === "DETAILS") node.open = true;
      before.replaceWith(node);
    }
  });
  for (const node of old.slice(next.length)) node.remove();
}

const sameData = (a, b) => JSON.stringify({ ...a.dataset }) === JSON.stringify({ ...b.dataset });

// Calls `work` once, at the next frame, however often it is asked for.
export function framed(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    // A hidden tab has no frames, and its table must still be right when it is shown.
    (document.hidden ? (next) => setTimeout(next, 250) : requestAnimationFrame)(() => {
      asked = false;
      work();
    });
  };
}

export function delayed(work, milliseconds) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

// Lets the browser paint and take input between two pieces of work.
export const breath = () => new Promise((resolve) => (globalThis.scheduler?.yield ? scheduler.yield().then(resolve) : setTimeout(resolve)));
