"""A page in a browser, as tests ask things of it. The fixtures that open one are in tests/web/conftest.py."""

from __future__ import annotations

import base64
import shutil
from typing import Any

from playwright.sync_api import Page, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

expect.set_options(timeout=20_000)  # a busy machine is not a failure

SEED = "#settings=4~0.8~7~same"
"""A first visit that is the same each time."""


class Tab:
    """One page, what it complained of, and what is asked of it again and again."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, fragment: str = SEED, cards: bool = True) -> Tab:
        self.page.goto(self.address + fragment)
        if cards:
            expect(self.page.locator(".card-main").first).to_be_visible()
            self.idle()
        return self

    def do(self, script: str, *values: Any) -> Any:
        return self.page.evaluate(f"async (value) => {{ {script}\n}}", *values)

    def idle(self) -> None:
        self.until("!document.documentElement.classList.contains('busy')")

    def until(self, condition: str) -> None:
        """Wait. (Not with wait_for_function: the page's content security policy forbids eval.)"""
        self.do(
            f"""const end = performance.now() + 20000;
            while (!({condition})) {{
              if (performance.now() > end) throw new Error("it never came to: " + value);
              await new Promise((done) => setTimeout(done, 20));
            }}""",
            condition,
        )

    @property
    def clip(self) -> dict[str, Any]:
        self.idle()
        return self.do("return musicvae.stage.clip")

    @property
    def state(self) -> dict[str, Any]:
        return self.do("return musicvae.store.state")

    @property
    def link(self) -> str:
        return "#" + self.do("return (await import('/static/address.js')).write(musicvae.store.state)")

    def mode(self, name: str) -> None:
        self.page.locator(f"#tab-{name}").click()
        self.idle()

    def click(self, selector: str) -> None:
        self.page.locator(selector).click()

    def slide(self, selector: str, value: float) -> None:
        script = "(i, v) => { i.value = v; i.dispatchEvent(new Event('input')); i.dispatchEvent(new Event('change')); }"
        self.page.locator(selector).evaluate(script, value)

    def drop(self, name: str, content: bytes) -> None:
        """Let a file fall on the page, as a hand with a mouse would."""
        self.do(
            """const bytes = Uint8Array.from(atob(value.content), (c) => c.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], value.name));
            for (const type of ["dragenter", "dragover", "drop"]) {
              document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
            }""",
            {"name": name, "content": base64.b64encode(content).decode()},
        )
