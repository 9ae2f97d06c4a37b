// The tone of a notification: two short notes, made here. A browser lets a page sound only once it was clicked or typed into.
import { recall, remember } from "./storage.js";

const NOTES = [784, 1175]; // Hz
const LENGTH = 0.16; // seconds a note

/** @type {AudioContext | null} */
let context = null;

/** 0 (mute) to 100. */
export function volume() {
  const kept = Number(recall("volume", "50"));
  return Number.isFinite(kept) ? Math.min(100, Math.max(0, kept)) : 50;
}

/** @param {number} percent */
export const setVolume = (percent) => remember("volume", String(percent));

/** Whether the browser would let this page sound now. */
export const maySound = () => navigator.userActivation?.hasBeenActive ?? true;

/** Make ready to sound: in a click or a key, where some browsers ask for one. */
export function prepare() {
  if (!maySound()) return;
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume().catch(() => {});
}

/** @returns {Promise<boolean>} whether this page sounds from now on */
export async function ready() {
  prepare();
  if (context?.state === "suspended") await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, 500))]).catch(() => {});
  return context?.state === "running";
}

/** Play the tone. @returns {Promise<boolean>} whether it was played */
export async function play() {
  const loud = (volume() / 100) ** 2; // heard as even steps
  if (!loud || !(await ready())) return false;
  const gain = new GainNode(context, { gain: 0 });
  gain.connect(context.destination);
  NOTES.forEach((frequency, index) => {
    const from = context.currentTime + index * LENGTH;
    const note = new OscillatorNode(context, { frequency, type: "sine" });
    note.connect(gain);
    gain.gain.setValueAtTime(0.0001, from);
    gain.gain.exponentialRampToValueAtTime(loud * 0.6, from + 0.015);
    gain.gain.exponentialRampToValueAtTime(0.0001, from + LENGTH);
    note.start(from);
    note.stop(from + LENGTH);
  });
  return true;
}
