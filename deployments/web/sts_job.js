// A file of pairs that is scored in the background: upload it, follow its job, and collect the answers as they come.

import { element } from "./draw.js";
import { number, say } from "./language.js";
import { Failure, getEvents, getText, postFile, postJson } from "./request.js";

const UPLOAD_TIMEOUT_MS = 600_000;
const RETRY_MS = 1_000;
const MOST_TRIES = 120; // a restart of the server takes less than these two minutes
const ENDED = ["completed", "failed", "expired", "cancelled"];

/**
 * Scores the file. `show(data, progress)` is called after each change: the answers so far, and a function that draws how
 * far the job is. Resolves to {data, text, errors, notice} once it has ended: `data` are {sentences, scores, preds},
 * `text` and `errors` the lines of the server's files, `notice` draws what has become of the job if it was not completed.
 * Aborting the controller cancels the job.
 */
export async function follow(file, controller, show) {
  const uploaded = await postFile("/v1/files", file, controller, { purpose: "batch" }, UPLOAD_TIMEOUT_MS);
  const order = { input_file_id: uploaded.data.id, endpoint: "/pred/file/", completion_window: "24h" };
  const { id } = (await postJson("/v1/batches", order, controller)).data;
  const cancel = () => postJson(`/v1/batches/${id}/cancel`, {}, new AbortController()).catch(() => {});
  controller.signal.addEventListener("abort", cancel);
  const job = await watch(id, controller, show, cancel);
  controller.signal.removeEventListener("abort", cancel);
  if (job.status === "failed") throw failed(job);
  const [text, errors] = await Promise.all([
    contentOf(job.output_file_id, controller),
    contentOf(job.error_file_id, controller),
  ]);
  return { data: new Answers().add(text), text, errors, notice: () => noticeOf(job) };
}

/** Calls `show` after each change of the job, with the answers so far, until the job has ended. */
async function watch(id, controller, show, cancel) {
  const progress = new Progress(cancel);
  const answers = new Answers();
  let part = "0";
  for await (const job of statesOf(id, controller)) {
    if (ENDED.includes(job.status)) return job;
    const more = await answersFrom(id, part, controller);
    answers.add(more.text);
    part = more.headers?.get("X-Next-Part") ?? part;
    show(answers, () => progress.draw(job));
  }
  return null; // never: the states end with the job, or in a Failure
}

/** Yields the job after each change. If the server goes away, it is asked again: jobs survive its restart. */
async function* statesOf(id, controller) {
  const isLast = ({ data }) => ENDED.includes(data.status);
  for (let tries = 0; ; tries += 1) {
    try {
      for await (const { data } of getEvents(`/v1/batches/${id}/events`, controller, isLast)) {
        tries = 0;
        yield data;
      }
      return;
    } catch (error) {
      if (controller.signal.aborted || !isGone(error) || tries >= MOST_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Whether the server gave no answer of its own, as during a restart. */
function isGone(error) {
  return error instanceof Failure && (error.status === 0 || error.status >= 500);
}

/** The answers from a part on; none if the job has ended in the meantime, or the server is gone. */
async function answersFrom(id, part, controller) {
  try {
    return await getText(`/v1/batches/${id}/output?first_part=${part}`, controller);
  } catch (error) {
    if (controller.signal.aborted || !(isGone(error) || error.status === 409)) throw error;
    return { text: "" };
  }
}

async function contentOf(fileId, controller) {
  return fileId ? (await getText(`/v1/files/${fileId}/content`, controller)).text : "";
}

/** Rows of answers in the form of the answer of the route for files. */
class Answers {
  constructor() {
    Object.assign(this, { sentences: [], scores: [], preds: [] });
  }

  /** Adds whole lines of JSON. */
  add(text) {
    for (const line of text.split("\n").filter(Boolean)) {
      const { sentence1, sentence2, score, pred } = JSON.parse(line);
      this.sentences.push([sentence1, sentence2]);
      this.scores.push(score);
      this.preds.push(pred);
    }
    return this;
  }
}

/** A bar and a button to stop, which stay the same elements, so that the button keeps the focus. */
class Progress {
  constructor(cancel) {
    this.words = element("p", { class: "legend" });
    this.bar = element("progress", { max: 1 });
    this.stop = element("button", { type: "button" });
    this.stop.addEventListener("click", cancel);
    const shown = element("div", { class: "progress" }, this.words, this.bar);
    this.parts = [shown, element("div", { class: "actions" }, this.stop)];
  }

  draw({ request_counts: { total, completed, failed } }) {
    const done = completed + failed;
    if (total) this.bar.value = done / total;
    this.bar.setAttribute("aria-label", say("진행", "Progress"));
    this.words.textContent = total
      ? say(`${number(total)}쌍 가운데 ${number(done)}쌍을 마쳤습니다.`, `${number(done)} of ${number(total)} pairs are done.`)
      : say("파일을 살펴보는 중입니다.", "The file is being checked.");
    this.stop.textContent = say("그만두기", "Stop");
    return { summary: total ? spoken(done / total) : this.words.textContent, parts: this.parts };
  }
}

/** What screen readers say: only each tenth, as every change of the text is read aloud. */
function spoken(share) {
  const tenths = Math.floor(share * 10) * 10;
  return say(`${tenths}%를 마쳤습니다.`, `${tenths}% is done.`);
}

function noticeOf({ status, request_counts: { failed } }) {
  const words = {
    completed: failed ? say(`${number(failed)}쌍은 셈하지 못했습니다.`, `${number(failed)} pairs could not be scored.`) : "",
    cancelled: say("그만둔 때까지의 결과입니다.", "These are the results until it was stopped."),
    expired: say("시간이 다 되어 멈췄습니다.", "The time was up before the end."),
  }[status];
  return words ? [element("p", { class: "notice" }, words)] : [];
}

function failed({ errors }) {
  const fields = (errors?.data ?? []).slice(0, 10).map(({ line, message }) => ({ detail: line ? `${line}: ${message}` : message }));
  return new Failure(() => say("파일을 셈할 수 없습니다.", "The file can't be scored."), { fields });
}
