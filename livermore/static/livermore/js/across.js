// What an alert here says to who buys there: the same figures as alerts/crossexchange.py, from the alert and the reader's own terms. Pure.

const BPS = 10_000;
/** Prices in these stand beside one another, named, and never converted. */
const DOLLARS = new Set(["USD", "USDT", "USDC"]);

/**
 * What is left of a difference for who acts there, in basis points, after both taker fees; null where nothing may be derived.
 * @param {{ here: number, there: number, feeHere: number, feeThere: number, direction: string, bookSpread?: number | null }} given fees as shares
 */
export function residual({ here, there, feeHere, feeThere, direction, bookSpread = 0 }) {
  if (!(here > 0) || !(there > 0)) return null;
  const half = (bookSpread ?? 0) / 2 / BPS;
  const left =
    direction === "up"
      ? (here * (1 - feeHere)) / (there * (1 + half) * (1 + feeThere))
      : (there * (1 - half) * (1 - feeThere)) / (here * (1 + feeHere));
  return (left - 1) * BPS;
}

/**
 * @typedef {object} Card what the reader is told beside an alert
 * @property {string} exchangeId where the reader buys
 * @property {string} name
 * @property {boolean} listed
 * @property {object | null} offer the alert's Elsewhere entry of that exchange
 * @property {number | null} residual
 * @property {boolean | null} allowed whether it serves the reader's region
 * @property {string} region why, or why that is not known
 * @property {boolean} otherDollars the quotes are both dollars, but not the same ones
 */

/**
 * The card of an alert for a reader; null where the reader buys nowhere, or where the alert comes from.
 * @param {object} alert @param {object | null} settings of the account message @returns {Card | null}
 */
export function cardOf(alert, settings) {
  const own = settings?.own_exchange_id;
  if (!own || own === alert.source_exchange_id) return null;
  const terms = new Map(settings.terms.map((each) => [each.exchange_id, each]));
  const there = terms.get(own);
  const here = terms.get(alert.source_exchange_id);
  const offer = alert.elsewhere.find((each) => each.exchange_id === own) ?? null;
  const same = offer?.identity === "same" && offer.price !== null;
  const left =
    same && here && there
      ? residual({
          here: alert.price,
          there: offer.price,
          feeHere: here.taker_fee,
          feeThere: there.taker_fee,
          direction: alert.direction,
          bookSpread: offer.book_spread_bps,
        })
      : null;
  return {
    exchangeId: own,
    name: there?.name ?? own,
    listed: offer !== null,
    offer,
    residual: left,
    allowed: there?.allowed ?? null,
    region: there?.reason ?? "",
    otherDollars: offer !== null && offer.quote !== alert.quote && DOLLARS.has(offer.quote) && DOLLARS.has(alert.quote),
  };
}

/** Whether prices in these quotes may stand side by side. @param {string} here @param {string} there */
export function comparable(here, there) {
  return here === there || (DOLLARS.has(here) && DOLLARS.has(there));
}

/** Who leads, in words; "" where nobody knows enough to say. @param {object | null} lead @param {(id: string) => string} nameOf */
export function leadText(lead, nameOf) {
  if (!lead || lead.median_ms === null) return "";
  if (!lead.leader) {
    // Both clocks, the exchanges' own and ours, have to say the same.
    const unproved = lead.low_ms > 0 || lead.high_ms < 0 ? " by their own clocks, not by ours," : "";
    return `no leader: ${interval(lead.low_ms, lead.high_ms)}${unproved} over ${lead.events} price changes`;
  }
  const [low, high] = [Math.abs(lead.low_ms), Math.abs(lead.high_ms)].sort((a, b) => a - b);
  return `${nameOf(lead.leader)} leads by ${seconds(Math.abs(lead.median_ms))} s (${interval(low, high)}, ${lead.events} price changes)`;
}

function interval(low, high) {
  return `${seconds(low)} to ${seconds(high)} s`;
}

function seconds(milliseconds) {
  return (milliseconds / 1000).toFixed(1).replace("-", "−");
}

/** "BTC is moving on Coinbase". @param {object} move a MoveMessage @param {(id: string) => string} nameOf */
export function moveText(move, nameOf) {
  const what = move.grouped ? `${move.coins.length} coins are` : `${move.coins[0]} is`;
  return `${what} moving on ${nameOf(move.exchange_id)}`;
}
