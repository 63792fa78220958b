// Values as text: what the table, the pictures and the inspector show. Numbers are never cut in the data, only here.

import { page } from "./api.js";

export const WORD = page.statuses ?? {}; // of the states of experiments, in their order, as `studio.dashboard.pages` has them
export const STATUSES = Object.keys(WORD);

// A metric's value with four significant digits, without an exponent where that is readable.
export function metric(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return exponent(value, 3);
  return size >= 1000 ? String(Math.round(value * 10) / 10) : value.toPrecision(4);
}

// A hyperparameter's value: whole numbers as they are, others with three significant digits.
export function parameter(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return number(norm(value));
  return typeof value === "number" ? number(value) : String(value);
}

export function number(value) {
  if (!Number.isFinite(value)) return metric(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  const large = size >= 1e5 || size < 1e-2;
  if (Number(value.toPrecision(2)) === value) return large ? value.toExponential().replace("e+", "e") : String(value); // 0.1, 1e-5
  return large ? exponent(value, 2) : value.toPrecision(3);
}

// A tick of an axis, short: 1e-5, 0.3, 1024.
export function tick(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? exponent(value, 1).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(3)));
}

function exponent(value, digits) {
  return value.toExponential(digits).replace("e+", "e");
}

// The Euclidean norm, which stands for an array hyperparameter wherever one number is needed.
export function norm(values) {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

// Seconds as m:ss, or h:mm:ss.
export function clock(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (part) => String(part).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

// Seconds as [amount, unit] of the largest unit that fits: [38, "min"].
export function span(seconds) {
  if (seconds < 100) return [Math.round(seconds), "s"];
  if (seconds < 100 * 60) return [Math.round(seconds / 60), "min"];
  if (seconds < 48 * 3600) return [Math.round(seconds / 360) / 10, "h"];
  return [Math.round(seconds / 8640) / 10, "days"];
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit && count < 10 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

// A long text without its middle: names that were generated differ at their ends.
export function middle(text, most) {
  if (text.length <= most) return text;
  const end = Math.floor((most - 1) / 2);
  return `${text.slice(0, most - 1 - end)}…${text.slice(-end)}`;
}

// US dollars: $0.0042, $1.20, $310.
export function dollars(amount) {
  return `$${amount >= 100 ? Math.round(amount) : amount >= 0.1 || amount === 0 ? amount.toFixed(2) : Number(amount.toPrecision(2))}`;
}

export function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
