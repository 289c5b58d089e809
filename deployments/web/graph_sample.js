// Sample requests that make the graph move. Their answers are not shown.

import { postJson } from "./request.js";

const SENTENCES = ["비가 올 것 같아요.", "우산을 챙기세요.", "버스가 방금 떠났어요.", "회의는 세 시에 시작합니다.", "오늘은 날이 맑다."];
const PASSAGES = ["The letters was never sent.", "She sings well.", "They has left already.", "He reads a book."];
const CONTEXT = "시립 도서관은 매일 오전 아홉 시에 문을 열고 저녁 여덟 시에 닫는다.";
const QUESTIONS = ["몇 시에 문을 여나요?", "몇 시에 닫나요?", "어디가 문을 여나요?"];
const COPIES = 3;
const GAP_MS = 60;

/** Sends some requests of each task, one after the other without waiting for answers. Failures are of no interest. */
export async function sendSamples() {
  for (const [path, body] of samples()) {
    postJson(path, body, new AbortController()).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, GAP_MS));
  }
}

function samples() {
  const pairs = SENTENCES.map((sentence_1, index) => ({ sentence_1, sentence_2: SENTENCES.at(index - 1) }));
  const all = [
    ...pairs.map((pair) => ["/pred/sentences/", pair]),
    ...PASSAGES.map((passage) => ["/generate", { passage }]),
    ...QUESTIONS.map((question) => ["/api", { question, context: CONTEXT }]),
  ];
  return Array.from({ length: COPIES }, () => all).flat();
}
