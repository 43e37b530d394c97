"""What MkDocs does beyond its plug-ins: pages that lie elsewhere or are made, links, formulas.

Every page reads well in a repository browser, too. So links point at files of the repository, and
this module turns those that leave `docs/` into links within the site.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
# Files outside `docs/` that are pages as they stand, and folders that one page describes.
PAGES = {
    "coupler/FORMAT.md": "format.md",
    "benchmarks/README.md": "how-we-measure.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
}
PLACES = PAGES | {
    "README.md": "index.md",
    "benchmarks": "how-we-measure.md",
    "benchmarks/results": "how-we-measure.md",
    "examples": "examples.md",
}
API = {
    "cudaq_target": "cudaq_target/__init__.py",
    "coupler": "coupler/__init__.py",
    "kernels": "kernels/__init__.py",
}
PACKAGES = {"cudaq_target.coupler", "cudaq_target.kernels"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]*)(#[^)\s]*)?\)")
CODE = re.compile(r"^```.*?^```$|^    .*?$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside `docs/`, and those that are made from the code."""
    for source, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "examples.md", content=examples_page()))
    files.append(File.generated(config, "commands.md", content=commands_page()))
    for name, source in API.items():
        content = api_page(name, ROOT / source)
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    files.append(File.generated(config, "reference/other.md", content=other_names_page()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links to files of the repository into links to the pages that show them."""
    uri = page.file.src_uri
    origin = next((source for source, place in PAGES.items() if place == uri), f"docs/{uri}")

    def rewrite(link: re.Match[str]) -> str:
        start, target, anchor = link.group(1), link.group(2), link.group(3) or ""
        if not target or "://" in target or target.startswith("mailto:"):
            return link.group(0)
        path = normpath(str(PurePosixPath(origin).parent / target))
        place, found = place_of(path)
        return f"{start}{relpath(place, str(PurePosixPath(uri).parent))}{found or anchor})"

    return outside_code(markdown, lambda text: LINK.sub(rewrite, text))


def place_of(path: str) -> tuple[str, str]:
    """Return the page that shows a file of the repository, and the anchor on it.

    A file that no page shows is returned as it is, so that MkDocs reports the link.
    """
    if path in PLACES:
        return PLACES[path], ""
    if path.startswith("examples/"):
        return "examples.md", "#" + anchor_of(PurePosixPath(path).name)
    if path.startswith("benchmarks/results/"):
        return "how-we-measure.md", "#" + PurePosixPath(path).stem
    return path.removeprefix("docs/"), ""


def on_page_content(html: str, **_: object) -> str:
    """Turn formulas into MathML, which browsers draw without a script."""
    if "arithmatex" not in html:
        return html
    from latex2mathml.converter import convert  # noqa: PLC0415

    def drawn(formula: re.Match[str]) -> str:
        display = "block" if formula.group(1) == "div" else "inline"
        return convert(unescape(formula.group(2)), display=display)

    return FORMULA.sub(drawn, html)


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Apply `change` to the text between pieces of code."""
    parts, end = [], 0
    for code in CODE.finditer(markdown):
        parts += [change(markdown[end : code.start()]), code.group(0)]
        end = code.end()
    return "".join([*parts, change(markdown[end:])])


def examples_page() -> str:
    """Return a page with every program, script and notebook of `examples/`."""
    sections = ["# Examples\n\nPrograms of the folder `examples/`; tests run them."]
    for path in sorted((ROOT / "examples").glob("*.py")):
        text = path.read_text()
        said = ast.get_docstring(ast.parse(text)) or ""
        body = text.partition('"""')[2].partition('"""')[2].strip()
        sections.append(f"{heading(path)}\n\n{said}\n\n```py\n{body}\n```")
    sections += [
        f"{heading(path)}\n\n```sh\n{path.read_text().strip()}\n```"
        for path in sorted((ROOT / "examples").glob("*.sh"))
    ]
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        sections.append("\n\n".join([heading(path), *map(cell_text, cells)]))
    return "\n\n".join(sections)


def heading(path: Path) -> str:
    """Return the heading of one example, with the anchor that `place_of` points at."""
    return f"## {path.name} {{ #{anchor_of(path.name)} }}"


def anchor_of(name: str) -> str:
    """Return the anchor of one example; a program and its job script have different ones."""
    return re.sub(r"[_.]", "-", name)


def cell_text(cell: dict[str, str | list[str]]) -> str:
    """Return one cell of a notebook as Markdown; its headings go below that of the notebook."""
    text = "".join(cell["source"])
    if cell["cell_type"] == "code":
        return f"```py\n{text}\n```"
    return re.sub(r"^#", "###", text, flags=re.MULTILINE)


def commands_page() -> str:
    """Return the help of every command, as Typer writes it in Markdown."""
    command = ["-m", "typer", "cudaq_target.commands", "utils", "docs", "--name", "cudaq-target"]
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return "# Commands\n\n" + done.stdout.partition("\n")[2].lstrip()


def api_page(name: str, source: Path) -> str:
    """Return a page of all public names of one package, each where it is defined."""
    package = "cudaq_target" if name == "cudaq_target" else f"cudaq_target.{name}"
    entries = [f"::: {path}" for path in sorted(public_paths(package, source), key=last_name)]
    return f"# {package}\n\n" + "\n\n".join(entries) + "\n"


def last_name(path: str) -> str:
    """Return the name by which an entry is sorted."""
    return path.rpartition(".")[2].lower()


def public_paths(package: str, source: Path) -> Iterator[str]:
    """Yield the dotted place of definition of each name in `__all__`."""
    tree = ast.parse(source.read_text())
    values = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in {"__all__", "_MODULES"}
    }
    for name in values["__all__"]:
        module, _, other_name = values["_MODULES"][name].partition(":")
        yield f"{package}.{module}.{other_name or name}"


def other_names_page() -> str:
    """Return a page of the names that code on the pages imports from modules below the packages."""
    known = set()
    for name, source in API.items():
        package = "cudaq_target" if name == "cudaq_target" else f"cudaq_target.{name}"
        known |= set(public_paths(package, ROOT / source))
    used = {
        f"{node.module}.{alias.name}"
        for page in sorted((ROOT / "docs").glob("*.md"))
        for block in BLOCK.findall(page.read_text())
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("cudaq_target.")
        and node.module not in PACKAGES
        for alias in node.names
    }
    entries = [f"::: {path}" for path in sorted(used - known)]
    head = "# Other names\n\nWhat the code on these pages imports from modules of the packages."
    return "\n\n".join([head, *entries]) + "\n"
