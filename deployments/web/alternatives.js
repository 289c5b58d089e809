// The most probable answers to a question, asked for when somebody wants to see them.

import { element } from "./draw.js";
import { failureParts } from "./form.js";
import { number, say } from "./language.js";
import { Failure, postJson } from "./request.js";

const SHOWN = 5;

/** A closed list of answers. `mark` is called with the place of the one that is chosen, in code points. */
export function alternatives({ question, context }, mark) {
  const title = say("다른 답과 확률", "Other answers, with probabilities");
  const made = element("details", { class: "alternatives" }, element("summary", {}, title));
  const load = async () => made.append(...(await loaded({ questions: [question], context, top_k: SHOWN }, mark)));
  made.addEventListener("toggle", load, { once: true });
  return made;
}

async function loaded(body, mark) {
  try {
    const { data } = await postJson("/v1/answers", body, new AbortController());
    return [list(data.results[0], mark)];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [element("div", { class: "error", role: "alert" }, ...failureParts(error, ({ detail }) => element("li", {}, detail)))];
  }
}

function list({ answers, null_probability }, mark) {
  const lines = answers.map(({ answer, start, end, probability }) => {
    const choose = element("button", { type: "button" }, answer);
    choose.addEventListener("click", () => mark(start, end));
    return line(choose, probability);
  });
  const none = element("span", {}, say("본문에 답이 없음", "no answer in the text"));
  return element("ol", {}, ...lines, line(none, null_probability));
}

function line(what, probability) {
  const percent = element("span", { class: "percent" }, `${number(probability * 100, 1)}%`);
  const made = element("li", {}, what, percent);
  made.style.setProperty("--share", probability);
  return made;
}
