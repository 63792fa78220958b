// Pause, go on, stop, retry, more budget, values by hand: each asks once, then goes to the server, which says what was done.

import { act } from "./api.js";
import { el } from "./dom.js";
import { question } from "./questions.js";
import { say } from "./toast.js";

// Whether an action can work on the project as it is: the server knows why not.
export const isPossible = (kind, { actions }) => !actions?.[kind];

export function startActions(app) {
  const buttons = [...document.querySelectorAll("[data-action]")];
  app.ask = (kind, body = {}, count = null) => ask(app, kind, body, count);
  for (const button of buttons) {
    const number = Number(button.dataset.number) || null;
    button.addEventListener("click", () => app.ask(button.dataset.action, number ? { numbers: [number] } : {}, number ? 1 : null));
    button.disabled = app.lost; // before, a click would be lost
  }
  return {
    refresh() {
      for (const button of buttons) {
        if (!button.dataset.number) button.hidden = !isPossible(button.dataset.action, app.summary);
        button.disabled = app.lost;
      }
    },
  };
}

function ask(app, kind, body, count) {
  const dialog = document.getElementById("ask");
  const { title, words, fields = [], yes, doing, no, danger, body: read } = question(app, kind, body, count);
  const problem = el("p", { class: "reason", role: "alert", hidden: true });
  const confirm = el("button", { type: "submit", class: danger ? "danger" : "primary" }, yes);
  const cancel = el("button", { type: "button", class: "ghost", onclick: () => dialog.close() }, no);
  const form = el("form", {}, el("h2", { id: "ask-title" }, title), el("p", {}, ...[words].flat()), ...fields, problem, el("div", { class: "row" }, cancel, confirm));
  const busy = (is) => {
    confirm.disabled = is;
    confirm.setAttribute("aria-busy", String(is));
    confirm.textContent = is ? doing : yes;
    form.setAttribute("aria-busy", String(is));
  };
  form.addEventListener("input", () => (problem.hidden = true)); // of a try that is being corrected
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    const given = read ? read(new FormData(form)) : body;
    busy(true);
    try {
      const said = await act(kind, given);
      if (form.isConnected) dialog.close();
      say(said || "Done.");
    } catch (error) {
      busy(false);
      if (!form.isConnected || !dialog.open) return say(error.message, { error: true }); // it was closed meanwhile
      problem.textContent = error.message;
      problem.hidden = false;
      confirm.focus(); // a disabled button had lost it
    }
  });
  dialog.replaceChildren(form);
  dialog.showModal();
  (fields[0]?.querySelector("input, select") ?? (danger ? cancel : confirm)).focus();
}
