"""The page as a user sees it, at any address. Only this module of the tests knows the structure of the page."""

from typing import cast
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Download, Locator, Page, Request


class Task:
    """One form and its result. Sending does not wait for the answer: use `expect` on a locator afterwards."""

    def __init__(self, page: Page, name: str) -> None:
        self.box = page.locator(f"#task-{name}")
        self.submit = self.box.locator("[type=submit]")
        self.example = self.box.locator(".example")
        self.error = self.box.get_by_role("alert")
        self.error_items = self.error.get_by_role("listitem")
        self.result = self.box.locator(".result")
        self.answer = self.box.locator(".answer")
        self.passage = self.box.locator(".passage")
        self.marked = self.box.locator(".passage mark")
        self.verdict = self.box.locator(".verdict")
        self.number = self.box.locator(".number")
        self.meter = self.box.get_by_role("meter")
        self.rows = self.box.locator("tbody tr")
        self.notice = self.box.locator(".notice")
        self.download_link = self.box.get_by_role("link", name="JSON")
        self.csv_link = self.box.get_by_role("link", name="CSV")
        self.bars = self.box.locator(".bars span")
        self.progress = self.box.get_by_role("progressbar")
        self.stop = self.box.locator(".result button")
        self.errors_link = self.box.get_by_role("link", name="오류")
        self.status = self.box.get_by_role("status")
        self.alternatives = self.box.locator(".alternatives")
        self.sentences = self.box.locator(".sentence")

    def field(self, name: str) -> Locator:
        return self.box.locator(f"[name={name}]")

    def send(self, **texts: str) -> None:
        for name, text in texts.items():
            self.field(name).fill(text)
        self.submit.click()

    def text_before_mark(self) -> str:
        return cast(str, self.marked.evaluate("(mark) => mark.previousSibling?.textContent ?? ''"))


class Chat:
    """The tab of the chat."""

    def __init__(self, page: Page) -> None:
        self.box = page.locator("#task-chat")
        self.submit = self.box.locator("[type=submit]")
        self.provider_key = self.box.locator("[name=api_key]")
        self.turns = self.box.locator(".turn")
        self.reply = self.turns.last.locator(".reply")
        self.citations = self.turns.last.locator(".citation")
        self.marked = self.citations.locator("mark")
        self.error = self.turns.last.get_by_role("alert")

    def ask(self, prompt: str, store: str = "vector_store/") -> None:
        self.box.locator("[name=prompt]").fill(prompt)
        self.box.locator("[name=db_path]").fill(store)
        self.submit.click()


class Graph:
    """The tab of the live graph."""

    def __init__(self, page: Page) -> None:
        self.panel = page.locator("#panel-graph")
        self.boxes = self.panel.locator(".node")
        self.totals = self.panel.locator("#graph-totals")
        self.sample = self.panel.locator("#graph-sample")
        self.error = self.panel.get_by_role("alert")
        self.lines = self.panel.locator(".line")
        self.pulses = self.panel.locator(".pulse")

    def box(self, deployment: str) -> Locator:
        return self.panel.locator(f"[data-name={deployment}]")


class WebPage:
    """The whole page. `complaints` has what must never happen: script errors, dialogs, requests to other servers."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.qa = Task(page, "qa")
        self.sts = Task(page, "sts")
        self.sts_file = Task(page, "sts-file")
        self.sts_many = Task(page, "sts-many")
        self.cola = Task(page, "cola")
        self.key_form = page.locator("#key-form")
        self.chat = Chat(page)
        self.language = page.locator("#language")
        self.graph = Graph(page)
        self.complaints: list[str] = []
        self._origin = ""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        page.on("request", self._on_request)

    def open(self, url: str, tab: str = "") -> None:
        """Open the page at `url`; `tab` is the deep link: qa, sts or cola."""
        self._origin = urlsplit(url).netloc
        self.page.goto(f"{url}#{tab}" if tab else url)

    def tab(self, name: str) -> Locator:
        return self.page.locator(f"#tab-{name}")

    def panel(self, name: str) -> Locator:
        return self.page.locator(f"#panel-{name}")

    def ask(self, question: str, context: str) -> None:
        self.tab("qa").click()
        self.qa.send(question=question, context=context)

    def compare(self, first: str, second: str) -> None:
        self.tab("sts").click()
        self.sts.send(sentence_1=first, sentence_2=second)

    def compare_file(self, content: bytes, name: str = "pairs.json") -> None:
        self.tab("sts").click()
        upload = {"name": name, "mimeType": "application/json", "buffer": content}
        self.sts_file.field("file").set_input_files(upload)  # type: ignore[arg-type]
        self.sts_file.submit.click()

    def judge(self, passage: str) -> None:
        self.tab("cola").click()
        self.cola.send(passage=passage)

    def use_key(self, key: str) -> None:
        """Enter an API key. The form must be visible."""
        self.key_form.locator("[name=key]").fill(key)
        self.key_form.locator("[type=submit]").click()

    def compare_many(self, *sentences: str) -> None:
        self.tab("sts").click()
        self.sts_many.send(sentences="\n".join(sentences))

    def download(self, link: Locator | None = None) -> Download:
        with self.page.expect_download() as waiting:
            (link or self.sts_file.download_link).click()
        return waiting.value

    def sideways_overflow(self) -> int:
        """Pixels by which the page is wider than the window; at most 0 if it does not scroll sideways."""
        return cast(int, self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def _on_console(self, message: ConsoleMessage) -> None:
        # Chromium reports every 4xx and 5xx answer in this way. Such an answer is no error of the page.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme != "blob" and address.netloc != self._origin:
            self.complaints.append(f"request to {request.url}")
