// Linguistic acceptability: the probability that speakers of English accept the sentence.

import { element, gauge } from "./draw.js";
import { fillTexts, truncationNotice } from "./form.js";
import { say } from "./language.js";
import { postJson } from "./request.js";

const EXAMPLE = { passage: "The letters she wrote last winter was never sent." };

export const cola = {
  fill: (form) => fillTexts(form, EXAMPLE),

  async ask(form, controller) {
    const passage = form.elements.passage.value;
    const { data, headers } = await postJson("/generate", { passage }, controller);
    const { prob } = data;
    return () => drawn(passage, prob, truncationNotice(headers));
  },
};

function drawn(passage, prob, notice) {
  const percent = `${(prob * 100).toFixed(1)}%`;
  const words = prob >= 0.5
    ? say("문법에 맞는 문장으로 보입니다.", "The sentence looks well formed.")
    : say("문법에 어긋난 문장으로 보입니다.", "The sentence looks ill formed.");
  const label = say("받아들일 확률", "probability of being accepted");
  const parts = [
    element("p", { class: "number" }, percent, element("small", {}, ` ${label}`)),
    gauge({ label, value: prob, min: 0, max: 1, threshold: 0.5 }),
    element("p", { class: "verdict" }, words),
    ...notice,
    element("p", { class: "pair", lang: "en" }, passage),
  ];
  return { summary: `${label} ${percent}. ${words}`, parts };
}
