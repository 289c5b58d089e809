// Server-sent events from the body of an answer, as the HTML standard describes them. EventSource can't send a body.

/**
 * Yields {event, data}, the data parsed as JSON. Comments, which only keep a connection alive, are left out, and so is a
 * last event without its blank line, which is incomplete.
 */
export async function* eventsOf(body) {
  let rest = "";
  for await (const text of textOf(body)) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks.filter((block) => !block.startsWith(":"))) yield eventOf(block);
  }
}

async function* textOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

function eventOf(block) {
  const fields = block.split("\n").map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]);
  const { event = "message", data } = Object.fromEntries(fields);
  return { event, data: JSON.parse(data) };
}
