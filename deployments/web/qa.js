// Question answering: the answer, its place in the context, and on demand other answers with their probabilities.

import { alternatives } from "./alternatives.js";
import { element } from "./draw.js";
import { fillTexts } from "./form.js";
import { say } from "./language.js";
import { postJson } from "./request.js";

const EXAMPLE = {
  context:
    "한지는 닥나무 껍질로 만든 종이다. 겨울에 벤 닥나무를 쪄서 껍질을 벗기고, 잿물에 삶아 부드럽게 한 다음 " +
    "물에 풀어 발로 한 장씩 떠낸다. 결이 질기고 오래가서 책과 문서는 물론 창호지와 부채에도 널리 쓰였다. " +
    "전주에서는 지금도 장인들이 손으로 한지를 뜬다.",
  question: "한지는 무엇으로 만드나요?",
};

const NOWHERE = [0, 0];

export const qa = {
  fill: (form) => fillTexts(form, EXAMPLE),

  async ask(form, controller) {
    const { question, context } = form.elements;
    const texts = { question: question.value, context: context.value };
    const { data, headers } = await postJson("/api", texts, controller);
    const span = headers.get("X-Answer-Span");
    return () => (data.answer === "" ? nothingFound(data) : found(data, span));
  },
};

function nothingFound({ question, context }) {
  const place = passage(context, NOWHERE);
  const words = say("본문에서 답을 찾지 못했습니다.", "The text has no answer to this question.");
  const verdict = element("p", { class: "verdict" }, words);
  return { summary: words, parts: [asked(question), verdict, place, others(question, context, place)] };
}

function found({ question, context, answer }, header) {
  const shown = element("p", { class: "answer" }, answer);
  const place = passage(context, spanOf(context, answer, header));
  const parts = [asked(question), shown, place, others(question, context, place)];
  return { summary: `${say("답", "Answer")}: ${answer}`, parts };
}

/** The other answers. Choosing one marks its place in `place`, the drawn context. */
function others(question, context, place) {
  const mark = (start, end) => place.replaceChildren(...passage(context, spanInUnits(context, start, end)).childNodes);
  return alternatives({ question, context }, mark);
}

function asked(question) {
  return element("p", { class: "asked" }, question);
}

/**
 * Where the answer stands in the context, [start, end) in UTF-16 units as JavaScript slices them.
 * The server's header counts Unicode code points; without one that fits, the first occurrence counts.
 */
function spanOf(context, answer, header) {
  const told = toUnits(context, header);
  if (context.slice(...told) === answer) return told;
  const start = context.indexOf(answer);
  return start < 0 ? NOWHERE : [start, start + answer.length];
}

/** `start-end` in code points of the context as UTF-16 units. */
function toUnits(context, header) {
  const [, start, end] = /^(\d+)-(\d+)$/.exec(header ?? "") ?? [];
  return start === undefined ? NOWHERE : spanInUnits(context, Number(start), Number(end));
}

function spanInUnits(context, ...counts) {
  const points = Array.from(context);
  return counts.map((count) => points.slice(0, count).join("").length);
}

/** The context as it was sent, with the text in `span` marked. */
function passage(context, [start, end]) {
  const marked = start < end ? [element("mark", {}, context.slice(start, end))] : [];
  return element("p", { class: "passage" }, context.slice(0, start), ...marked, context.slice(end));
}
