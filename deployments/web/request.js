// Talking to the server. Every way a request can fail leaves here as one Failure, in words.

import { eventsOf } from "./event_stream.js";
import { askForKey, authorization } from "./key.js";
import { say } from "./language.js";

const TIMEOUT_MS = 60_000;
const INFO_TIMEOUT_MS = 3_000;

const HEADLINES = {
  401: ["이 서버는 API 키가 있어야 답합니다.", "This server answers only with an API key."],
  403: ["이 API 키로는 쓸 수 없는 기능입니다.", "This API key does not open this."],
  404: ["이 서버에는 그 기능이 없습니다.", "This server does not have that."],
  413: ["보낸 내용이 너무 깁니다.", "What was sent is too long."],
  422: ["입력을 확인해 주세요.", "Please check the input."],
  429: ["지금은 요청이 많습니다. 잠시 뒤에 다시 시도해 주세요.", "Too many requests now. Please try again soon."],
  503: ["서버가 아직 답할 준비가 되지 않았습니다.", "The server is not ready to answer yet."],
  504: ["서버가 정해진 시간 안에 답을 내지 못했습니다.", "The server found no answer in the time it has."],
};

/**
 * A request without an answer.
 * `headline`: what happened, in the page's words. `detail`: the server's words, or "". Both are functions, which give
 * them in the language of the page.
 * `fields`: [{pointer, detail}], the inputs at fault. `requestId`: what to quote to the operator, or "".
 * `status`: that of the server's answer, 0 without one.
 */
export class Failure extends Error {
  constructor(headline, { detail = () => "", fields = [], requestId = "", status = 0 } = {}) {
    super(headline());
    Object.assign(this, { headline, detail, fields, requestId, status });
  }
}

export function postJson(path, body, controller) {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  return send(path, { method: "POST", headers, body: JSON.stringify(body) }, controller);
}

export function getJson(path, controller, timeoutMs = TIMEOUT_MS) {
  return send(path, { headers: { Accept: "application/json" } }, controller, timeoutMs);
}

/** Sends a form with the file, and with `fields` before it. */
export function postFile(path, file, controller, fields = {}, timeoutMs = TIMEOUT_MS) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  body.append("file", file);
  return send(path, { method: "POST", headers: { Accept: "application/json" }, body }, controller, timeoutMs);
}

/** An answer that is no JSON object: {text, headers}. */
export function getText(path, controller) {
  return answered(path, {}, controller, TIMEOUT_MS, (response, text) => {
    if (!response.ok) throw refused(response, parseObject(text) ?? {});
    return { text, headers: response.headers };
  });
}

/**
 * Yields the events of a streamed answer, {event, data}, until the one that ends it. An answer that fails, before or
 * after its first event, or that stops too early, ends in a Failure.
 */
export async function* postEvents(path, body, controller) {
  const headers = { "Content-Type": "application/json" };
  const timer = setTimeout(() => controller.abort(tookTooLong(TIMEOUT_MS)), TIMEOUT_MS);
  try {
    const options = { method: "POST", headers, body: JSON.stringify(body) };
    yield* events(path, options, controller, ({ event }) => event === "done");
  } finally {
    clearTimeout(timer);
  }
}

/** Yields the events of a stream, for as long as it takes, until the one that is the `last`. Fails as `postEvents`. */
export function getEvents(path, controller, last) {
  return events(path, {}, controller, last);
}

async function* events(path, options, controller, last) {
  try {
    const headers = { ...authorization(), ...options.headers, Accept: "text/event-stream" };
    const response = await fetch(path, { ...options, headers, signal: controller.signal });
    if (!response.ok) throw refused(response, parseObject(await response.text()) ?? {});
    for await (const found of eventsOf(response.body)) {
      const { event, data } = found;
      if (event === "error") throw refused({ status: data.status, headers: response.headers }, data);
      yield found;
      if (last(found)) return;
    }
    throw unreachable();
  } catch (error) {
    if (controller.signal.aborted) throw controller.signal.reason;
    throw error instanceof Failure ? error : unreachable();
  }
}

/** What the server says of its tasks, `{}` where it does not say. Never fails. */
export async function readInfo() {
  try {
    const answer = await send("/info", {}, new AbortController(), INFO_TIMEOUT_MS);
    return answer.data.tasks ?? {};
  } catch {
    return {};
  }
}

/**
 * Sends one request: {data, text, headers}, the parsed JSON object, its text, the headers.
 * Aborting `controller` with a Failure, or with null for "no longer wanted", rejects with it.
 */
function send(path, options, controller, timeoutMs = TIMEOUT_MS) {
  return answered(path, options, controller, timeoutMs, read);
}

/** What `read` makes of the answer and its text. */
async function answered(path, options, controller, timeoutMs, read) {
  const timer = setTimeout(() => controller.abort(tookTooLong(timeoutMs)), timeoutMs);
  try {
    const headers = { ...authorization(), ...options.headers };
    const response = await fetch(path, { ...options, headers, signal: controller.signal });
    return read(response, await response.text());
  } catch (error) {
    if (controller.signal.aborted) throw controller.signal.reason;
    throw error instanceof Failure ? error : unreachable();
  } finally {
    clearTimeout(timer);
  }
}

function read(response, text) {
  const data = parseObject(text);
  if (!response.ok) throw refused(response, data ?? {});
  if (!data) throw new Failure(() => say("서버의 답을 읽을 수 없습니다.", "The answer can't be read."), { requestId: requestIdOf(response) });
  return { data, text, headers: response.headers };
}

/** The JSON object in `text`, or null where there is none. */
function parseObject(text) {
  try {
    const data = JSON.parse(text);
    return typeof data === "object" ? data : null;
  } catch {
    return null;
  }
}

/** The Failure for an error status; `problem` is its application/problem+json body, `{}` without one. */
function refused(response, problem) {
  if (response.status === 401) askForKey();
  const words = [problem.title, problem.detail, problem.error?.message].filter((part) => typeof part === "string" && part);
  return new Failure(() => headlineOf(response), {
    detail: () => [...new Set(words), retryAdvice(response)].filter(Boolean).join(" — "),
    fields: Array.isArray(problem.errors) ? problem.errors : [],
    requestId: requestIdOf(response) || String(problem.instance ?? ""),
    status: response.status,
  });
}

function headlineOf({ status }) {
  if (status in HEADLINES) return say(...HEADLINES[status]);
  return status >= 500
    ? say(`서버에 문제가 생겼습니다 (${status}).`, `The server has a problem (${status}).`)
    : say(`서버가 요청을 받아들이지 않았습니다 (${status}).`, `The server refused the request (${status}).`);
}

function retryAdvice(response) {
  const seconds = response.headers.get("Retry-After") ?? "";
  return /^\d+$/.test(seconds) ? say(`${seconds}초 뒤에 다시 보내 주세요.`, `Please send it again in ${seconds} s.`) : "";
}

function requestIdOf(response) {
  return response.headers.get("X-Request-ID") ?? "";
}

function tookTooLong(timeoutMs) {
  const seconds = timeoutMs / 1000;
  return new Failure(() => say(`${seconds}초를 기다렸지만 답이 오지 않았습니다.`, `No answer came in ${seconds} s.`), {
    detail: () =>
      say("요청을 멈췄습니다. 글을 줄이거나 잠시 뒤에 다시 시도해 주세요.", "Please shorten the text or try again later."),
  });
}

function unreachable() {
  return new Failure(() => say("서버에 닿지 못했습니다.", "The server can't be reached."), {
    detail: () => say("연결을 확인하고 다시 시도해 주세요.", "Please check the connection and try again."),
  });
}
