// The only two ways this page makes elements. Text is always appended as text nodes:
// nothing a user or the server wrote is ever read as markup.

import { say } from "./language.js";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/**
 * A bar on the scale [min, max], filled from zero to `value`, so that a negative
 * value grows to the left. `threshold`, where known, is drawn across the bar.
 */
export function gauge({ label, value, min, max, threshold }) {
  const share = (number) => (Math.min(Math.max(number, min), max) - min) / (max - min);
  const [from, to] = [share(0), share(value)].sort((a, b) => a - b);
  const bar = element("div", { class: "bar" }, element("div", { class: "fill" }));
  bar.style.setProperty("--from", from);
  bar.style.setProperty("--to", to);
  if (Number.isFinite(threshold)) bar.append(tick(threshold, share(threshold)));
  return element("div", meterAttributes(label, value, min, max), bar, numbers(min, max));
}

function meterAttributes(label, value, min, max) {
  return {
    class: "gauge",
    role: "meter",
    "aria-label": label,
    "aria-valuemin": min,
    "aria-valuemax": max,
    "aria-valuenow": value,
  };
}

function tick(threshold, at) {
  const made = element("div", { class: "tick" }, element("span", {}, say(`기준 ${threshold}`, `threshold ${threshold}`)));
  made.style.setProperty("--at", at);
  return made;
}

/** The scale's ends, and zero in the middle of a scale that has negative values: those are symmetric. */
function numbers(min, max) {
  const shown = min < 0 ? [min, 0, max] : [min, max];
  return element("div", { class: "numbers" }, ...shown.map((number) => element("span", {}, `${number}`)));
}
