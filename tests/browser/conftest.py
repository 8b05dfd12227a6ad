"""A real Chromium on a real ``kaogen serve``, whose model was never trained but draws."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, Request, Response, sync_playwright

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START = "/?tags=pink_hair,blue_eyes&seed=42"


def chromium_path() -> str | None:
    """Where this machine has a Chromium; KAOGEN_CHROMIUM may name one."""
    names = (os.environ.get("KAOGEN_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Watch:
    """What a page should never do: log errors, ask other hosts, be sent from one URL to another."""

    def __init__(self, page: Page, origin: str) -> None:
        self.origin = origin
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.redirects: list[str] = []
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)
        page.on("response", self._response)

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "blob:", "data:")):
            self.elsewhere.append(request.url)

    def _response(self, response: Response) -> None:
        if 300 <= response.status < 400 and response.status != 304:
            self.redirects.append(response.url)


@pytest.fixture(scope="session")
def built() -> None:
    """The site, built anew where it has changed since it was last built."""
    subprocess.run([ROOT / "scripts" / "site.sh"], check=True, timeout=240)


@pytest.fixture(scope="session")
def origin(random_model: Path, built: None) -> Iterator[str]:
    """The server's address without the last slash."""
    command = [sys.executable, "-m", "kaogen.cli.main", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--model", str(random_model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"(http://\S+)/", process.stdout.readline())
            assert found, "the server did not start"
            yield found[1]
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One Chromium with a fresh profile; each test has a context of its own in it."""
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium, or set KAOGEN_CHROMIUM")
    browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
    yield browser
    browser.close()


class Visitor:
    """A person in front of the page."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.watch = Watch(page, origin)

    def visit(self, address: str = START) -> Page:
        """Open an address of the site and wait for its picture."""
        self.page.goto(self.origin + address)
        self.picture()
        return self.page

    def picture(self) -> str:
        """The pixels on show (as a data URL), once they are those of the address."""
        self.page.wait_for_function(
            """() => {
              const image = document.querySelector('figure img');
              return image?.complete && image.dataset.recipe === location.search.slice(1);
            }"""
        )
        pixels: str = self.page.evaluate(
            """() => {
              const image = document.querySelector('figure img');
              const canvas = document.createElement('canvas');
              [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
              canvas.getContext('2d').drawImage(image, 0, 0);
              return canvas.toDataURL();
            }"""
        )
        return pixels

    def changed(self, before: str) -> str:
        """The picture after a change of the address; it must differ from `before`."""
        now = self.picture()
        assert now != before, "the picture did not change"
        return now

    def pick(self, tag: str) -> None:
        """Press a trait's chip or swatch."""
        self.page.locator(f'#panel [data-tag="{tag}"]').click()

    @property
    def query(self) -> str:
        """The address after the question mark, spelt as people read it."""
        address: str = self.page.evaluate("decodeURIComponent(location.search.slice(1))")
        return address


@pytest.fixture
def visitor(browser: Browser, origin: str, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """A visitor at a desk, or as the test's parameter says; it must end without any error."""
    options = {"viewport": {"width": 1440, "height": 900}, **getattr(request, "param", {})}
    context = browser.new_context(locale="en-US", accept_downloads=True, **options)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
    context.set_default_timeout(10_000)
    visitor = Visitor(context.new_page(), origin)
    yield visitor
    context.close()
    assert visitor.watch.errors == []
    assert visitor.watch.elsewhere == []
    # The page spells every recipe as the server does, so no click pays for a redirect.
    assert visitor.watch.redirects == []
