// The box of one deployment: its name, its replicas as columns, and its figures.

import { element } from "./draw.js";
import { number, say } from "./language.js";

const SHOWN_REPLICAS = 12;
const SHOWN_WAITING = 30;
const HISTORY = 60; // points of the curve, one for each answer

const ROLES = {
  Ingress: ["HTTP 입구", "HTTP requests"],
  StsTokenizer: ["유사도 · 토크나이저", "Similarity · tokenizer"],
  StsEncoder: ["유사도 · 모델", "Similarity · model"],
  ColaTokenizer: ["문법성 · 토크나이저", "Grammar · tokenizer"],
  ColaClassifier: ["문법성 · 모델", "Grammar · model"],
  QaTokenizer: ["질의응답 · 토크나이저", "Questions · tokenizer"],
  QaExtractor: ["질의응답 · 모델", "Questions · model"],
  PersonaChat: ["대화", "Chat"],
};

export class GraphBox {
  constructor(name) {
    this.name = name;
    this.history = [];
    this.node = element("article", { class: "node", "data-name": name });
  }

  /** Draws a deployment as /v1/graph describes it; `rate` is {requests, items} per second. */
  draw(deployment, rate) {
    this.history = [...this.history, rate.items].slice(-HISTORY);
    this.node.dataset.state = deployment.state;
    this.node.replaceChildren(
      element("h3", {}, this.name),
      element("p", { class: "role" }, say(...(ROLES[this.name] ?? ["배포", "Deployment"]))),
      replicasOf(deployment),
      figuresOf(deployment, rate),
      curve(this.history),
    );
  }
}

function replicasOf({ state, running, starting, replicas }) {
  const words = wordsOf(state, running, starting);
  const columns = replicas.slice(0, SHOWN_REPLICAS).map(column);
  const silent = Math.min(Math.max(running - replicas.length, 0), SHOWN_REPLICAS - columns.length);
  const empty = (kind, count) => Array.from({ length: count }, () => element("span", { class: `replica ${kind}` }));
  const row = element("div", { class: "replicas" }, ...columns, ...empty("silent", silent));
  row.append(...empty("starting", Math.min(starting, SHOWN_REPLICAS)));
  return element("div", { class: "replica-row" }, row, element("p", { class: "count" }, words));
}

function wordsOf(state, running, starting) {
  if (state === "asleep" && !starting) return say("잠듦", "asleep");
  if (state === "missing") return say("아직 없음", "not ready");
  const more = starting ? ` (+${starting})` : "";
  return say(`복제본 ${running}`, running === 1 ? "1 replica" : `${running} replicas`) + more;
}

/** A replica: a column, filled from below by the share of time in which it is busy. */
function column({ id, busy }) {
  const percent = Math.round(busy * 100);
  const label = say(`복제본 ${id}: ${percent}% 바쁨`, `Replica ${id}: ${percent}% busy`);
  const made = element("span", { class: "replica", role: "img", "aria-label": label, title: label });
  made.style.setProperty("--busy", busy);
  return made;
}

function figuresOf({ replicas }, rate) {
  const waiting = replicas.reduce((sum, replica) => sum + replica.waiting, 0);
  const busy = replicas.length ? replicas.reduce((sum, replica) => sum + replica.busy, 0) / replicas.length : 0;
  const figures = [
    [say("바쁨", "busy"), `${Math.round(busy * 100)}%`],
    [say("초당", "per s"), number(rate.items, rate.items < 10 ? 1 : 0)],
    [say("묶음", "batch"), meanBatch(replicas)],
    [say("대기", "waiting"), number(waiting)],
  ];
  const list = element("dl", {}, ...figures.map(([term, value]) => figure(term, value)));
  const queue = element("div", { class: "queue", "aria-hidden": "true" });
  queue.style.setProperty("--waiting", Math.min(waiting, SHOWN_WAITING));
  return element("div", { class: "figures" }, list, queue);
}

function figure(term, value) {
  return element("div", {}, element("dt", {}, term), element("dd", {}, value));
}

/** Items per batch, over the replicas that had a batch in the last seconds. */
function meanBatch(replicas) {
  const means = replicas.map(({ mean_batch }) => mean_batch).filter((mean) => mean !== null);
  return means.length ? number(means.reduce((sum, mean) => sum + mean, 0) / means.length, 1) : "–";
}

/** The items per second of the last minutes, as an area. */
function curve(history) {
  const top = Math.max(...history, 1);
  const points = history.map((value, index) => `${HISTORY - history.length + index},${1 - value / top}`);
  const svg = svgElement("svg", { class: "curve", viewBox: `0 0 ${HISTORY - 1} 1`, preserveAspectRatio: "none" });
  svg.setAttribute("aria-hidden", "true");
  const first = HISTORY - history.length;
  svg.append(svgElement("polygon", { points: `${first},1 ${points.join(" ")} ${HISTORY - 1},1` }));
  return svg;
}

export function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
