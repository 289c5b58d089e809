// A paragraph whose sentences are judged each on its own.

import { element } from "./draw.js";
import { number, say } from "./language.js";

/** The sentences of an English text, without the spaces around them. */
export function sentencesOf(text) {
  const segments = new Intl.Segmenter("en", { granularity: "sentence" }).segment(text);
  return Array.from(segments, ({ segment }) => segment.trim()).filter(Boolean);
}

/** `results` has one for each sentence: {probability, acceptable}, or {error} where it could not be judged. */
export function drawnParagraph(sentences, results) {
  const bad = results.filter(({ acceptable }) => acceptable === false).length;
  const [some, all] = [number(bad), number(sentences.length)];
  const words = bad
    ? say(`${all}문장 가운데 ${some}문장이 어긋나 보입니다.`, `${some} of ${all} sentences look ill formed.`)
    : say(`${all}문장이 모두 맞아 보입니다.`, `All ${all} sentences look well formed.`);
  const marked = sentences.flatMap((sentence, index) => [drawnSentence(sentence, results[index]), " "]);
  const hint = say("밑줄은 어긋난 문장, 숫자는 받아들일 확률입니다.", "Underlined: ill formed. The number: probability of being accepted.");
  const parts = [
    element("p", { class: "verdict" }, words),
    element("p", { class: "paragraph", lang: "en" }, ...marked),
    element("p", { class: "legend" }, hint),
  ];
  return { summary: words, parts };
}

function drawnSentence(sentence, { error, probability, acceptable }) {
  if (error) return element("span", { class: "unjudged", title: error.detail }, sentence, element("sub", {}, "?"));
  const kind = acceptable ? "well" : "ill";
  const percent = element("sub", {}, `${Math.round(probability * 100)}%`);
  return element("span", { class: `sentence ${kind}` }, sentence, percent);
}
