import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Feed, SILENCE } from "../../livermore/static/livermore/js/socket.js";

const HAVE = { coinbase: { epoch: "e1", id: 17 } };
const SNAPSHOT = { type: "snapshot", v: 1 };

/** The end of a socket that a test holds. */
class Socket extends EventTarget {
  static OPEN = 1;

  static opened = [];

  constructor(url) {
    super();
    Object.assign(this, { url, readyState: 0, said: [] });
    Socket.opened.push(this);
  }

  send(text) {
    this.said.push(JSON.parse(text));
  }

  close(code = 1006) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }

  open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  hear(n, ...messages) {
    this.dispatchEvent(Object.assign(new Event("message"), { data: JSON.stringify({ n, m: messages }) }));
  }
}

function started(resume = () => HAVE) {
  const links = [];
  const feed = new Feed({ url: "ws://127.0.0.1/ws/feed/", onMessages: () => {}, onLink: (link) => links.push(link.state), resume });
  feed.start();
  return { feed, links, last: () => Socket.opened.at(-1) };
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setInterval", "setTimeout", "Date"], now: 1_800_000_000_000 });
  globalThis.WebSocket = Socket;
  Socket.opened = [];
});

test("a page says what it has, on its first socket and on each that follows", () => {
  const have = structuredClone(HAVE);
  const { last } = started(() => have);
  last().open();
  assert.deepEqual(last().said, [{ type: "hello", v: 1, resume: { coinbase: { epoch: "e1", id: 17 } } }]);

  last().hear(1, SNAPSHOT);
  have.coinbase.id = 21;
  last().close(1006);
  mock.timers.tick(15_000);
  assert.equal(Socket.opened.length, 2);
  last().open();
  assert.deepEqual(last().said, [{ type: "hello", v: 1, resume: { coinbase: { epoch: "e1", id: 21 } } }]);
});

test("frames are acknowledged every two seconds, and at once when many or much came", () => {
  const { last } = started();
  last().open();
  const acknowledged = () => last().said.filter(({ type }) => type === "ack").map(({ n }) => n); // prettier-ignore
  last().hear(1, SNAPSHOT);
  last().hear(2);
  assert.deepEqual(acknowledged(), [1]);
  mock.timers.tick(2_000);
  assert.deepEqual(acknowledged(), [1, 2]);
  last().hear(3, { type: "symbols", text: "x".repeat(200_000) });
  assert.deepEqual(acknowledged(), [1, 2, 3]);
  for (let n = 4; n <= 67; n += 1) last().hear(n);
  assert.deepEqual(acknowledged(), [1, 2, 3, 67]);
});

test("a page that lacks something says what it has again, at most every 5 s", () => {
  const { feed, last } = started();
  last().open();
  last().hear(1, SNAPSHOT);
  feed.hello();
  assert.equal(last().said.filter((one) => one.type === "hello").length, 1);
  mock.timers.tick(6_000);
  assert.deepEqual(last().said.filter((one) => one.type === "hello").at(-1), { type: "hello", v: 1, resume: HAVE });
  assert.equal(last().said.filter((one) => one.type === "hello").length, 2);
});

test("a page that hears nothing for 15 s is not live, and connects again", () => {
  const { links, last } = started();
  last().open();
  last().hear(1, SNAPSHOT);
  assert.equal(links.at(-1), "live");
  mock.timers.tick(SILENCE + 2_000);
  assert.notEqual(links.at(-1), "live");
  mock.timers.tick(15_000);
  assert.equal(Socket.opened.length > 1, true);
});

test("a server that cannot ask its database is asked again later", () => {
  const { links, last } = started();
  last().open();
  last().close(4503);
  assert.equal(links.at(-1), "reconnecting");
  mock.timers.tick(15_000);
  assert.equal(Socket.opened.length, 2);
});
