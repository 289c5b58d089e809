// Sentence similarity of many sentences: a heat map of all pairs.

import { element } from "./draw.js";
import { fillTexts, truncationNotice } from "./form.js";
import { number, say } from "./language.js";
import { Failure, postJson } from "./request.js";
import { scaleOf } from "./sts.js";

const MOST = 40; // 780 pairs, in one request

const EXAMPLE = {
  sentences: [
    "주말에 한강에서 자전거를 탔어요.",
    "토요일에 강변을 자전거로 달렸습니다.",
    "이 식당은 월요일에 쉽니다.",
    "월요일에는 식당 문을 열지 않아요.",
    "내일 비가 온다고 합니다.",
    "우산을 챙기는 게 좋겠어요.",
  ].join("\n"),
};

/** `info` gives a promise of the server's tasks, which names the kind of model. */
export function stsMany(info) {
  return {
    fill: (form) => fillTexts(form, EXAMPLE),

    async ask(form, controller) {
      const sentences = sentencesOf(form.elements.sentences.value);
      const pairs = sentences.flatMap((first, row) => sentences.slice(0, row).map((second) => [first, second]));
      const { data, headers } = await postJson("/v1/similarity", { pairs }, controller);
      const { kind } = (await info()).sts ?? {};
      return () => drawn(sentences, data.results, kind, headers);
    },
  };
}

function sentencesOf(text) {
  const sentences = text.split("\n").map((line) => line.trim()).filter(Boolean);
  if (sentences.length >= 2 && sentences.length <= MOST) return sentences;
  const headline = () => say(`문장을 둘에서 ${MOST}까지 적어 주세요.`, `Please enter 2 to ${MOST} sentences, one on each line.`);
  throw new Failure(headline);
}

function drawn(sentences, results, kind, headers) {
  const good = results.filter(({ error }) => !error);
  const { max } = scaleOf(kind, Math.max(...good.map(({ score }) => score), 0));
  const same = good.filter(({ similar }) => similar).length;
  const [some, all] = [number(same), number(results.length)];
  const summary = say(`${all}쌍 가운데 ${some}쌍이 같은 뜻으로 보입니다.`, `${some} of ${all} pairs seem to mean the same.`);
  const map = element("div", { class: "scrolling", tabindex: "0", role: "region", "aria-label": summary });
  map.append(heatMap(sentences, results, max));
  return { summary, parts: [element("p", { class: "verdict" }, summary), map, ...truncationNotice(headers)] };
}

/** The lower triangle: each sentence with those above it. */
function heatMap(sentences, results, max) {
  const next = results[Symbol.iterator]();
  const rows = sentences.map((sentence, row) => {
    const cells = sentences.slice(0, row).map((other) => cell(next.next().value, max, `${sentence} / ${other}`));
    return element("tr", {}, element("th", { scope: "row" }, `${row + 1}. ${sentence}`), ...cells);
  });
  const numbers = sentences.slice(0, -1).map((_, row) => element("th", { scope: "col" }, `${row + 1}`));
  const head = element("tr", {}, element("td", {}), ...numbers);
  return element("table", { class: "heat" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

function cell({ error, score, similar }, max, title) {
  if (error) return element("td", { title: error.detail }, "–");
  const made = element("td", similar ? { title, class: "similar" } : { title }, score.toFixed(2));
  made.style.setProperty("--share", Math.min(Math.max(score / max, 0), 1));
  return made;
}
