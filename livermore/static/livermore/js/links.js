// Where things are: addresses of pages and of the API. Pure.

const path = (symbol) => symbol.split("/").map(encodeURIComponent).join("/");

/** The page of a symbol, at a candle by its open time. @param {string} exchangeId @param {string} symbol @param {string} [timeframe] @param {number} [candle] */
export function symbolUrl(exchangeId, symbol, timeframe = "", candle = 0) {
  const query = timeframe && `?timeframe=${timeframe}${candle ? `&candle=${candle}` : ""}`;
  return `/symbols/${encodeURIComponent(exchangeId)}/${path(symbol)}/${query}`;
}

/** @param {string} uid */
export const alertPageUrl = (uid) => `/alerts/${path(uid)}/`;

/** @param {string} uid */
export const alertUrl = (uid) => `/api/alerts/${path(uid)}/`;

/** @param {string} uid */
export const receiptUrl = (uid) => `${alertUrl(uid)}receipt/`;

/** @param {string} exchangeId @param {string} symbol @param {string} timeframe */
export function whyUrl(exchangeId, symbol, timeframe) {
  return `/api/exchanges/${encodeURIComponent(exchangeId)}/symbols/${path(symbol)}/why/?timeframe=${timeframe}`;
}

/** @param {string} coin @param {boolean} simulated */
export const venuesUrl = (coin, simulated) => `/api/coins/${encodeURIComponent(coin)}/venues/${simulated ? "?simulated=true" : ""}`;

/** Closed candles with their readings. @param {string} exchangeId @param {string} symbol @param {string} timeframe @param {number} limit */
export function candlesUrl(exchangeId, symbol, timeframe, limit) {
  const query = new URLSearchParams({ timeframe, limit: String(limit), indicator: "series" });
  return `/api/exchanges/${encodeURIComponent(exchangeId)}/symbols/${path(symbol)}/candles/?${query}`;
}

/** @param {string} exchangeId @param {string} symbol @param {Record<string, string | number>} [more] */
export function alertsUrl(exchangeId, symbol, more = {}) {
  return `/api/alerts/?${new URLSearchParams({ exchange: exchangeId, symbol, ...more })}`;
}
