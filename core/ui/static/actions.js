// Pause, go on, stop, retry, more budget, values by hand: each asks once, then goes to the server, which says what was done.

import { act } from "./api.js";
import { el } from "./dom.js";
import { plural } from "./format.js";

export function startActions(app) {
  const buttons = [...document.querySelectorAll("[data-action]")];
  app.ask = (kind, body = {}, count = null) => ask(app, kind, body, count);
  for (const button of buttons) {
    const number = Number(button.dataset.number) || null;
    button.addEventListener("click", () => app.ask(button.dataset.action, number ? { numbers: [number] } : {}, number ? 1 : null));
  }
  return {
    refresh() {
      for (const button of buttons) {
        if (!button.dataset.number) button.hidden = Boolean(app.summary.refused?.[button.dataset.action]); // the server knows
        button.disabled = app.lost;
      }
    },
  };
}

// title, words, fields (elements), yes, no, and what the form's values are as a body
function question(app, kind, body, count) {
  const { counts, state, busy } = app.summary;
  const running = counts.running ?? busy ?? 0;
  if (kind === "pause") return { title: "Pause the search?", words: running ? `${plural(running, "running experiment")} will end on ${running === 1 ? "its" : "their"} own. No new ones start until you go on.` : "No new experiments start until you go on.", yes: "Pause", no: "Keep running" };
  if (kind === "go") return { title: "Go on with the search?", words: state === "paused" ? "Free slots are filled again." : "It starts on this machine, where it stopped.", yes: "Go on", no: "Not now" };
  if (kind === "stop") {
    const many = body.numbers?.length ?? running;
    const what = body.numbers ? `Stop experiment ${body.numbers.join(", ")}?` : `Stop ${plural(many, "running experiment")}?`;
    return { title: what, words: many === 1 ? "It is marked stopped and can be retried." : "They are marked stopped and can be retried.", yes: body.numbers ? "Stop it" : `Stop ${many}`, no: "Keep running", danger: true };
  }
  if (kind === "retry") {
    const many = count ?? counts.failed ?? 0;
    return { title: body.numbers?.length === 1 ? `Retry experiment ${body.numbers[0]}?` : `Retry ${plural(many, "failed experiment")}?`, words: "Each makes a new attempt with the same values.", yes: `Retry ${many}`, no: "Cancel" };
  }
  if (kind === "budget") {
    const experiments = field("Experiments to add", { type: "number", min: 1, step: 1, name: "experiments", placeholder: "50" });
    const time = field("Time to add", { name: "time", placeholder: "30m, 2h, 1d", pattern: "\\s*(\\d+(\\.\\d+)?\\s*[smhdSMHD]\\s*)+", title: "Such as 90s, 30m, 1h30m, 2d" });
    return { title: "Add to the budget", words: "One of them, or both.", fields: [experiments, time], yes: "Add", no: "Cancel", body: (form) => filled({ experiments: form.get("experiments") ? Number(form.get("experiments")) : null, time: form.get("time").trim() }) };
  }
  const best = app.summary.best?.values ?? Object.create(null); // a hyperparameter may be called __proto__
  const fields = app.experiments.parameters.filter((column) => !column.array).map((column) => {
    const given = { name: column.key, placeholder: String(best[column.key] ?? column.min ?? "") };
    if (!column.choices) return field(column.label, { ...given, inputmode: "decimal" });
    const select = el("select", { name: column.key }, el("option", { value: "" }, `as the best${best[column.key] === undefined ? "" : `: ${best[column.key]}`}`), ...column.choices.map((choice, at) => el("option", { value: String(at) }, String(choice))));
    return el("label", {}, column.label, select);
  });
  const read = (form) => ({
    values: Object.fromEntries(
      app.experiments.parameters.filter((column) => form.get(column.key)?.trim()).map((column) => {
        const text = form.get(column.key).trim();
        return [column.key, column.choices ? column.choices[Number(text)] : Number.isFinite(Number(text)) ? Number(text) : text];
      }),
    ),
  });
  return { title: "Run these values next", words: "What you leave out is as in the best experiment.", fields, yes: "Add", no: "Cancel", body: read };
}

const field = (label, attributes) => el("label", {}, label, el("input", { autocomplete: "off", ...attributes }));
const filled = (body) => Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null && value !== ""));

function ask(app, kind, body, count) {
  const dialog = document.getElementById("ask");
  const { title, words, fields = [], yes, no, danger, body: read } = question(app, kind, body, count);
  const problem = el("p", { class: "reason", role: "alert", hidden: true });
  const confirm = el("button", { type: "submit", class: danger ? "danger" : "primary" }, yes);
  const cancel = el("button", { type: "button", class: "ghost", onclick: () => dialog.close() }, no);
  const form = el("form", {}, el("h2", { id: "ask-title" }, title), el("p", {}, words), ...fields, problem, el("div", { class: "row" }, cancel, confirm));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    confirm.disabled = true;
    try {
      const said = await act(kind, read ? read(new FormData(form)) : body);
      dialog.close();
      say(said || "Done.");
      app.acted?.();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      confirm.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  dialog.showModal();
  (fields[0]?.querySelector("input, select") ?? (danger ? cancel : confirm)).focus();
}

let quiet = 0;

// A few words at the bottom of the page, read aloud too.
export function say(words) {
  const place = document.getElementById("said");
  place.className = "toast";
  place.textContent = words;
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    place.className = "";
    place.textContent = "";
  }, 5000);
}

export async function copy(text, words = "Copied.") {
  try {
    await navigator.clipboard.writeText(text);
    say(words);
  } catch {
    say("The browser refused; the command is on the page of the experiment.");
  }
}
