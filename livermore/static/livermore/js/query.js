// The filters in the address of the page, so that a view can be kept and sent. Pure.
import { KINDS } from "./alerts.js";
import { SORTABLE } from "./rows.js";
import { TIMEFRAMES } from "./stages.js";

export const PANES = ["alerts", "matrix", "exchanges"];
export const STANDARD_SORT = { by: "rank", descending: false };

/**
 * @typedef {object} Filters
 * @property {string} query
 * @property {Set<string>} exchanges
 * @property {boolean} mine
 * @property {{ by: string, descending: boolean }} sort
 * @property {import("./alerts.js").AlertFilter} alerts
 * @property {string} pane the one a phone shows
 */

/** What cannot be read is left at its standard. @param {string} search @returns {Filters} */
export function readFilters(search) {
  const given = new URLSearchParams(search);
  const words = (name) => (given.get(name) ?? "").split(",").filter(Boolean);
  const among = (name, known, standard) => (known.includes(given.get(name)) ? given.get(name) : standard);
  const sort = given.get("sort") ?? "";
  const by = sort.replace(/^-/, "");
  return {
    query: given.get("q") ?? "",
    exchanges: new Set(words("exchange")),
    mine: given.get("mine") === "1",
    sort: SORTABLE.includes(by) ? { by, descending: sort.startsWith("-") } : STANDARD_SORT,
    alerts: {
      exchange: given.get("alert_exchange") ?? "",
      timeframes: new Set(words("alert_timeframe").filter((word) => TIMEFRAMES.includes(word))),
      kind: among("alert_kind", Object.keys(KINDS), ""),
      mine: given.get("alert_mine") === "1",
    },
    pane: among("show", PANES, PANES[0]),
  };
}

/** The query string of these filters; "" where all are standard. @param {Filters} filters */
export function writeFilters({ query, exchanges, mine, sort, alerts, pane }) {
  const standard = sort.by === STANDARD_SORT.by && sort.descending === STANDARD_SORT.descending;
  const values = {
    q: query.trim(),
    exchange: [...exchanges].join(","),
    mine: mine ? "1" : "",
    sort: standard ? "" : `${sort.descending ? "-" : ""}${sort.by}`,
    alert_exchange: alerts.exchange,
    alert_timeframe: TIMEFRAMES.filter((timeframe) => alerts.timeframes.has(timeframe)).join(","),
    alert_kind: alerts.kind,
    alert_mine: alerts.mine ? "1" : "",
    show: pane === PANES[0] ? "" : pane,
  };
  const written = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  return written && `?${written.replaceAll("%2C", ",")}`;
}
