// What the page knows, and how each message of /ws/feed/ changes it. Pure: no DOM, no clock, no socket.
// `reduce` says what a message changes, `apply` carries it out; old state + messages = the state of a fresh snapshot.

/** @typedef {{ epoch: string, id: number }} Position */

/**
 * @typedef {object} State
 * @property {boolean} loaded whether a snapshot has arrived
 * @property {Map<string, object>} exchanges exchange_id -> ExchangeCard
 * @property {Map<string, object>} rows rowKey -> SymbolRow
 * @property {object[]} alerts newest first
 * @property {Record<string, Position>} positions up to where we have every alert
 * @property {Record<string, Position>} heard the newest position the server has spoken of
 * @property {Map<string, object>} own rowKey -> OwnSymbol: what the reader holds or added
 * @property {object | null} settings what the reader set
 * @property {import("./silences.js").Silence[]} silences what the reader has acknowledged or snoozed
 * @property {object[]} moves newest first: what moves elsewhere and has not on the reader's own exchange
 */

/**
 * @typedef {object} Changes only what differs
 * @property {boolean} [whole] exchanges and rows are whole, not additions
 * @property {Map<string, object>} [exchanges]
 * @property {Map<string, object>} [rows]
 * @property {string[]} [removed] keys of rows that are gone
 * @property {object[]} [alerts]
 * @property {object[]} [fresh] alerts that were not there before
 * @property {string[]} [restarted] exchanges whose list could not be continued and is a new one
 * @property {Record<string, Position>} [positions]
 * @property {Record<string, Position>} [heard]
 * @property {Map<string, object>} [own]
 * @property {object} [settings]
 * @property {object[]} [silences]
 * @property {object[]} [moves]
 * @property {number} [at] the server's time
 */

export const VERSION = 1;
export const ALERTS_KEPT = 500;
export const MOVES_KEPT = 20;

/** @returns {State} */
export function initialState() {
  return { loaded: false, exchanges: new Map(), rows: new Map(), alerts: [], positions: {}, heard: {}, own: new Map(), settings: null, moves: [], silences: [] };
}

/** @param {string} exchangeId @param {string} symbol */
export function rowKey(exchangeId, symbol) {
  return `${exchangeId}|${symbol}`;
}

/**
 * What ``message`` changes in ``state``, which stays as it is. A type this page does not know changes nothing.
 * @param {State} state @param {{ type: string }} message @returns {Changes}
 */
export function reduce(state, message) {
  const reducer = Object.hasOwn(REDUCERS, message.type) ? REDUCERS[message.type] : null;
  return reducer ? reducer(state, message) : {};
}

/** @param {State} state @param {Changes} changes */
export function apply(state, changes) {
  if (changes.whole) {
    state.loaded = true;
    state.exchanges = changes.exchanges;
    state.rows = changes.rows;
  } else {
    for (const [id, card] of changes.exchanges ?? []) state.exchanges.set(id, card);
    for (const key of changes.removed ?? []) state.rows.delete(key);
    for (const [key, row] of changes.rows ?? []) state.rows.set(key, row);
  }
  if (changes.alerts) state.alerts = changes.alerts;
  if (changes.positions) state.positions = changes.positions;
  if (changes.heard) state.heard = changes.heard;
  if (changes.own) state.own = changes.own;
  if (changes.settings) state.settings = changes.settings;
  if (changes.silences) state.silences = changes.silences;
  if (changes.moves) state.moves = changes.moves;
}

/** The exchanges of which the server has alerts that we have not. @param {State} state */
export function behind(state) {
  return Object.entries(state.heard)
    .filter(([id, heard]) => isAhead(heard, state.positions[id]))
    .map(([id]) => id);
}

/** @param {Position} theirs @param {Position | undefined} ours */
function isAhead(theirs, ours) {
  if (!ours) return theirs.id > 0;
  return theirs.epoch !== ours.epoch || theirs.id > ours.id;
}

/** Newest first; alerts of one moment by their number. */
function byAge(a, b) {
  return b.triggered_at - a.triggered_at || b.id - a.id || (a.uid < b.uid ? -1 : 1);
}

/** One list out of two, each uid once, the later word about an alert winning. */
function merged(older, newer) {
  const alerts = new Map();
  for (const alert of [...older, ...newer]) alerts.set(alert.uid, alert);
  return [...alerts.values()].sort(byAge).slice(0, ALERTS_KEPT);
}

/** Most alerts are the newest: looking from the top finds their place at once. */
function inserted(alerts, alert) {
  const at = alerts.findIndex((other) => byAge(alert, other) < 0);
  return alerts.toSpliced(at < 0 ? alerts.length : at, 0, alert).slice(0, ALERTS_KEPT);
}

function keyed(rows) {
  return new Map(rows.map((row) => [rowKey(row.exchange_id, row.symbol), row]));
}

function snapshot(state, message) {
  const resumed = message.resumed ?? {};
  const known = new Set(state.alerts.map((alert) => alert.uid));
  const continued = state.alerts.filter((alert) => resumed[alert.source_exchange_id]);
  return {
    whole: true,
    exchanges: new Map(message.exchanges.map((card) => [card.exchange_id, card])),
    rows: keyed(message.symbols),
    alerts: merged(continued, message.alerts),
    fresh: message.alerts.filter((alert) => !known.has(alert.uid)),
    restarted: Object.keys(state.positions).filter((id) => id in message.top && !resumed[id]),
    positions: { ...message.top },
    heard: { ...message.top },
    at: message.at,
  };
}

/** The position of an alert, or of one that is not for this reader: where nothing is missing before it, ours moves on. */
function numbered(state, { source_exchange_id: id, epoch, id: number }) {
  const position = { epoch, id: number };
  const changes = {};
  if (isNext(position, state.positions[id])) changes.positions = { ...state.positions, [id]: position };
  if (!state.heard[id] || isAhead(position, state.heard[id])) changes.heard = { ...state.heard, [id]: position };
  return changes;
}

function alert(state, message) {
  const changes = numbered(state, message);
  const known = state.alerts.find((other) => other.uid === message.uid);
  if (!known) Object.assign(changes, { alerts: inserted(state.alerts, message), fresh: [message] });
  else if (message.revised && !known.revised) changes.alerts = state.alerts.map((other) => (other === known ? message : other));
  return changes;
}

/** Whether nothing is missing between ``ours`` and ``position``. */
function isNext(position, ours) {
  if (!ours) return position.id === 1;
  return position.epoch === ours.epoch && position.id === ours.id + 1;
}

const TICKER_FIELDS = ["price", "received", "change_24h", "quote_volume_24h"];

function ticker(state, message) {
  const row = state.rows.get(rowKey(message.exchange_id, message.symbol));
  if (!row || message.received < row.received) return {};
  const next = { ...row };
  for (const name of TICKER_FIELDS) if (message[name] !== undefined) next[name] = message[name];
  return rowChange(next);
}

function candle(state, message) {
  const row = state.rows.get(rowKey(message.exchange_id, message.symbol));
  if (!row || message.indicator.t < row.readings[message.timeframe]?.t) return {};
  return rowChange({ ...row, readings: { ...row.readings, [message.timeframe]: message.indicator } });
}

function rowChange(row) {
  return { rows: new Map([[rowKey(row.exchange_id, row.symbol), row]]) };
}

function exchange(_state, { type, ...card }) {
  return cardChange(card);
}

function cardChange(card) {
  return { exchanges: new Map([[card.exchange_id, card]]) };
}

const CONNECTION = { "exchange:connecting": "connecting", "exchange:connected": "connected", "exchange:disconnected": "disconnected" };

function lifecycle(state, message) {
  if (message.symbol !== undefined) return symbolState(state, message);
  const card = state.exchanges.get(message.exchange_id);
  if (!card) return {};
  // One connection of several says nothing of the exchange: its state comes with the `exchange` message that follows.
  const next = { ...card };
  if (Object.hasOwn(CONNECTION, message.event)) next.connection_state = CONNECTION[message.event];
  if (message.progress !== undefined) next.warmup = message.progress;
  if (message.state && message.state !== card.state) Object.assign(next, { state: message.state, since: message.at });
  return cardChange(next);
}

function symbolState(state, message) {
  const row = state.rows.get(rowKey(message.exchange_id, message.symbol));
  return row && message.state ? rowChange({ ...row, state: message.state, reason: message.reason ?? "" }) : {};
}

function symbols(state, message) {
  const rows = keyed(message.symbols);
  const removed = [...state.rows.values()]
    .filter((row) => row.exchange_id === message.exchange_id)
    .map((row) => rowKey(row.exchange_id, row.symbol))
    .filter((key) => !rows.has(key));
  return { rows, removed };
}

function positions(state, message) {
  const changed = new Map();
  for (const [id, word] of Object.entries(message.states ?? {})) {
    const card = state.exchanges.get(id);
    if (card && card.state !== word) changed.set(id, { ...card, state: word, since: message.at });
  }
  return { heard: { ...state.heard, ...message.top }, at: message.at, ...(changed.size ? { exchanges: changed } : {}) };
}

function account(_state, message) {
  return { own: keyed(message.own), settings: message.settings, silences: message.silences ?? [] };
}

function move(state, message) {
  return { moves: [message, ...state.moves].slice(0, MOVES_KEPT) };
}

const REDUCERS = { snapshot, account, move, alert, withheld: numbered, ticker, candle, exchange, lifecycle, symbols, positions };
