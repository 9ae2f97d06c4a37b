// What a live page has between the socket and the screen: messages into the state, and one drawing a frame for all of them.
import { synchronize } from "./clock.js";
import { announce } from "./notify.js";
import { expectShown } from "./shown.js";
import { Feed } from "./socket.js";
import { apply, behind, reduce } from "./state.js";
import { followSettings } from "./theme.js";

const CATCH_UP = 1_000; // what is on its way arrives within this; what is not has to be asked for

export class Live {
  /**
   * @param {object} options
   * @param {string} options.path of the socket
   * @param {import("./state.js").State} options.state changed in place
   * @param {(message: { type: string }, changes: import("./state.js").Changes) => void} options.onTake after each message
   * @param {() => void} options.onDraw at most once a frame, after messages
   * @param {(unseen: number) => void} options.onUnseen
   * @param {(link: import("./socket.js").Link) => void} options.onLink
   */
  constructor({ path, state, onTake, onDraw, onUnseen, onLink }) {
    Object.assign(this, { state, onTake, onDraw, onUnseen });
    /** uids of alerts that have come and have not been on the screen. @type {Set<string>} */
    this.unseen = new Set();
    this.drawing = false;
    this.feed = new Feed({
      url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`,
      onMessages: (messages) => this.receive(messages),
      onLink,
      resume: () => state.positions,
    });
  }

  start() {
    document.addEventListener("visibilitychange", () => document.hidden || this.feed.wake());
    addEventListener("online", () => this.feed.wake());
    addEventListener("pageshow", (event) => event.persisted && this.feed.wake());
    this.feed.start();
  }

  /** @param {{ type: string }[]} messages */
  receive(messages) {
    const { state, feed, unseen } = this;
    const wasLoaded = state.loaded;
    for (const message of messages) this.take(message);
    if (!wasLoaded) unseen.clear();
    this.onUnseen(unseen.size);
    if (behind(state).length) setTimeout(() => behind(state).length && feed.hello(), CATCH_UP);
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.onDraw();
    });
  }

  /** @param {{ type: string }} message */
  take(message) {
    const wasLoaded = this.state.loaded;
    let changes;
    try {
      changes = reduce(this.state, message);
    } catch (error) {
      // One message that makes no sense must not stop those after it.
      console.error(`a ${message?.type} message could not be read`, error);
      return;
    }
    apply(this.state, changes);
    if (message.type === "notify") announce(message);
    if (changes.at) synchronize(changes.at);
    if (changes.settings) followSettings(changes.settings);
    // The server itself missed messages: nobody knows which.
    if (message.resync) this.feed.hello();
    for (const alert of changes.fresh ?? []) {
      this.unseen.add(alert.uid);
      if (wasLoaded) expectShown(alert.uid);
    }
    this.onTake(message, changes);
  }
}
