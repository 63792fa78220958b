// Numbers, times, money and sizes as text: the same texts as `studio.format` writes, held to it by tests/data/shown.json.

export const STATUSES = ["completed", "pruned", "failed", "stopped", "running", "queued"]; // the order in which they are counted

const WHOLE = 1e15; // whole numbers below have all their digits
const [LARGE, SMALL] = [1e6, 1e-4]; // from here on, and below, a number that is not whole has an exponent

// A number with four significant digits: 0.2562, 7.464e-5, 65536, 1235.
export function numberText(value, digits = 4) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (Number.isInteger(value) && Math.abs(value) < WHOLE) return String(value || 0);
  const size = Math.abs(Number(value.toPrecision(digits)));
  if (size < SMALL || size >= LARGE) return value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  return size >= 10 ** (digits - 1) ? value.toFixed(0) : String(Number(value.toPrecision(digits)));
}

// How numbers of one column stand, so that their points are below each other: {places: digits behind the point, wide: characters}.
// The same as `column_form` of dashboard/columns.py.
export function columnForm(values) {
  let [least, most, negative, exponent] = [Infinity, 0, false, false];
  for (const value of values) {
    if (!Number.isFinite(value) || value === 0) continue;
    const size = Math.abs(value);
    if (!Number.isInteger(value) && size >= SMALL && size < LARGE) least = Math.min(least, size);
    exponent ||= size < SMALL || (size >= LARGE && !Number.isInteger(size));
    most = Math.max(most, size);
    negative ||= value < 0;
  }
  const places = least === Infinity ? 0 : Math.max(0, 3 - Math.floor(Math.log10(least) + 1e-9));
  const whole = most < 1 || most >= WHOLE ? 1 : 1 + Math.floor(Math.log10(most) + 1e-9);
  return { places, wide: Math.min(14, Math.max(whole + (places ? 1 + places : 0), exponent ? 8 : 1) + (negative ? 1 : 0)) };
}

// The class that moves a number to its place: as many digits as it has fewer than the column.
export function placeClass(text, { places }) {
  if (!/^-?\d+(\.\d+)?$/.test(text)) return ""; // an exponent, an array, no number
  const own = text.split(".")[1]?.length ?? 0;
  return `${places > own ? ` a${places - own}` : ""}${places && !own ? " whole" : ""}`;
}

// A hyperparameter's value: numbers as above, long arrays by their ends.
export function valueText(value) {
  if (value === null || value === undefined) return "";
  if (!Array.isArray(value)) return typeof value === "string" ? value : numberText(value);
  const items = value.map(valueText);
  return `[${(items.length <= 4 ? items : [...items.slice(0, 2), `… ${items.length} …`, items.at(-1)]).join(", ")}]`;
}

// A value in all its digits, for whoever hovers or copies.
export const exactText = (value) => (typeof value === "boolean" ? numberText(value) : typeof value === "object" ? JSON.stringify(value) : String(value));

// A length of time: 0.3 s, 0:07, 12:30, 3:05:00.
export function durationText(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  if (seconds < 0.95) return `${numberText(Math.max(0, seconds), 1)} s`;
  const whole = Math.round(seconds);
  const two = (part) => String(part).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

// A rough length of time: 7 s, 38 min, 3.1 h, 2.5 days.
export function aboutText(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 360) / 10} h` : `${Math.round(seconds / 8640) / 10} days`;
}

// US dollars: $310, $1.20, $0.0042.
export function moneyText(dollars) {
  if (dollars === null || dollars === undefined) return "";
  if (dollars > 0 && dollars < 0.0001) return "under $0.0001";
  if (dollars >= 100) return `$${Math.round(dollars).toLocaleString("en-US")}`;
  return dollars >= 0.1 || !dollars ? `$${dollars.toFixed(2)}` : `$${numberText(dollars, 2)}`;
}

// A number of bytes: 999 B, 1.5 GB, 214 kB.
export function sizeText(size) {
  if (size < 999.5) return `${Math.round(size)} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let unit = -1;
  while (unit < 0 || (size >= 999.5 && unit < units.length - 1)) [size, unit] = [size / 1000, unit + 1];
  return `${size < 9.95 ? size.toFixed(1) : Math.round(size).toLocaleString("en-US")} ${units[unit]}`;
}

export const directionText = (sign) => (sign < 0 ? "lower is better" : "higher is better");

// Behind the last value of a run without a result.
export const beforeEnd = (status) => (status === "failed" ? " before it failed" : status === "stopped" ? " before it was stopped" : "");

export const counted = (count, noun) => `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;

// A long text without its middle: names that were generated differ at their ends.
export function middle(text, most) {
  if (text.length <= most) return text;
  const end = Math.floor((most - 1) / 2);
  return `${text.slice(0, most - 1 - end)}…${text.slice(-end)}`;
}

const [FENCE, DECADES] = [1.5, 3]; // as in studio.format

// The ends of the axis that shows finite values, and whether it is logarithmic: [low, high, log]. Values far worse than the
// bulk, by Tukey's fence, are left beyond its end. `wanted`: "log", "linear" or "" for as the values are.
export function visibleRange(values, sign, wanted = "") {
  const found = Float64Array.from(values).sort();
  const [low, high] = fenced(found, sign);
  if (found[0] > 0 && (wanted === "log" || (wanted !== "linear" && high / low > 10 ** DECADES))) {
    return [...fenced(found.map(Math.log10), sign).map((end) => 10 ** end), true];
  }
  return [low, high, false];
}

function fenced(found, sign) {
  const [low, high] = [found[0], found.at(-1)];
  const [lower, upper] = [0.25, 0.75].map((part) => found[Math.round(part * (found.length - 1))]);
  const spread = upper - lower;
  if (found.length < 5 || !spread || !Number.isFinite(spread)) return [low, high];
  return sign < 0 ? [low, Math.min(high, upper + FENCE * spread)] : [Math.max(low, lower - FENCE * spread), high];
}
