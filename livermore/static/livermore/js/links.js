// Where things are: addresses of pages and of the API. Pure.

const path = (symbol) => symbol.split("/").map(encodeURIComponent).join("/");

/** The page of a symbol. @param {string} exchangeId @param {string} symbol @param {string} [timeframe] */
export function symbolUrl(exchangeId, symbol, timeframe = "") {
  return `/symbols/${encodeURIComponent(exchangeId)}/${path(symbol)}/${timeframe && `?timeframe=${timeframe}`}`;
}

/** Closed candles with their readings. @param {string} exchangeId @param {string} symbol @param {string} timeframe @param {number} limit */
export function candlesUrl(exchangeId, symbol, timeframe, limit) {
  const query = new URLSearchParams({ timeframe, limit: String(limit), indicator: "series" });
  return `/api/exchanges/${encodeURIComponent(exchangeId)}/symbols/${path(symbol)}/candles/?${query}`;
}

/** @param {string} exchangeId @param {string} symbol @param {Record<string, string | number>} [more] */
export function alertsUrl(exchangeId, symbol, more = {}) {
  return `/api/alerts/?${new URLSearchParams({ exchange: exchangeId, symbol, ...more })}`;
}
