// Numbers and times as they are shown. Pure.

const MINUS = "\u2212";
const THIN = "\u202f"; // narrow, and does not break

/** @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();

function grouped(value, least, most) {
  const key = `${least}/${most}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: most });
    formats.set(key, format);
  }
  return format.format(value).replace("-", MINUS);
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A price with the instrument's own decimals. @param {number | null | undefined} value @param {number | null} [decimals] */
export function price(value, decimals = null) {
  if (!isNumber(value)) return "–";
  if (!isNumber(decimals)) return priceOfUnknownScale(value);
  const places = Math.min(Math.max(Math.trunc(decimals), 0), 18);
  return grouped(value, places, places);
}

function priceOfUnknownScale(value) {
  const size = Math.abs(value);
  if (size >= 1 || size === 0) return grouped(value, 2, 2);
  const places = Math.min(Math.ceil(-Math.log10(size)) + 3, 18);
  return grouped(value, places, places);
}

/** An indicator value. @param {number | null | undefined} value */
export function macdv(value, places = 1) {
  return isNumber(value) ? grouped(value, places, places) : "–";
}

/** With its sign, e.g. "+1.24 %". ``value`` is in per cent already. @param {number | null | undefined} value */
export function percent(value) {
  if (!isNumber(value)) return "–";
  const text = grouped(Math.abs(value), 2, 2);
  const sign = text === "0.00" ? "" : value > 0 ? "+" : MINUS;
  return `${sign}${text}${THIN}%`;
}

const UNITS = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "k"],
];

/** "1.2 M". The exact value is ``exact``. @param {number | null | undefined} value */
export function compact(value) {
  if (!isNumber(value)) return "–";
  for (const [size, letter] of UNITS) {
    // 999,950 rounds to 1,000.0 k: that is 1.0 M.
    if (Math.abs(value) >= size * 0.99995) return `${grouped(value / size, 1, 1)}${THIN}${letter}`;
  }
  return grouped(value, 0, 0);
}

/** @param {number | null | undefined} value */
export function exact(value) {
  return isNumber(value) ? grouped(value, 0, 12) : "–";
}

/** A length of time: "3 s", "12 min", "5 h", "2 d". @param {number} milliseconds */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds}${THIN}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${THIN}min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}${THIN}h`;
  return `${Math.floor(seconds / 86_400)}${THIN}d`;
}

/** "12 s ago". @param {number} milliseconds */
export function ago(milliseconds) {
  return milliseconds < 1000 ? "now" : `${duration(milliseconds)} ago`;
}

/** The reader's time zone: what the reader set, else the browser's. */
let zone = undefined;

/** @param {string} name such as Europe/Berlin; "" for the browser's own */
export function setZone(name) {
  try {
    zone = name ? new Intl.DateTimeFormat("en-GB", { timeZone: name }).resolvedOptions().timeZone : undefined;
  } catch {
    zone = undefined; // this browser does not know it
  }
}

/** The zone as Intl takes it. @returns {string | undefined} */
export function readerZone() {
  return zone;
}

const PARTS = { hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** Date and time of that moment in the reader's zone, by name. */
function parts(at) {
  const format = new Intl.DateTimeFormat("en-GB", { ...PARTS, timeZone: zone, timeZoneName: "short" });
  return Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
}

/** Hours, minutes and seconds in the reader's zone. @param {number} at */
export function clockTime(at) {
  const { hour, minute, second } = parts(at);
  return `${hour}:${minute}:${second}`;
}

/** To the millisecond, in the reader's zone. @param {number} at */
export function preciseTime(at) {
  return `${clockTime(at)}.${String(((at % 1000) + 1000) % 1000).padStart(3, "0")}`;
}

function utc(at) {
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function local(at) {
  const { year, month, day, timeZoneName } = parts(at);
  return `${year}-${month}-${day} ${clockTime(at)} ${timeZoneName}`;
}

/** The exact time, in UTC and in the reader's zone; once where these are the same. @param {number | null | undefined} at */
export function exactTime(at) {
  if (!isNumber(at)) return "–";
  const here = local(at);
  return here.startsWith(utc(at).slice(0, -4)) ? utc(at) : `${utc(at)}\n${here}`;
}

/** The reader's zone, e.g. "CET" or "GMT+2". */
export function zoneName(at = Date.now()) {
  return parts(at).timeZoneName ?? "";
}

/** @param {number} count @param {string} noun */
export function plural(count, noun) {
  return `${grouped(count, 0, 0)} ${noun}${count === 1 ? "" : "s"}`;
}
