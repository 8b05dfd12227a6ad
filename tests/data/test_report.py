"""The page of a data set: whole, small, the same each time, and safe from what names say."""

import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from kaogen.data.archives.archive import Archive, Item, write_archive
from kaogen.data.archives.archive_writer import encode_png
from kaogen.data.page.report import Rejected, Twin, write_report
from kaogen.data.page.report_html import Html, h, text
from kaogen.errors import ArchiveError, DataError
from kaogen.tags import PAPER, Vocabulary

HOSTILE = "<script>alert(1)</script>\"'\u202egpj.exe\udc80\x00"
VOID = {"meta", "img", "br", "hr", "col"}


def noise(seed: int, height: int = 24, width: int = 24, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class Told:
    """Figures of a preparation."""

    written = 40

    def reasons(self) -> list[tuple[str, int, str]]:
        return [("blurred (sharpness 0.61, below 0.7)", 7, HOSTILE), ("the file is empty.", 1, "b")]


class Page(HTMLParser):
    """A page taken apart; every element must be closed."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def titles(self) -> list[str]:
        return [str(a["id"]).removesuffix("-title") for a in self.all("h2")]


def faces(count: int, vocabulary: Vocabulary | None = PAPER, **shape: int) -> Iterator[Item]:
    rng = np.random.default_rng(0)
    for n in range(count):
        tags = None
        if vocabulary is not None:
            tags = [name for name in vocabulary.names if rng.random() < 0.2]
        box = (0.0, 0.0, 20.0 + n, 30.0 + n)
        yield Item(
            noise(n, **shape), tags, source=f"{n}{HOSTILE}.png".replace("\udc80", ""), box=box
        )


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "faces.zip"
    write_archive(
        path, faces(40, height=16, width=16), PAPER, {"source": {"name": "<b>x</b>", "kind": "zip"}}
    )
    return path


def full(path: Path, archive: Path) -> str:
    """The page with everything that a preparation can tell."""
    picture = encode_png(noise(99))
    rejected = [Rejected(HOSTILE, f"blurred ({HOSTILE})", picture), Rejected("b", "empty", None)]
    size = write_report(
        path,
        archive=archive,
        report=Told(),
        rejected=rejected,
        pairs=[(picture, picture), (b"no picture", picture)],
        twins=[Twin(HOSTILE, "b", 1, picture, picture), Twin("c", "d", 2, None, picture)],
        facts=[("Command", f"kaogen prepare {HOSTILE}"), ("Nothing", "")],
    )
    assert size == path.stat().st_size
    return path.read_text(encoding="utf-8")


def test_the_whole_page(archive: Path, tmp_path: Path) -> None:
    page = Page(full(tmp_path / "r.html", archive))
    assert page.titles == [
        "left-out",
        "margin",
        "tags",
        "sheets",
        "together",
        "sizes",
        "copies",
        "made",
    ]
    assert [a["href"] for a in page.all("a")] == [f"#{title}" for title in page.titles]
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(str(a["alt"]).strip() for a in page.all("img"))
    assert len(page.all("table")) == len(page.all("caption")) >= 5
    assert all(a.get("scope") in ("row", "col") for a in page.all("th"))
    assert len(page.all("h1")) == 1
    assert page.all("html") == [{"lang": "en"}]
    words = " ".join(page.words)
    for told in ("40 faces", "59 tags", "16.7%", "1 bit apart", "with margin", "cat ears"):
        assert told in words, told


def test_nothing_runs_and_nothing_is_fetched(archive: Path, tmp_path: Path) -> None:
    markup = full(tmp_path / "r.html", archive)
    page = Page(markup)
    known = {"html", "head", "meta", "title", "style", "body", "header", "main", "nav", "footer"}
    known |= {
        "section",
        "h1",
        "h2",
        "h3",
        "p",
        "div",
        "span",
        "small",
        "b",
        "code",
        "ul",
        "li",
        "a",
    }
    known |= {"table", "caption", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"}
    known |= {"figure", "figcaption", "img", "svg", "rect", "text"}
    assert {name for name, _ in page.elements} <= known
    assert not [a for _, a in page.elements if any(key.startswith("on") for key in a)]
    assert all(str(a["src"]).startswith("data:image/webp;base64,") for a in page.all("img"))
    assert not re.search(r"https?:|url\(|@import|javascript:", markup)
    assert "default-src 'none'" in str(page.all("meta")[2]["content"])
    assert "\u202e" not in markup
    assert "<script>alert(1)</script>" in "".join(page.words)  # as words


def test_the_same_data_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    assert full(tmp_path / "a.html", archive) == full(tmp_path / "b.html", archive)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "shape", [{"channels": 1}, {"channels": 4}, {"height": 48, "width": 32}, {"height": 200}]
)
def test_any_file_has_a_page(shape: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "plain.zip"
    write_archive(path, faces(3, None, **shape))
    write_report(tmp_path / "r.html", archive=Archive.open(path), title="<i>Mine</i>")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.titles == ["sizes", "made"]
    assert "<i>Mine</i>" in page.words
    assert "no labels" in " ".join(page.words)


def test_class_labels_and_tags_that_nobody_has(tmp_path: Path) -> None:
    path = tmp_path / "classes.zip"
    rows = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    write_archive(path, [Item(noise(n), label=rows[n % 2]) for n in range(4)])
    write_report(tmp_path / "r.html", archive=path)
    words = " ".join(Page((tmp_path / "r.html").read_text(encoding="utf-8")).words)
    assert "2 of 3 tags are used" in words
    assert "On no face: class 2." in words


def test_scores_are_shown_sorted(tmp_path: Path) -> None:
    names = [f"tag {i:02d}" for i in range(30)]
    vocabulary = Vocabulary(names)
    rng = np.random.default_rng(1)
    items = [
        Item(noise(n), ["tag 03"], scores=None if n == 0 else rng.random(30)) for n in range(12)
    ]
    path = tmp_path / "scored.zip"
    write_archive(path, items, vocabulary, score_names=names)
    write_report(tmp_path / "r.html", archive=path)
    markup = (tmp_path / "r.html").read_text(encoding="utf-8")
    part = markup.split('<section id="scores"', 1)[1].split("</section>", 1)[0]
    for rows in re.findall(r"<tbody>(.*?)</tbody>", part):
        shown = [float(value) for value in re.findall(r"<td>([0-9.]+)</td>", rows)]
        assert len(shown) == 12
        assert shown == sorted(shown, reverse=True)
    assert part.count("<tbody>") == 6


def test_a_page_of_noise_and_many_tags_stays_small(tmp_path: Path) -> None:
    names = [f"tag {i} of a long kind" for i in range(300)]
    path = tmp_path / "noise.zip"
    write_archive(path, faces(40, Vocabulary(names), height=64, width=64), Vocabulary(names))
    picture = encode_png(noise(1, 112, 112))
    size = write_report(
        tmp_path / "r.html",
        archive=path,
        report=Told(),
        rejected=[Rejected(f"{n}", f"reason {n % 9}x", picture) for n in range(300)],
        pairs=[(picture, picture)] * 40,
        twins=[Twin("a", f"{n}", 3, picture, picture) for n in range(40)],
    )
    assert size < 3_000_000


def test_what_cannot_be_done_is_told(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="does not exist"):
        write_report(tmp_path / "r.html", archive=tmp_path / "none.zip")
    with pytest.raises(DataError, match="cannot write"):
        write_report(tmp_path / "none" / "r.html", archive=archive)


def test_words_are_escaped_unless_they_are_markup() -> None:
    assert h("p", "<b>", Html("<i></i>"), ["&", None, 3]) == "<p>&lt;b&gt;<i></i>&amp;3</p>"
    assert h("td", class_="a", aria_hidden="true", hidden=True, title=None) == (
        '<td class="a" aria-hidden="true" hidden></td>'
    )
    assert h("img", alt='" onerror="x') == '<img alt="&quot; onerror=&quot;x">'
    assert text("a\u202eb\udc80c\nd") == "a�b�c d"
    assert len(text("x" * 1000)) == 300


@pytest.mark.browser
def test_the_page_fits_a_phone(archive: Path, tmp_path: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api", reason="pip install 'kaogen[dev]'")
    chromium = shutil.which(os.environ.get("KAOGEN_CHROMIUM", "chromium"))
    if chromium is None:
        pytest.skip("needs Chromium; KAOGEN_CHROMIUM may say where it is")
    full(tmp_path / "r.html", archive)
    page = (tmp_path / "r.html").as_uri()

    def widths() -> list[tuple[int, int, list[str]]]:
        with sync.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            seen = []
            for width in (320, 1280):
                tab = browser.new_page(viewport={"width": width, "height": 800})
                problems: list[str] = []
                tab.on("console", lambda message, told=problems: told.append(message.text))
                tab.goto(page)
                wide = tab.evaluate("document.documentElement.scrollWidth")
                seen.append((width, wide, problems))
            browser.close()
            return seen

    # In a thread: the website's tests keep a driver of their own in this one.
    with ThreadPoolExecutor(1) as pool:
        for width, wide, problems in pool.submit(widths).result():
            assert wide <= width
            assert not problems
