// Output of a script, with its ANSI colours as classes: never HTML. Other escapes are left out.

// One escape: CSI with its parameters and final byte; OSC up to its end; or a short one.
// eslint-disable-next-line no-control-regex
const ESCAPE = /\x1b(?:\[([0-9;:?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])/g;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g; // and what turns the reading direction

const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

export function plainText(text) {
  return returned(text.replace(ESCAPE, "")).replace(CONTROL, "");
}

// A line that was written over with \r, as progress bars do, shows what stands there last.
function returned(text) {
  return text.replace(/\r+\n/g, "\n").replace(/[^\n]*\r(?=[^\r\n])/g, "").replace(/\r/g, "");
}

// Nodes for a text. `state` is what colours it ended with, and goes on with the next piece.
export function coloured(text, state = {}) {
  const nodes = [];
  let at = 0;
  const put = (piece) => {
    const clean = piece.replace(CONTROL, "");
    if (!clean) return;
    const classes = [state.colour && `a-${state.colour}`, state.bold && "a-bold", state.dim && "a-dim", state.underline && "a-underline", state.italic && "a-italic"].filter(Boolean);
    if (!classes.length) return nodes.push(document.createTextNode(clean));
    const span = document.createElement("span");
    span.className = classes.join(" ");
    span.textContent = clean;
    nodes.push(span);
  };
  const whole = returned(text);
  for (const match of whole.matchAll(ESCAPE)) {
    put(whole.slice(at, match.index));
    at = match.index + match[0].length;
    if (match[2] === "m") apply(match[1], state);
  }
  put(whole.slice(at));
  return nodes;
}

function apply(parameters, state) {
  const codes = parameters.split(/[;:]/).map(Number);
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) for (const key of Object.keys(state)) delete state[key];
    else if (code === 1) state.bold = true;
    else if (code === 2) state.dim = true;
    else if (code === 3) state.italic = true;
    else if (code === 4) state.underline = true;
    else if (code === 22) state.bold = state.dim = false;
    else if (code === 23) state.italic = false;
    else if (code === 24) state.underline = false;
    else if (code >= 30 && code <= 37) state.colour = NAMES[code - 30];
    else if (code >= 90 && code <= 97) state.colour = NAMES[code - 90];
    else if (code === 39) state.colour = "";
    else if (code === 38 || code === 48) at += codes[at + 1] === 5 ? 2 : 4; // 256 colours and RGB: our own eight are readable on both themes
  }
}
