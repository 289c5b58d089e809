// Sentence similarity of one pair: a score on the model's scale, and the verdict.

import { element, gauge } from "./draw.js";
import { fillTexts, truncationNotice } from "./form.js";
import { number, say } from "./language.js";
import { postJson } from "./request.js";

const EXAMPLE = {
  sentence_1: "주말에 한강에서 자전거를 탔어요.",
  sentence_2: "토요일에 강변을 자전거로 달렸습니다.",
};

const SCALES = {
  "bi-encoder": { min: -1, max: 1 }, // cosine of the two embeddings
  "cross-encoder": { min: 0, max: 5 }, // the label of KLUE-STS
};

/** `info` gives a promise of the server's tasks, which names the kind of model and its threshold. */
export function sts(info) {
  return {
    fill: (form) => fillTexts(form, EXAMPLE),

    async ask(form, controller) {
      const { sentence_1, sentence_2 } = form.elements;
      const pair = { sentence_1: sentence_1.value, sentence_2: sentence_2.value };
      const { data, headers } = await postJson("/pred/sentences/", pair, controller);
      const model = (await info()).sts ?? {};
      return () => drawn(data, model, truncationNotice(headers));
    },
  };
}

export function verdictOf(pred) {
  return pred === 1 ? say("같은 뜻", "same") : say("다른 뜻", "different");
}

function drawn(data, { kind, threshold }, notice) {
  const score = data.score.toFixed(3);
  const words = data.pred === 1
    ? say("두 문장은 같은 뜻으로 보입니다.", "The sentences seem to mean the same.")
    : say("두 문장은 다른 뜻으로 보입니다.", "The sentences seem to mean different things.");
  const seconds = number(data["runtime(sec)"], 2);
  const { min, max } = scaleOf(kind, data.score);
  const parts = [
    element("p", { class: "number" }, score, element("small", {}, say(` ${min}부터 ${max}까지`, ` from ${min} to ${max}`))),
    gauge({ label: say("유사도", "similarity"), value: data.score, min, max, threshold }),
    element("p", { class: "verdict" }, words),
    ...notice,
    element("p", { class: "pair" }, data.sentence_1),
    element("p", { class: "pair" }, data.sentence_2),
    element("p", { class: "runtime" }, say(`${seconds}초 걸렸습니다.`, `took ${seconds} s`)),
  ];
  return { summary: `${say("유사도", "Similarity")} ${score}. ${words}`, parts };
}

/** The scale of the model; without a known kind, only a score no cosine can reach gives it away. */
export function scaleOf(kind, score) {
  return SCALES[kind] ?? SCALES[score > 1.001 ? "cross-encoder" : "bi-encoder"];
}
