// What the reader has acknowledged or snoozed. Pure.

/** @typedef {{ id: number, kind: "ack" | "snooze", exchange_id: string, symbol: string, timeframe: string, stage: string, until: number | null }} Silence */

/**
 * What keeps an alert quiet: an acknowledgement of its series at its stage, and a snooze of its symbol.
 * @param {{ source_exchange_id: string, symbol: string, timeframe: string, stage: string }} alert @param {Silence[]} silences @param {number} now
 * @returns {{ ack: Silence | undefined, snooze: Silence | undefined }}
 */
export function silencesOf(alert, silences, now) {
  const own = silences.filter(
    ({ exchange_id: id, symbol, timeframe }) => id === alert.source_exchange_id && symbol === alert.symbol && (timeframe === "" || timeframe === alert.timeframe),
  );
  return {
    ack: own.find(({ kind, stage }) => kind === "ack" && stage === alert.stage),
    snooze: own.find(({ kind, until }) => kind === "snooze" && until > now),
  };
}

/** What it is about, in words. @param {Silence} silence */
export function silenceText({ kind, symbol, timeframe, stage }) {
  const series = `${symbol} ${timeframe || "all timeframes"}`;
  return kind === "ack" ? `${series}: acknowledged while ${stage}` : `${series}: snoozed`;
}
