import assert from "node:assert/strict";
import { test } from "node:test";
import { ALERTS_KEPT, MOVES_KEPT, apply, behind, initialState, reduce } from "../../livermore/static/livermore/js/state.js";
import { Server } from "./server.mjs";

/** What a page gets when it says hello. */
function greeting(server, resume) {
  return [server.told(), server.snapshot(resume)];
}

function told(state, ...messages) {
  for (const message of messages) apply(state, reduce(state, message));
  return state;
}

/** Without what follows from the order of arrival alone. */
function comparable(state) {
  const sorted = (map) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return { ...state, exchanges: sorted(state.exchanges), rows: sorted(state.rows), own: sorted(state.own) };
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`old state and events make the state of a fresh snapshot, seed ${seed}`, () => {
    const server = new Server(seed);
    const page = told(initialState(), ...greeting(server));
    for (let i = 0; i < 400; i += 1) told(page, server.happen());
    assert.deepEqual(comparable(page), comparable(told(initialState(), ...greeting(server))));
    assert.deepEqual(behind(page), []);
  });

  test(`a page that missed messages knows it, and is whole after it resumes, seed ${seed}`, () => {
    const server = new Server(seed);
    const page = told(initialState(), ...greeting(server));
    for (let i = 0; i < 100; i += 1) told(page, server.happen());
    for (let i = 0; i < 100; i += 1) server.happen();
    told(page, server.positions());
    assert.deepEqual(behind(page).sort(), ["binance", "coinbase"]);
    for (let i = 0; i < 20; i += 1) told(page, server.happen());
    told(page, ...greeting(server, page.positions));
    assert.deepEqual(comparable(page), comparable(told(initialState(), ...greeting(server))));
    assert.deepEqual(behind(page), []);
  });
}

test("a message changes nothing before it is applied", () => {
  const server = new Server(7);
  const page = told(initialState(), server.snapshot());
  const before = structuredClone(page);
  for (let i = 0; i < 50; i += 1) reduce(page, server.happen());
  assert.deepEqual(page, before);
});

test("an alert that comes twice is shown once", () => {
  const server = new Server(1);
  const alert = server.alert();
  const page = told(initialState(), new Server(1).snapshot(), alert, structuredClone(alert));
  assert.deepEqual(
    page.alerts.map(({ uid }) => uid),
    [alert.uid],
  );
  assert.deepEqual(reduce(page, alert), {});
});

test("a revision is marked on the alert that is there", () => {
  const server = new Server(1);
  const alert = server.alert();
  const page = told(initialState(), new Server(1).snapshot(), alert);
  const changes = reduce(page, { ...alert, revised: true });
  assert.equal(changes.fresh, undefined);
  apply(page, changes);
  assert.deepEqual(
    page.alerts.map(({ revised }) => revised),
    [true],
  );
});

test("an alert after a gap is shown, and the page asks for those between", () => {
  const server = new Server(1);
  const page = told(initialState(), server.snapshot());
  const first = server.alert();
  let last = server.alert();
  while (last.source_exchange_id !== first.source_exchange_id) last = server.alert();
  told(page, last);
  assert.deepEqual(
    page.alerts.map(({ uid }) => uid),
    [last.uid],
  );
  assert.deepEqual(behind(page), [last.source_exchange_id]);
  assert.deepEqual(page.positions[last.source_exchange_id], { epoch: first.epoch, id: 0 });
});

test("a number that is withheld leaves no gap, and no alert", () => {
  const server = new Server(1);
  const page = told(initialState(), server.snapshot());
  const message = server.withheld();
  const id = message.source_exchange_id;
  const changes = reduce(page, message);
  assert.deepEqual(Object.keys(changes).sort(), ["heard", "positions"]);
  apply(page, changes);
  assert.deepEqual(page.positions[id], { epoch: message.epoch, id: 1 });
  assert.deepEqual([behind(page), page.alerts], [[], []]);
  let alert = server.alert();
  while (alert.source_exchange_id !== id) told(page, alert, (alert = server.alert()));
  told(page, alert);
  assert.deepEqual(behind(page), []);
});

test("a withheld number after a gap does not hide the gap", () => {
  const server = new Server(1);
  const page = told(initialState(), server.snapshot());
  const { source_exchange_id: id } = server.withheld();
  let last = server.withheld();
  while (last.source_exchange_id !== id) last = server.withheld();
  told(page, last);
  assert.deepEqual(behind(page), [id]);
  told(page, server.snapshot(page.positions));
  assert.deepEqual([behind(page), page.alerts], [[], []]);
});

test("what the reader holds, added and set is replaced as a whole", () => {
  const page = initialState();
  const btc = { exchange_id: "coinbase", symbol: "BTC-USD", added: true, quantity: null, value: null };
  const eth = { exchange_id: "binance", symbol: "ETHUSDT", added: false, quantity: 2, value: 5_000 };
  const settings = { theme: "light", palette: "standard", time_zone: "Asia/Kolkata", timeframes: ["1h"] };
  told(page, { type: "account", own: [btc], settings: { ...settings, theme: "dark" } });
  const changes = reduce(page, { type: "account", own: [eth], settings });
  assert.deepEqual([...page.own.keys()], ["coinbase|BTC-USD"], "not before it is applied");
  apply(page, changes);
  assert.deepEqual([...page.own], [["binance|ETHUSDT", eth]]);
  assert.deepEqual(page.settings, settings);
  told(page, new Server(1).snapshot());
  assert.deepEqual([...page.own.keys()], ["binance|ETHUSDT"], "a snapshot says nothing of it");
});

test("a stream with a new epoch is asked for again, and replaces the list", () => {
  const server = new Server(1);
  const page = told(initialState(), server.snapshot(), server.alert(), server.alert());
  const id = page.alerts[0].source_exchange_id;
  server.top[id] = { epoch: "rebuilt", id: 1 };
  server.alerts = server.alerts.filter((alert) => alert.source_exchange_id !== id);
  told(page, server.positions());
  assert.deepEqual(behind(page), [id]);
  const changes = reduce(page, server.snapshot(page.positions));
  assert.deepEqual(changes.restarted, [id]);
  apply(page, changes);
  assert.deepEqual(
    page.alerts.filter((alert) => alert.source_exchange_id === id),
    [],
  );
});

test("the list of alerts is bounded, and keeps the newest", () => {
  const server = new Server(1);
  const page = told(initialState(), server.snapshot());
  for (let i = 0; i < ALERTS_KEPT + 20; i += 1) {
    server.at += 1;
    told(page, server.alert());
  }
  assert.equal(page.alerts.length, ALERTS_KEPT);
  assert.equal(page.alerts[0].triggered_at, server.at);
  assert.equal(page.alerts.at(-1).triggered_at, server.at - ALERTS_KEPT + 1);
});

test("a price older than the one shown is not taken", () => {
  const server = new Server(1);
  const page = told(initialState(), server.snapshot());
  const late = { type: "ticker", exchange_id: "coinbase", symbol: "S0", t: 1, price: 99, received: server.at - 1 };
  assert.deepEqual(reduce(page, late), {});
});

test("what happens to a connection is noted, and the state of the exchange is the server's to say", () => {
  const server = new Server(1);
  const page = told(initialState(), server.snapshot());
  const event = (name, more) => ({ type: "lifecycle", exchange_id: "binance", event: name, at: server.at + 5, reason: "", ...more });
  const noted = () => (({ state, connection_state, since }) => [state, connection_state, since - server.at])(page.exchanges.get("binance"));
  told(page, event("exchange:disconnected"));
  assert.deepEqual(noted(), ["live", "disconnected", 0]);
  told(page, event("exchange:connected", { state: "warming" }));
  assert.deepEqual(noted(), ["warming", "connected", 5]);
});

test("positions tell the state of every exchange", () => {
  const server = new Server(1);
  const page = told(initialState(), server.snapshot());
  told(page, { ...server.positions(), at: server.at + 9, states: { coinbase: "live", binance: "offline", nowhere: "live" } });
  assert.deepEqual(
    [...page.exchanges.values()].map(({ state, since }) => [state, since - server.at]),
    [
      ["live", 0],
      ["offline", 9],
    ],
  );
});

test("messages of an unknown type, symbol or exchange change nothing", () => {
  const page = told(initialState(), new Server(1).snapshot());
  const unknown = {
    exchange_id: "nowhere",
    symbol: "X",
    received: 1,
    price: 1,
    timeframe: "5m",
    indicator: { t: 1 },
    event: "symbol:state",
    state: "live",
  };
  for (const type of ["ticker", "candle", "lifecycle", "weather", "constructor"]) assert.deepEqual(reduce(page, { ...unknown, type }), {});
});

test("the newest 20 moves are kept, the newest first", () => {
  const page = told(initialState(), ...Array.from({ length: MOVES_KEPT + 5 }, (_, at) => ({ type: "move", at })));
  assert.equal(MOVES_KEPT, 20);
  assert.deepEqual(
    page.moves.map(({ at }) => at),
    Array.from({ length: 20 }, (_, back) => 24 - back),
  );
});
