"""Build the documentation strictly, then check the pages that came out.

`python docs/site/build.py [folder]`; without a folder into `build/site`. MkDocs checks links
between pages; this looks at the finished HTML, where the pages made by plug-ins and theme are, too:
every link and anchor within the site leads somewhere, and reading a page fetches nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).resolve().parent
ROOT = SITE.parents[1]
FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")}
NOT_FETCHED = {"canonical", "next", "prev", "edit"}


@dataclass(slots=True)
class Found:
    """What one page holds.

    Attributes:
        anchors: Names that a link can point at.
        links: Targets of links and of everything that is loaded.
        fetched: Addresses outside the site that reading the page would load.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """Collects anchors and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Found()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one element names, points at or loads."""
        values = dict(attrs)
        self.found.anchors |= {name for name in (values.get("id"), values.get("name")) if name}
        for key in ("href", "src"):
            target = values.get(key)
            if not target:
                continue
            if urlsplit(target).scheme or target.startswith("//"):
                outside = (tag, key) in FETCHED and not target.startswith("data:")
                if outside and values.get("rel") not in NOT_FETCHED:
                    self.found.fetched.append(target)
            else:
                self.found.links.append(target)


def read(page: Path) -> Found:
    """Return what a page of the built site holds."""
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader.found


def problems(folder: Path) -> list[str]:
    """Return what is wrong with a built site, one sentence each.

    Args:
        folder: Where the site is.

    Returns:
        Links and anchors that lead nowhere, and what would be fetched from elsewhere.
    """
    pages = {path: read(path) for path in sorted(folder.rglob("*.html")) if path.name != "404.html"}
    wrong = []
    for page, found in pages.items():
        name = page.relative_to(folder)
        wrong += [f"{name} fetches {address}" for address in found.fetched]
        for link in found.links:
            parts = urlsplit(link)
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists():
                wrong.append(f"{name} links to {link}, which is not there")
            elif parts.fragment and target in pages:
                anchor = unquote(parts.fragment)
                if anchor not in pages[target].anchors and not anchor.startswith("__"):
                    wrong.append(f"{name} links to {link}, which has no such anchor")
    return wrong


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run MkDocs, strictly, and return how it ended with what it said."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    command += ["--config-file", str(SITE / "mkdocs.yml"), "--site-dir", str(folder.resolve())]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )


def main() -> int:
    """Build and check; return the exit code."""
    folder = (Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site").resolve()
    done = build(folder)
    wrong = problems(folder) if done.returncode == 0 else [done.stdout + done.stderr]
    sys.stderr.write("".join(f"{sentence}\n" for sentence in wrong))
    if not wrong:
        sys.stdout.write(f"{folder / 'index.html'}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
