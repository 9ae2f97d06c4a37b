// Times along the chart: the reader's own, UTC beside them; days are UTC's, as daily candles are. Pure.
import { readerZone, zoneName } from "./format.js";

const YEAR = 0;
const MONTH = 1;
const DAY = 2;

const formats = new Map();

function written(at, options, utc) {
  const timeZone = utc ? "UTC" : readerZone();
  const key = JSON.stringify([options, timeZone]);
  let format = formats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", { ...options, timeZone });
    formats.set(key, format);
  }
  return format.format(at);
}

const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const DATE = { day: "numeric", month: "short" };

/** Along the axis. @param {number} at milliseconds @param {number} kind the chart's word for what begins here @param {boolean} inDays */
export function tickTime(at, kind, inDays) {
  if (kind === YEAR) return written(at, { year: "numeric" }, inDays);
  if (kind === MONTH) return written(at, { month: "short" }, inDays);
  if (kind === DAY) return written(at, DATE, inDays);
  return written(at, CLOCK, inDays);
}

/** "26 Nov 14:05 CET · 13:05 UTC"; a day without a time. @param {number} at milliseconds @param {boolean} inDays */
export function crosshairTime(at, inDays) {
  if (inDays) return `${written(at, { ...DATE, year: "numeric" }, true)} UTC`;
  const utc = `${written(at, CLOCK, true)} UTC`;
  const here = `${written(at, DATE, false)} ${written(at, CLOCK, false)}`;
  if (here === `${written(at, DATE, true)} ${written(at, CLOCK, true)}`) return `${written(at, DATE, true)} ${utc}`;
  return `${here} ${zoneName(at)} · ${utc}`;
}
