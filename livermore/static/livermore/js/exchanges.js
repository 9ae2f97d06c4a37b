// The page of exchanges: asks how each one does, every two seconds while somebody looks.
import { get } from "./api.js";
import { now, synchronize } from "./clock.js";
import { arrange, byId, h, icon, setText } from "./dom.js";
import { ago, exactTime } from "./format.js";
import { HealthCard } from "./health-card.js";
import { WEEK } from "./health-words.js";
import { stateName } from "./stages.js";

const EVERY = 2_000;
const EVENTS_LAG = 1_500; // what happened is written behind the feed's back
const LATE = 10_000;
const MOST_PAGES = 20; // of 500 events each

const page = document.body.dataset;
/** @type {Map<string, { card: HealthCard, seen: string, last: boolean }>} */
const shown = new Map();
let readAt = 0;

async function read() {
  const { ok, data, message } = await get("/api/exchanges/health/?page_size=500");
  page.link = ok ? "live" : "offline";
  byId("notice").hidden = ok;
  if (!ok) {
    setText(byId("notice"), message);
    tick();
    return;
  }
  const healths = data.results;
  if (healths.length) synchronize(healths[0].at);
  readAt = now();
  for (const health of healths) take(health);
  for (const id of shown.keys()) if (!healths.some((health) => health.id === id)) shown.delete(id);
  const entries = healths.map(({ id }) => shown.get(id));
  arrange(byId("exchanges"), [...entries.filter((entry) => !entry.last), ...entries.filter((entry) => entry.last)].map(({ card }) => card.element));
  byId("empty").hidden = healths.length > 0;
  paintCounted(healths);
  tick();
}

function take(health) {
  let entry = shown.get(health.id);
  if (!entry) {
    const commands = page.mayControl === "yes" ? page.commands.replace("{id}", encodeURIComponent(health.id)) : null;
    // What nobody started is last. It stays there when it is started: nothing moves under the pointer.
    entry = { card: new HealthCard(health.id, commands), seen: "", last: health.state === "idle" };
    shown.set(health.id, entry);
  }
  entry.card.paint(health, now());
  const seen = [health.state, health.since, health.connection_state, health.connected_at, health.error].join();
  if (seen === entry.seen) return;
  if (!entry.seen) readEvents(entry.card);
  else setTimeout(() => readEvents(entry.card), EVENTS_LAG);
  entry.seen = seen;
}

/** The whole week, also of an exchange that comes and goes all the time. */
async function readEvents(card) {
  const events = [];
  const from = Math.round(now() - WEEK);
  for (let number = 1, more = true; more && number <= MOST_PAGES; number += 1) {
    const { ok, data } = await get(`/api/exchanges/${encodeURIComponent(card.id)}/events/?from=${from}&page_size=500&page=${number}`);
    if (!ok) return;
    events.push(...data.results);
    more = data.next !== null;
  }
  card.happened(events, now());
}

/** "2 live, 1 stale", the most telling first. */
function paintCounted(healths) {
  const tally = new Map();
  for (const { state } of healths) tally.set(stateName(state), (tally.get(stateName(state)) ?? 0) + 1);
  const order = ["offline", "gap", "stale", "halted", "unknown", "warming", "live", "idle"].filter((state) => tally.has(state));
  byId("counted").replaceChildren(...order.map((state) => h("span", { "data-state": state }, icon(`state-${state}`), `${tally.get(state)} ${state}`)));
}

function tick() {
  if (!readAt) return;
  const age = now() - readAt;
  setText(byId("read-at"), page.link === "live" && age < LATE ? "" : `as of ${ago(age)}`);
  byId("read-at").title = exactTime(readAt);
  for (const { card } of shown.values()) card.tick(now());
}

async function follow() {
  for (;;) {
    if (!document.hidden) await read();
    await new Promise((wait) => setTimeout(wait, EVERY));
  }
}

setInterval(tick, 1_000);
document.addEventListener("visibilitychange", () => document.hidden || read());
follow();
