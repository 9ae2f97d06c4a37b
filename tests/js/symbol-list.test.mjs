import assert from "node:assert/strict";
import { test } from "node:test";
import {
  linesOf,
  listUrl,
  nextSort,
  offered,
  readView,
  shortTierText,
  tierText,
  verdictsText,
  writeView,
} from "../../livermore/static/livermore/js/symbol-list.js";

const STANDARD = { query: "", exchange: "", volume: "", show: "", sort: "-dollar_volume_24h" };

test("a view survives the address of the page", () => {
  const search = "?q=doge+usd&exchange=binance&volume=1000000&show=mine&sort=-price";
  assert.deepEqual(readView(search), { query: "doge usd", exchange: "binance", volume: "1000000", show: "mine", sort: "-price" });
  assert.equal(writeView(readView(search)), search);
});

test("the standard view has nothing in the address", () => {
  assert.deepEqual(readView(""), STANDARD);
  assert.equal(writeView(STANDARD), "");
});

test("what cannot be read in the address is left at its standard", () => {
  assert.deepEqual(readView("?volume=much&show=yours&sort=-constructor&other=1"), STANDARD);
});

test("the API is asked for what the view shows", () => {
  assert.equal(listUrl(STANDARD, 100), "/api/symbols/?ordering=-dollar_volume_24h&page_size=100&tradable=true");
  const view = { query: "btc", exchange: "kraken", volume: "100000", show: "tier1", sort: "price" };
  assert.equal(
    listUrl(view, 200),
    "/api/symbols/?ordering=price&page_size=200&tradable=true&tier=1&search=btc&exchange=kraken&min_volume=100000",
  );
});

test("what is mine is shown though it is not traded now", () => {
  assert.equal(listUrl({ ...STANDARD, show: "mine" }, 100), "/api/symbols/?ordering=-dollar_volume_24h&page_size=100&mine=true");
});

test("figures sort from the largest, names, spreads and ranks from the first; then the other way", () => {
  for (const name of ["price", "change_24h", "dollar_volume_24h", "market_cap"]) assert.equal(nextSort("symbol", name), `-${name}`);
  for (const name of ["exchange", "spread_bps", "coin_rank"]) assert.equal(nextSort("-price", name), name);
  assert.equal(nextSort("-price", "price"), "price");
  assert.equal(nextSort("price", "price"), "-price");
  assert.equal(nextSort("symbol", "symbol"), "-symbol");
});

const row = (more) => ({ tier: null, added: false, held: false, policy: "auto", tradable: true, alias_of: "", ...more });

for (const [more, long, short] of [
  [{ tier: 1 }, "everybody", ""],
  [{ tier: 1, held: true, added: true }, "everybody; held, added", "held, added"],
  [{ tier: 2, held: true }, "held", "held"],
  [{ tier: 2, added: true }, "added", "added"],
  [{}, "no", "not watched"],
  [{ added: true }, "added, not watched", "added, not watched"],
  [{ policy: "excluded" }, "excluded", "excluded"],
  [{ policy: "excluded", held: true }, "held, excluded", "held, excluded"],
  [{ tradable: false }, "not traded now", "not traded now"],
  [{ tradable: false, held: true }, "held, not traded now", "held, not traded now"],
]) {
  test(`it says why a symbol is watched: ${long}`, () => {
    assert.equal(tierText(row(more)), long);
    assert.equal(shortTierText(row(more)), short);
  });
}

test("what was added can be removed though it is halted, and only what is traded under its own name can be added", () => {
  assert.equal(offered(row({})), "add");
  assert.equal(offered(row({ held: true })), "add");
  assert.equal(offered(row({ added: true, tradable: false })), "remove");
  assert.equal(offered(row({ tradable: false })), "");
  assert.equal(offered(row({ alias_of: "BTC-USD" })), "");
});

test("a paste is a symbol a line, a comma or a semicolon", () => {
  assert.deepEqual(linesOf(" DOGE\n\nLINK-USD, avax/usd;\r\nBTC "), ["DOGE", "LINK-USD", "avax/usd", "BTC"]);
  assert.deepEqual(linesOf(" \n,;"), []);
});

test("a paste says how much of it was understood", () => {
  const verdicts = (...oks) => oks.map((ok) => ({ ok, code: "" }));
  assert.equal(verdictsText(verdicts(true)), "1 line understood.");
  assert.equal(verdictsText(verdicts(true, true, false)), "2 lines understood, 1 to correct: it stays above.");
  assert.equal(verdictsText(verdicts(false, false)), "0 lines understood, 2 to correct: they stay above.");
});
