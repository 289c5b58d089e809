"""A language-model provider that answers at once or never: OpenAI's chat-completions protocol on loopback.

    python -m benchmarks.provider PORT

A conversation that ends in `HANG` gets no answer: the provider waits until the client closes the connection.
"""

import json
import sys
from typing import Any

import uvicorn

HANG = "(no answer, please)"
ANSWER = "제 생일은 11월 7일이에요. 첫눈이 내린 날이었대요."


async def app(_scope: Any, receive: Any, send: Any) -> None:
    content = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body"):
            break
    body = json.loads(content) if content else {"messages": []}
    if body["messages"] and body["messages"][-1]["content"].endswith(HANG):
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    answer = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    completion = {"id": "c", "object": "chat.completion", "created": 0, "model": "instant", "choices": [answer]}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(completion, ensure_ascii=False).encode()})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off", access_log=False)
