// What an alert says, and which alerts a filter lets through. Pure.

/** "crossed above +150". @param {{ trigger_label: string }} alert */
export function describe({ trigger_label: label }) {
  const level = /^level_(-?)(\d+(?:\.\d+)?)$/.exec(label);
  if (level) return level[1] ? `crossed below −${level[2]}` : `crossed above +${level[2]}`;
  const reversal = /^reversal_(\w+)$/.exec(label);
  if (reversal) return `reversal from ${reversal[1]}`;
  return label.replaceAll("_", " ");
}

export const KINDS = {
  "": "All kinds",
  up: "▲ Up",
  down: "▼ Down",
  level: "Level crossings",
  reversal: "Reversals",
};

/** @typedef {{ exchange: string, timeframes: Set<string>, kind: string, mine: boolean }} AlertFilter empty means all */

/**
 * @param {object} alert @param {AlertFilter} filter
 * @param {{ own: Map<string, object>, settings: { timeframes: string[] } | null }} reader without a choice of timeframes, those of the settings
 */
export function passes(alert, { exchange, timeframes, kind, mine }, { own, settings }) {
  if (exchange && alert.source_exchange_id !== exchange) return false;
  if (timeframes.size ? !timeframes.has(alert.timeframe) : settings && !settings.timeframes.includes(alert.timeframe)) return false;
  if (mine && !own.has(`${alert.source_exchange_id}|${alert.symbol}`)) return false;
  if (kind === "up" || kind === "down") return alert.direction === kind;
  return !kind || alert.trigger_label.startsWith(`${kind}_`);
}

/** A link an alert may carry: the exchange's own page over https, or nothing. @param {unknown} url */
export function safeLink(url) {
  if (typeof url !== "string" || !URL.canParse(url)) return null;
  return new URL(url).protocol === "https:" ? url : null;
}
