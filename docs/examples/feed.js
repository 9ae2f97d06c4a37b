// A browser's end of /ws/feed/: hear the named channels, and come back after a break.

/**
 * @param {string} server e.g. "ws://127.0.0.1:8000"; the page's host must be the one that the user has logged in at
 * @param {string[]} channels e.g. ["channel:exchange:coinbase:alerts:BTC-USD"]
 * @param {(message: object) => void} onMessage each message, in order
 */
export function follow(server, channels, onMessage) {
  let wait = 500;
  const open = () => {
    const socket = new WebSocket(`${server}/ws/feed/`);
    socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", channels }));
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      frame.m.forEach(onMessage);
      socket.send(JSON.stringify({ type: "ack", n: frame.n }));
      wait = 500;
    };
    socket.onclose = ({ code }) => {
      onMessage({ type: "closed", code });
      if ([4400, 4401, 4403].includes(code)) return; // for good: to be mended, logged in, or given a role
      setTimeout(open, wait * (0.5 + Math.random() / 2)); // what was published meanwhile is in the API
      wait = Math.min(15_000, wait * 2);
    };
  };
  open();
}
