// How the scores of a file are spread.

import { element } from "./draw.js";
import { number, say } from "./language.js";

const BINS = 20;

/** Columns over the range of the scores, which are on a cosine's scale or on one from 0 to 5. */
export function histogram(scores) {
  const max = Math.max(...extremes(scores)) > 1.001 ? 5 : 1;
  const min = Math.min(...extremes(scores)) < 0 ? -1 : 0;
  const counts = new Array(BINS).fill(0);
  for (const score of scores) counts[binOf(score, min, max)] += 1;
  const label = say("점수의 분포", "Distribution of the scores");
  const columns = counts.map((count, bin) => column(count, Math.max(...counts), min + ((max - min) * bin) / BINS));
  const bars = element("div", { class: "bars", role: "img", "aria-label": `${label}, ${min}–${max}` }, ...columns);
  const scale = element("div", { class: "numbers" }, element("span", {}, `${min}`), element("span", {}, `${max}`));
  return element("div", { class: "histogram" }, element("p", { class: "legend" }, label), bars, scale);
}

function extremes(scores) {
  return scores.reduce(([low, high], score) => [Math.min(low, score), Math.max(high, score)], [0, 0]);
}

function binOf(score, min, max) {
  return Math.min(BINS - 1, Math.max(0, Math.floor(((score - min) / (max - min)) * BINS)));
}

function column(count, most, from) {
  const title = say(`${number(from, 2)}부터: ${number(count)}쌍`, `from ${number(from, 2)}: ${number(count)} pairs`);
  const made = element("span", { title });
  made.style.setProperty("--share", most ? count / most : 0);
  return made;
}
