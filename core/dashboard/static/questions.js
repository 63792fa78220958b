// What an action asks before it is done: what will happen to what, in the words of the buttons.
//
//   {title, words, fields: elements of the form, yes, doing: `yes` while it is done, no, danger, body: of the form's values}

import { el } from "./dom.js";
import { counted, numberText } from "./format.js";

export function question(app, kind, body, count) {
  return ASKED[kind](app, body.numbers ?? null, count);
}

const ASKED = { pause, resume, stop, retry, "add-budget": budget, "add-values": queue };

const isLive = ({ state }) => state === "running" || state === "paused";
const runningOf = ({ summary }) => summary.running ?? 0;

// An action on a search without a driver resumes it.
const goesOn = ({ summary }) => (isLive(summary) ? "" : summary.actions?.resume ? " It runs here, on the dashboard's machine." : " This also resumes the search, on this machine.");

function pause(app) {
  const running = runningOf(app);
  const goOn = running ? `${counted(running, "running experiment")} will end on ${running === 1 ? "its" : "their"} own. ` : "";
  return { title: "Pause the search?", words: `${goOn}No new ones start until you resume.`, yes: "Pause", doing: "Pausing…", no: "Keep running" };
}

function resume(app) {
  const words = app.summary.state === "paused" ? "Free slots are filled again." : "It starts on the dashboard's machine, where it stopped. Experiments that were stopped run again.";
  return { title: "Resume the search?", words, yes: "Resume", doing: "Starting…", no: "Not now" };
}

function stop(app, numbers) {
  const shared = { doing: "Stopping…", no: "Keep running", danger: true };
  if (numbers) {
    const one = numbers.length === 1;
    const words = `${one ? "It ends" : "They end"} now, marked stopped. The search continues with others; Retry runs ${one ? "it" : "them"} again.`;
    return { title: `Stop experiment${one ? "" : "s"} ${numbers.join(", ")}?`, words, yes: one ? "Stop it" : `Stop ${numbers.length}`, ...shared };
  }
  const running = runningOf(app);
  const now = running ? `${counted(running, "running experiment")} end${running === 1 ? "s" : ""} now, marked stopped, and no new ones start.` : "No new experiments start.";
  const command = el("code", {}, `studio resume ${app.summary.project}`);
  const words = [`${now} Results are kept. To continue: Resume here, or `, command, running ? "; stopped experiments run again." : "."];
  return { title: "Stop the whole search?", words, yes: "Stop the search", ...shared };
}

function retry(app, numbers, count) {
  const many = count ?? app.summary.counts.failed ?? 0;
  const title = numbers?.length === 1 ? `Retry experiment ${numbers[0]}?` : `Retry ${counted(many, "failed experiment")}?`;
  return { title, words: `${many === 1 ? "It runs" : "Each runs"} again with the same values.${goesOn(app)}`, yes: `Retry ${many}`, doing: "Starting…", no: "Cancel" };
}

function budget({ summary }) {
  const experiments = field("Experiments to add", { type: "number", min: 1, step: 1, name: "experiments", placeholder: "50" });
  const time = field("Time to add", { name: "time", placeholder: "1h30m" }, "such as 90s, 30m, 1h30m or 2d");
  // To what a search at work has no limit of, nothing can be added.
  const fields = [isLive(summary) && summary.planned === null ? null : experiments, isLive(summary) && !summary.max_time ? null : time].filter(Boolean);
  const body = (form) => filled({ experiments: form.get("experiments") ? Number(form.get("experiments")) : null, time: form.get("time")?.trim() ?? "" });
  return { title: "Add to the budget", words: `${fields.length > 1 ? "One of them, or both." : ""}${goesOn({ summary })}`.trim(), fields, yes: "Add", doing: "Adding…", no: "Cancel", body };
}

function queue(app) {
  const best = app.summary.best?.values ?? Object.create(null); // a hyperparameter may be called __proto__
  const columns = app.experiments.parameters.filter((column) => !column.array);
  const fields = columns.map((column) => {
    const given = { name: column.key, placeholder: String(best[column.key] ?? column.min ?? "") };
    const range = column.min === null || column.min === undefined ? "" : `${numberText(column.min)} to ${numberText(column.max)}`;
    if (!column.choices) return ranged(field(column.label, { ...given, inputmode: "decimal" }, range || " "), column, range);
    const asBest = best[column.key] === undefined ? "as the best" : `as the best: ${best[column.key]}`;
    const options = column.choices.map((choice, at) => el("option", { value: String(at) }, String(choice)));
    return el("label", {}, column.label, el("select", { name: column.key }, el("option", { value: "" }, asBest), ...options));
  });
  const arrays = app.experiments.parameters.filter((column) => column.array).map(({ key }) => el("p", { class: "note" }, `${key}: as in the best`));
  const body = (form) => ({
    values: Object.fromEntries(
      columns.filter((column) => form.get(column.key)?.trim()).map((column) => {
        const text = form.get(column.key).trim();
        return [column.key, column.choices ? column.choices[Number(text)] : Number.isFinite(Number(text)) ? Number(text) : text];
      }),
    ),
  });
  return { title: "Run these values next", words: `Empty fields use the best experiment's values.${goesOn(app)}`, fields: [...fields, ...arrays], yes: "Add", doing: "Adding…", no: "Cancel", body };
}

// Says it where a value lies outside the range of the search: it runs all the same.
function ranged(label, { min, max }, range) {
  const [input, hint] = [label.querySelector("input"), label.querySelector("small")];
  input.addEventListener("input", () => {
    const value = Number(input.value);
    const outside = range && input.value.trim() && (value < min || value > max);
    hint.textContent = outside ? `outside ${range}; it runs all the same` : range;
    hint.classList.toggle("reason", Boolean(outside));
  });
  return label;
}

let fields = 0;

function field(label, attributes, hint = "") {
  const id = `hint-${(fields += 1)}`;
  const input = el("input", { autocomplete: "off", "aria-describedby": hint ? id : null, ...attributes });
  return el("label", {}, label, input, hint ? el("small", { id }, hint) : null);
}

const filled = (body) => Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null && value !== ""));
