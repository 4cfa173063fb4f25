"""Record the demo's terminal output as a self-contained SVG.

Two recordings have the same shape if they differ only in measured values (numbers, withheld cells,
the device) and in the path of the demo's folder.
"""

from __future__ import annotations

import html
import re
from io import StringIO

WIDTH = 120
STYLES = (
    (r"^ THE [A-Z ]+$", "bold cyan"),
    (r"^volens demo|\bDONE\b", "bold green"),
    (r"\b(REFUSED|BLOCKED)\b", "bold yellow"),
    (r"\bNOT PROVEN\b", "bold red"),
)
_ELSE = re.compile(
    r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", re.DOTALL
)  # fonts of another host, a remark
_ELSEWHERE = re.compile(r"^ ?(Look|Try|Check it): .*")


def picture(text: str) -> str:
    """The printed text as an SVG in the reader's own monospace font."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.text import Text

    console = Console(
        record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in text.splitlines():
        shown = Text(line, no_wrap=True, overflow="crop")
        for pattern, style in STYLES:
            shown.highlight_regex(pattern, style)
        console.print(shown)
    return console.export_svg(
        title="make demo", unique_id="demo", code_format=_ELSE.sub("", CONSOLE_SVG_FORMAT)
    )


def shape(recording: str) -> list[str]:
    """The recording's lines (from an SVG or as printed) without measured values."""
    return [
        _general(line)
        for line in (_lines(recording) if "<svg" in recording else recording.splitlines())
    ]


def _lines(svg: str) -> list[str]:
    """The lines of text of a picture: each piece of text belongs to the line whose clip path it
    names.
    """
    lines: dict[int, list[tuple[float, str]]] = {}
    for attributes, text in re.findall(r"<text ([^>]*clip-path[^>]*)>([^<]*)</text>", svg):
        line, at = re.search(r"line-(\d+)", attributes), re.search(r'\bx="([\d.]+)"', attributes)
        if line is not None and at is not None:
            lines.setdefault(int(line[1]), []).append(
                (float(at[1]), html.unescape(text).replace("\xa0", " "))
            )
    last = max(lines, default=-1)
    return [
        "".join(text for _, text in sorted(lines.get(line, []))).rstrip()
        for line in range(last + 1)
    ]


def _general(line: str) -> str:
    line = _ELSEWHERE.sub(r"\1", line)
    line = re.sub(r"(?<=fold x 0, on ).*?(?=  )", "DEVICE", re.sub(r"[+-]?\d+(\.\d+)?", "0", line))
    line = re.sub(r"\bblocks\b", "block", re.sub(r"\b(no gain shown|a gain)\b", "GAIN", line))
    return " ".join("0" if word == "-" else word for word in line.split())
