// The colours of the page for a canvas, which knows neither custom properties nor every way to write a colour.

const NAMES = {
  surface: "--surface",
  line: "--line",
  strong: "--line-strong",
  muted: "--muted",
  up: "--up",
  down: "--down",
  macdv: "--accent",
  signal: "--signal",
  compare: "--compare",
};

/** @returns {Record<keyof typeof NAMES, string>} each as "rgba(…)" */
export function readPalette() {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const found = Object.entries(NAMES).map(([name, token]) => {
    probe.style.color = `var(${token})`;
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = getComputedStyle(probe).color;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return [name, `rgba(${red}, ${green}, ${blue}, ${alpha / 255})`];
  });
  probe.remove();
  return Object.fromEntries(found);
}

/** @param {string} colour "rgba(…, 1)" @param {number} alpha */
export function faded(colour, alpha) {
  return colour.replace(/[\d.]+\)$/, `${alpha})`);
}

/** Tell when theme or palette become others. @param {() => void} onChange */
export function onPalette(onChange) {
  new MutationObserver(onChange).observe(document.documentElement, { attributeFilter: ["data-theme", "data-palette"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
}
