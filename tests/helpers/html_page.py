"""An HTML page as tests read it, and what goes into one."""

import re
from collections.abc import Collection
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
from PIL import Image

EVIL = "\"' onload=alert(1) ><script>alert(1)</script>"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; a tag that is not closed, or closed out of turn, fails."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.pieces: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        elif data.strip():
            self.pieces.append(" ".join(data.replace("\u200b", "").split()))

    @property
    def text(self) -> str:
        return " ".join(self.pieces)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def policy(self) -> str:
        """What the page may load and run."""
        (policy,) = (meta["content"] for meta in self.all("meta") if "http-equiv" in meta)
        return policy

    @property
    def charts(self) -> list[str]:
        return [image["alt"] for image in self.all("img") if image.get("class") == "chart"]

    @property
    def pictures(self) -> list[str]:
        return [image["alt"] for image in self.all("img") if image.get("class") != "chart"]


def linked_files(page: Path) -> list[Path]:
    """The files that the links of a page lead to, as a browser that opened the file would find them."""
    addresses = [link["href"] for link in Page(page.read_text()).all("a") if not link["href"].startswith("#")]
    return [Path(unquote(urlsplit(urljoin(page.as_uri(), address)).path)) for address in addresses]


def texts_of(html: str, tag: str) -> list[str]:
    """What each such element of a page says."""
    inside = re.findall(rf"<{tag}\b.*?</{tag}>", html, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", each).replace("\u202f", " ").split()) for each in inside]


def assert_runs_and_fetches_nothing(page: Page, sources: str = "data:image/") -> None:
    """No tag, attribute or style of the page runs anything or fetches anything but pictures whose address begins so."""
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "base", "image"}
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on")}
        assert attributes.keys().isdisjoint({"srcset", "action", "background", "xlink:href", "alert(1)"})
        assert attributes.get("src", sources).startswith(sources)
        address = attributes.get("href", "#")
        assert re.match(r"#|(?!/)[\w%./-]+$", address) or (tag, address) == ("link", "data:,"), "links are relative"
        assert not any("url(" in value for value in attributes.values())
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert page.policy.startswith("default-src 'none'; img-src ")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links, sections = ({each[key] for each in page.all(tag)} for tag, key in (("a", "href"), ("section", "id")))
    links = {each for each in links if each[0] == "#"}
    assert links <= {f"#{each}" for each in ids}
    assert not sections or links == {f"#{each}" for each in sections}


def with_evil(value: Any, kept: Collection[str]) -> Any:
    """A record with EVIL in place of every text, except below these keys, whose texts a page looks up."""
    if isinstance(value, dict):
        return {key: item if key in kept else with_evil(item, kept) for key, item in value.items()}
    if isinstance(value, list):
        return [with_evil(item, kept) for item in value]
    return EVIL if isinstance(value, str) else value


def draw(root: Path, path: str, seed: int = 0, size: tuple[int, int] = (48, 20)) -> None:
    """Write a PNG file of noise, (height, width)."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / path, "PNG")
