"""Render a document (CommonMark with tables) as HTML that cannot load, link or run anything, and
that shows every word of it.
"""

from __future__ import annotations

import re
import threading
from functools import cache, lru_cache

from markdown_it import MarkdownIt
from markupsafe import Markup

_TOPMOST = 3  # the page's own headings are h1 and h2
_RENDERING = threading.Lock()  # a text that costs much is rendered once, whoever asks meanwhile
_LETTERS = re.compile(r"[^\W_]+")
_SIGNED = re.compile(r"^[ \t>]*(?:[-*+][ \t]+)*[-+][ \t]+[0-9]|[0-9][*_]+[0-9]", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t>]*(?:[-*+][ \t]+)*[0-9]{1,9}[.)](?=[ \t]|$)", re.MULTILINE)


@cache
def _reader() -> MarkdownIt:
    """Without HTML, pictures, links and entities: a document comes from an applicant, and is shown
    on a page where people sign. An entity could be a character that nobody sees.
    """
    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    return reader.disable(
        ["html_block", "html_inline", "image", "link", "autolink", "reference", "entity"]
    )


def render_markdown(text: str) -> Markup:
    """The document's body, its headings below those of the page; its title is shown elsewhere.

    Word for word where the rendering would leave one out, e.g. what is nested too deeply.
    """
    with _RENDERING:
        return _render(text)


@lru_cache(64)
def _render(text: str) -> Markup:
    body = text.partition("\n")[2]
    rendered = _as_html(body)
    # The text of the tags is compared, and never shown.
    words = Markup(rendered).striptags()  # noqa: S704
    if _letters(_NUMBERED.sub("", body)) != _letters(words) or _changes_numbers(body):
        return Markup("<pre>{}</pre>").format(body)
    # Every value in it was escaped by the library, which is told to pass no HTML on.
    return Markup(rendered)  # noqa: S704


def _changes_numbers(text: str) -> bool:
    """Whether the markup would show a number otherwise than it is written: the items of a list are
    counted from its first, a minus before a digit becomes a bullet, and stars within a number
    become emphasis.
    """
    if _SIGNED.search(text):
        return True
    expected: dict[int, int] = {}
    for token in _reader().parse(text):
        if token.type == "ordered_list_open":
            expected[token.level] = int(token.attrs.get("start", 1))
        elif token.type == "list_item_open" and token.info:
            if int(token.info) != expected[token.level - 1]:
                return True
            expected[token.level - 1] += 1
    return False


def _letters(text: str) -> str:
    """All letters and digits in order: what a reader must see, whatever the markup is."""
    return "".join(_LETTERS.findall(text))


def _as_html(body: str) -> str:
    tokens = _reader().parse(body)
    above: list[str] = []  # the headings that enclose the current place
    for token in tokens:
        if token.type == "fence" and token.info.strip():
            # What stands behind the fence is a word of the document too: it becomes the block's
            # first line.
            token.content, token.info = f"{token.info.strip()}\n{token.content}", ""
        token.attrs.pop("style", None)  # the alignment of a column, which our policy forbids
        if token.type == "heading_open":
            while above and above[-1] >= token.tag:
                above.pop()
            above.append(token.tag)
        if token.type in ("heading_open", "heading_close"):
            # Without gaps, whatever levels the author used: listeners navigate by them.
            token.tag = f"h{min(6, _TOPMOST + len(above) - 1)}"
    reader = _reader()
    return str(reader.renderer.render(tokens, reader.options, {}))
