// A server's side of /ws/feed/ small enough to be obviously right: the oracle for the page's reducer.

/** Numbers that look random and are the same in every run. */
export function generator(seed) {
  let x = seed;
  return (below) => {
    x = (1103515245 * x + 12345) % 2 ** 31;
    return (x >> 8) % below;
  };
}

const TIMEFRAMES = ["5m", "15m", "1h", "4h", "1d"];
const STATES = ["live", "warming", "stale", "gap", "halted", "offline"];

export class Server {
  constructor(seed) {
    this.pick = generator(seed);
    this.at = 1_700_000_000_000;
    this.exchanges = new Map(["coinbase", "binance"].map((id) => [id, this.card(id)]));
    this.rows = new Map();
    this.alerts = [];
    this.top = { coinbase: { epoch: "a", id: 0 }, binance: { epoch: "b", id: 0 } };
    this.own = new Map();
    this.settings = { theme: "dark", palette: "standard", time_zone: "", timeframes: [...TIMEFRAMES] };
    for (const id of this.exchanges.keys()) for (let i = 0; i < 5; i += 1) this.list(id, `S${i}`);
  }

  card(id) {
    const unknown = { error: "", error_at: null, retry_at: null, warmup: null, host: "desk", pid: 1 };
    const times = { since: this.at, connected_at: this.at, last_heartbeat: this.at };
    return {
      exchange_id: id,
      name: id.toUpperCase(),
      simulated: false,
      state: "live",
      connection_state: "connected",
      symbols: 5,
      ...times,
      ...unknown,
    };
  }

  list(id, symbol) {
    const names = { exchange_id: id, symbol, base: symbol, quote: "USD", decimals: 2, rank: 1, state: "live", reason: "" };
    const row = { ...names, price: 10, change_24h: 0, quote_volume_24h: 1, received: this.at, readings: {} };
    this.rows.set(`${id}|${symbol}`, row);
  }

  snapshot(resume = {}) {
    const resumed = {};
    for (const [id, { epoch }] of Object.entries(this.top)) resumed[id] = resume[id]?.epoch === epoch;
    const owed = this.alerts.filter((alert) => !resumed[alert.source_exchange_id] || alert.id > resume[alert.source_exchange_id].id);
    const whole = {
      exchanges: [...this.exchanges.values()],
      symbols: [...this.rows.values()],
      alerts: owed.reverse(),
      resumed,
      top: this.top,
    };
    return structuredClone({ type: "snapshot", v: 1, at: this.at, ...whole });
  }

  positions() {
    const states = Object.fromEntries([...this.exchanges].map(([id, card]) => [id, card.state]));
    return structuredClone({ type: "positions", at: this.at, top: this.top, states });
  }

  /** Something happens; returns the message that tells of it. */
  happen() {
    this.at += 1 + this.pick(1_000);
    const kinds = ["ticker", "ticker", "ticker", "candle", "alert", "withheld", "symbolState", "exchange", "symbols", "account"];
    return structuredClone(this[kinds[this.pick(kinds.length)]]());
  }

  anyRow() {
    return [...this.rows.values()][this.pick(this.rows.size)];
  }

  anyExchange() {
    return [...this.exchanges.keys()][this.pick(this.exchanges.size)];
  }

  ticker() {
    const row = this.anyRow();
    const news = { price: this.pick(10_000) / 100, received: this.at, change_24h: this.pick(10) };
    Object.assign(row, news);
    return { type: "ticker", exchange_id: row.exchange_id, symbol: row.symbol, t: this.at, bid: 1, ...news };
  }

  candle() {
    const row = this.anyRow();
    const timeframe = TIMEFRAMES[this.pick(5)];
    const indicator = {
      t: this.at,
      close: 1,
      macdv: this.pick(400) - 200,
      signal: 0,
      histogram: 0,
      atr: 1,
      stage: "rallying",
      seeded: true,
      observed: 9,
      span: 9,
      reason: "",
    };
    row.readings[timeframe] = indicator;
    return { type: "candle", exchange_id: row.exchange_id, symbol: row.symbol, timeframe, candle: [this.at, 1, 1, 1, 1, 1, 0], indicator };
  }

  alert() {
    const row = this.anyRow();
    const top = this.top[row.exchange_id];
    top.id += 1;
    const alert = { type: "alert", ...top, uid: `${row.exchange_id}|${top.id}`, source_exchange_id: row.exchange_id, symbol: row.symbol };
    Object.assign(alert, { timeframe: "1h", trigger_label: "level_150", direction: "up", triggered_at: this.at, revised: false });
    this.alerts.push(alert);
    return alert;
  }

  /** An alert that is another reader's own: its number alone is told, and it is in nobody else's list. */
  withheld() {
    const id = this.anyExchange();
    this.top[id].id += 1;
    return { type: "withheld", ...this.top[id], source_exchange_id: id };
  }

  /** The reader adds a symbol, or removes it, and changes a setting. */
  account() {
    const { exchange_id, symbol } = this.anyRow();
    const key = `${exchange_id}|${symbol}`;
    if (!this.own.delete(key)) this.own.set(key, { exchange_id, symbol, added: true, quantity: null, value: null });
    this.settings = { ...this.settings, timeframes: TIMEFRAMES.slice(this.pick(4)) };
    return this.told();
  }

  /** What the reader holds, added and set, as every snapshot brings it along. */
  told() {
    return structuredClone({ type: "account", own: [...this.own.values()], settings: this.settings });
  }

  symbolState() {
    const row = this.anyRow();
    Object.assign(row, { state: STATES[this.pick(6)], reason: `because ${this.at}` });
    const told = { symbol: row.symbol, state: row.state, reason: row.reason };
    return { type: "lifecycle", exchange_id: row.exchange_id, event: "symbol:state", at: this.at, ...told };
  }

  exchange() {
    const card = this.exchanges.get(this.anyExchange());
    Object.assign(card, { state: STATES[this.pick(6)], since: this.at, last_heartbeat: this.at });
    return { type: "exchange", ...card };
  }

  symbols() {
    const id = this.anyExchange();
    const own = [...this.rows.values()].filter((row) => row.exchange_id === id);
    this.rows.delete(`${id}|${own[0].symbol}`);
    this.list(id, `N${this.at}`);
    return { type: "symbols", exchange_id: id, symbols: [...this.rows.values()].filter((row) => row.exchange_id === id) };
  }
}
