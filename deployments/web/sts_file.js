// Sentence similarity of a file of pairs: a histogram and a table to look at, the whole result to download. A small file
// is one request. A larger one becomes a job, whose answers are shown as they come.

import { csvOf } from "./csv.js";
import { element } from "./draw.js";
import { truncationNotice } from "./form.js";
import { histogram } from "./histogram.js";
import { number, say } from "./language.js";
import { Failure, postFile } from "./request.js";
import { verdictOf } from "./sts.js";
import { follow } from "./sts_job.js";

const SHOWN_ROWS = 200;
const SMALL_BYTES = 32 * 1024; // some 300 pairs, which take seconds

const EXAMPLE_PAIRS = [
  ["버스가 방금 떠났어요.", "버스를 간발의 차로 놓쳤습니다."],
  ["이 식당은 월요일에 쉽니다.", "월요일에는 식당 문을 열지 않아요."],
  ["오늘은 눈이 많이 왔다.", "도서관은 아홉 시에 닫는다."],
];

let urls = [];

export const stsFile = {
  fill(form) {
    const transfer = new DataTransfer();
    transfer.items.add(exampleFile());
    form.elements.file.files = transfer.files;
  },

  async ask(form, controller, show) {
    const file = await copyOf(form.elements.file.files[0]);
    if (isLarge(file)) return askAsJob(file, controller, show);
    const { data, text, headers } = await postFile("/pred/file/", file, controller);
    const files = downloadsOf({ JSON: [text, "application/json"], CSV: csvFile(data) });
    return () => drawn(data, files, truncationNotice(headers));
  },
};

/** Tab-separated files are no format of the route for files. */
function isLarge(file) {
  return file.size > SMALL_BYTES || file.name.toLowerCase().endsWith(".tsv");
}

async function askAsJob(file, controller, show) {
  const picture = element("div", { class: "picture" });
  const running = (data, progress) => {
    show(() => {
      const { summary, parts } = progress();
      picture.replaceChildren(...pictureOf(data));
      return { summary, parts: [...parts, picture] };
    });
  };
  const { data, text, errors, notice } = await follow(file, controller, running);
  const contents = { JSONL: [text, "application/jsonl"], CSV: csvFile(data) };
  const files = downloadsOf(errors ? { ...contents, ERRORS: [errors, "application/jsonl"] } : contents);
  return () => drawn(data, files, notice());
}

function drawn(data, files, notice) {
  const summary = summaryOf(data);
  const caption = element("p", { class: "verdict" }, summary);
  const downloads = element("div", { class: "actions" }, ...files.map(linkTo));
  return { summary, parts: [caption, ...notice, downloads, ...pictureOf(data)] };
}

function pictureOf(data) {
  return data.scores.length ? [histogram(data.scores), ...cutNotice(data), table(data)] : [];
}

function linkTo({ kind, href }) {
  const [download, words] = kind === "ERRORS"
    ? ["munjang-errors.jsonl", say("오류 받기", "Download the errors")]
    : [`munjang-results.${kind.toLowerCase()}`, say(`결과 ${kind} 받기`, `Download as ${kind}`)];
  return element("a", { class: "button", href, download }, words);
}

/** The file's bytes as they are now: browsers refuse to send a file edited since it was chosen. */
async function copyOf(file) {
  try {
    return new File([await file.arrayBuffer()], file.name, { type: file.type });
  } catch {
    throw new Failure(() => say("파일을 읽을 수 없습니다.", "The file can't be read."), {
      detail: () =>
        say("고른 뒤에 바뀌었거나 지워진 파일입니다. 다시 골라 주세요.", "It was changed or deleted. Please choose it again."),
    });
  }
}

function exampleFile() {
  const results = EXAMPLE_PAIRS.map(([sentence1, sentence2], index) => ({ idx: index + 1, sentence1, sentence2 }));
  return new File([JSON.stringify({ results }, null, 2)], "example.json", { type: "application/json" });
}

function summaryOf({ sentences, preds }) {
  const same = preds.filter((pred) => pred === 1).length;
  const [all, some] = [number(sentences.length), number(same)];
  return say(`${all}쌍 가운데 ${some}쌍이 같은 뜻으로 보입니다.`, `${some} of ${all} pairs seem to mean the same.`);
}

function cutNotice({ sentences }) {
  if (sentences.length <= SHOWN_ROWS) return [];
  const words = say(
    `표에는 처음 ${SHOWN_ROWS}쌍만 보입니다. 나머지는 결과 파일에 있습니다.`,
    `The table shows the first ${SHOWN_ROWS} pairs. The file to download has all.`,
  );
  return [element("p", { class: "notice" }, words)];
}

function csvFile({ sentences, scores, preds }) {
  const rows = sentences.map(([first, second], index) => [first, second, scores[index], preds[index]]);
  return [csvOf([["sentence1", "sentence2", "score", "pred"], ...rows]), "text/csv"];
}

/** The answer byte for byte as the server gave it, and the same as CSV. The files of the answer before are let go. */
function downloadsOf(contents) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  const files = Object.entries(contents).map(([kind, [content, type]]) => {
    return { kind, href: URL.createObjectURL(new Blob([content], { type })) };
  });
  urls = files.map(({ href }) => href);
  return files;
}

function table({ sentences, scores, preds }) {
  const words = [say("번호", "No."), say("문장 쌍", "Pair"), say("점수", "Score"), say("판정", "Verdict")];
  const titles = words.map((title) => element("th", { scope: "col" }, title));
  const rows = sentences.slice(0, SHOWN_ROWS).map((pair, index) => row(index + 1, pair, scores[index], preds[index]));
  return element("table", {}, element("thead", {}, element("tr", {}, ...titles)), element("tbody", {}, ...rows));
}

function row(place, [first, second], score, pred) {
  return element(
    "tr",
    {},
    element("td", {}, `${place}`),
    element("td", {}, element("p", {}, first), element("p", {}, second)),
    element("td", {}, score.toFixed(3)),
    element("td", { class: pred === 1 ? "same" : "different" }, verdictOf(pred)),
  );
}
