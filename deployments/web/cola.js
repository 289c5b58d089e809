// Linguistic acceptability: the probability that speakers of English accept the sentence.

import { element, gauge } from "./draw.js";
import { fillTexts, truncationNotice } from "./form.js";
import { postJson } from "./request.js";

const EXAMPLE = { passage: "The letters she wrote last winter was never sent." };

export const cola = {
  fill: (form) => fillTexts(form, EXAMPLE),

  async ask(form, controller) {
    const passage = form.elements.passage.value;
    const { data, headers } = await postJson("/generate", { passage }, controller);
    return drawn(passage, data.prob, truncationNotice(headers));
  },
};

function drawn(passage, prob, notice) {
  const percent = `${(prob * 100).toFixed(1)}%`;
  const words = prob >= 0.5 ? "문법에 맞는 문장으로 보입니다." : "문법에 어긋난 문장으로 보입니다.";
  const parts = [
    element("p", { class: "number" }, percent, element("small", {}, " 받아들일 확률")),
    gauge({ label: "받아들일 확률", value: prob, min: 0, max: 1, threshold: 0.5 }),
    element("p", { class: "verdict" }, words),
    ...notice,
    element("p", { class: "pair", lang: "en" }, passage),
  ];
  return { summary: `받아들일 확률 ${percent}. ${words}`, parts };
}
