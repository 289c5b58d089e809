// Linguistic acceptability: the probability that speakers of English accept a sentence, or each one of a paragraph.

import { element, gauge } from "./draw.js";
import { fillTexts, truncationNotice } from "./form.js";
import { say } from "./language.js";
import { drawnParagraph, sentencesOf } from "./paragraph.js";
import { postJson } from "./request.js";

const EXAMPLE = {
  passage:
    "We moved here in spring. The letters she wrote last winter was never sent. " +
    "Nobody has read them yet, and perhaps nobody ever will. In the drawer them she keeps.",
};

export const cola = {
  fill: (form) => fillTexts(form, EXAMPLE),

  async ask(form, controller) {
    const passage = form.elements.passage.value;
    const sentences = sentencesOf(passage);
    if (sentences.length > 1) {
      const { data } = await postJson("/v1/acceptability", { passages: sentences }, controller);
      return () => drawnParagraph(sentences, data.results);
    }
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
