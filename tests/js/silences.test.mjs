import assert from "node:assert/strict";
import { test } from "node:test";

import { silenceText, silencesOf } from "../../livermore/static/livermore/js/silences.js";

const alert = { source_exchange_id: "coinbase", symbol: "BTC-USD", timeframe: "1h", stage: "overbought" };
const ack = { id: 1, kind: "ack", exchange_id: "coinbase", symbol: "BTC-USD", timeframe: "1h", stage: "overbought", until: null };
const snooze = { id: 2, kind: "snooze", exchange_id: "coinbase", symbol: "BTC-USD", timeframe: "", stage: "", until: 100 };

test("an acknowledgement holds for its series at its stage, a snooze for the symbol until its end", () => {
  assert.deepEqual(silencesOf(alert, [ack, snooze], 99), { ack, snooze });
  assert.deepEqual(silencesOf(alert, [ack, snooze], 100), { ack, snooze: undefined });
  assert.deepEqual(silencesOf({ ...alert, stage: "rallying" }, [ack], 0), { ack: undefined, snooze: undefined });
  assert.deepEqual(silencesOf({ ...alert, timeframe: "5m" }, [ack, snooze], 0), { ack: undefined, snooze });
  for (const other of [{ symbol: "ETH-USD" }, { source_exchange_id: "binance" }]) {
    assert.deepEqual(silencesOf({ ...alert, ...other }, [ack, snooze], 0), { ack: undefined, snooze: undefined });
  }
});

test("what is silenced is told in words", () => {
  assert.equal(silenceText(ack), "BTC-USD 1h: acknowledged while overbought");
  assert.equal(silenceText(snooze), "BTC-USD all timeframes: snoozed");
});
