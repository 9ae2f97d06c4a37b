// The symbols page: its columns, and its view in the address. Pure.

/** [what it sorts by, label, alignment] */
export const COLUMNS = [
  ["symbol", "Symbol", ""],
  ["exchange", "Exchange", ""],
  ["price", "Price", "right"],
  ["change_24h", "24 h", "right"],
  ["dollar_volume_24h", "Volume, $", "right"],
  ["spread_bps", "Spread", "right"],
  ["", "Liquidity", "middle"],
  ["market_cap", "Market cap, $", "right"],
  ["coin_rank", "Coin rank", "right"],
  ["", "Watched", ""],
  ["", "", ""],
];

const SORTABLE = new Set(COLUMNS.map(([name]) => name).filter(Boolean));
const STANDARD = "-dollar_volume_24h";
const SHOWN = ["", "mine", "tier1"];

/** What cannot be read is left at its standard. @param {string} search */
export function readView(search) {
  const given = new URLSearchParams(search);
  const sort = given.get("sort") ?? STANDARD;
  const show = given.get("show") ?? "";
  return {
    query: given.get("q") ?? "",
    exchange: given.get("exchange") ?? "",
    volume: /^\d+$/.test(given.get("volume") ?? "") ? given.get("volume") : "",
    show: SHOWN.includes(show) ? show : "",
    sort: SORTABLE.has(sort.replace(/^-/, "")) ? sort : STANDARD,
  };
}

/** The query string of a view; "" where all is standard. @param {ReturnType<typeof readView>} view */
export function writeView({ query, exchange, volume, show, sort }) {
  const values = { q: query, exchange, volume, show, sort: sort === STANDARD ? "" : sort };
  const written = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  return written && `?${written}`;
}

/** Why a symbol is watched for the reader, in a word or two. @param {object} row */
export function tierText({ tier, added, held, policy }) {
  const why = [held && "held", added && "added"].filter(Boolean).join(", ");
  if (policy === "excluded") return "excluded";
  if (tier === 1) return why ? `everybody; ${why}` : "everybody";
  if (tier === 2) return why;
  return why ? `${why}, not watched` : "no";
}
