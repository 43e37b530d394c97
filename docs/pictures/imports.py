"""Draw which part of the package imports which, from the code: `docs/architecture-imports.svg`.

Run it: `python docs/pictures/imports.py [file.svg]`. The order of the storeys is that of the
layers that `pyproject.toml` prescribes; the numbers are counted by grimp, which import-linter
stands on. An import that went upwards would stand left of the diagonal.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "cudaq_target"
CONTRACT = "the target half flows one way"
# The first layer of each storey, from the roof down; what is below the last layer is the ground.
STOREYS = {
    "__main__": "Command line",
    "watch": "Loops, watching",
    "plugin": "CUDA-Q: plug-in, launches",
    "job_worker": "Jobs, machines, clouds",
    "template": "Programs, gate and analog",
    "emulator": "Emulator",
    "compiler": "Compiler: place to pulses",
    "trace": "Kernels read: Quake, Python",
    "gates": "Values, errors, units",
}
WINGS = {"coupler": "Coupler", "kernels": "Kernels"}
WIDTH, ROW, CHIPS, CELL, LEFT, LINE = 1240, 17, 500, 40, 240, 11
INK, PALE, RULE = "#1a1c2c", "#f3f4fa", "#c5c8dc"


def storey_of_modules() -> dict[str, str]:
    """Return the storey of each top-level module, in the order of the layers."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["name"] == CONTRACT)
    storeys, storey = {}, ""
    for layer in layers:
        modules = [module.strip(" ()") for module in layer.split("|")]
        storey = next((STOREYS[module] for module in modules if module in STOREYS), storey)
        storeys |= dict.fromkeys(modules, storey)
    return storeys | WINGS


def imports_between(storeys: dict[str, str]) -> Counter[tuple[str, str]]:
    """Count the imports of each storey from each other one, and within it."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    counts: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        importer = storeys.get(f"{module}.".split(".")[1])
        for imported in graph.find_modules_directly_imported_by(module):
            target = storeys.get(f"{imported}.".split(".")[1])
            if importer and target:
                counts[importer, target] += 1
    return counts


def wrapped(words: list[str], width: int) -> list[str]:
    """Return the words in lines of at most `width` characters."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 2 > width:
            lines.append("")
        lines[-1] += (", " if lines[-1] else "") + word
    return lines


def text(x: float, y: float, words: str, **attributes: str) -> str:
    """Return one line of text."""
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:g}" y="{y:g}"{more}>{escape(words)}</text>'


def draw(storeys: dict[str, str], counts: Counter[tuple[str, str]]) -> str:
    """Return the picture as SVG: storeys with their modules, and who imports whom."""
    names = list(dict.fromkeys(storeys.values()))
    first_cell = LEFT + CHIPS + 30
    parts, y = [], 150.0
    for column, name in enumerate(names):
        x = first_cell + column * CELL + CELL / 2
        turn = f"rotate(-40 {x:g} {y - 12:g})"
        parts.append(text(x, y - 12, name.split(":")[0].split(",")[0], transform=turn))
    for row, name in enumerate(names):
        modules = [module for module, storey in storeys.items() if storey == name]
        lines = wrapped(modules, 78)
        height = max(CELL, ROW * len(lines) + 20)
        parts.append(
            f'<rect x="8" y="{y:g}" width="{LEFT + CHIPS:g}" height="{height - 4:g}" rx="5" '
            f'fill="{PALE}" stroke="{RULE}"/>'
        )
        parts.append(text(18, y + 22, name, font_weight="600"))
        for place, line in enumerate(lines):
            parts.append(
                text(LEFT, y + 22 + place * ROW, line, font_size=str(LINE), fill="#4a4e69")
            )
        for column, target in enumerate(names):
            parts += cell(first_cell + column * CELL, y, height, counts[name, target], row - column)
        y += height
    head = text(8, 24, "Who imports whom", font_size="17", font_weight="700")
    says = "A row imports from a column: on the diagonal or right of it, downwards. Red: upwards."
    head += text(8, 46, says) + text(8, 66, "Made by `python docs/pictures/imports.py`.")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8:g}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{head}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def cell(x: float, y: float, height: float, n_imports: int, below: int) -> list[str]:
    """Return one field of the table; `below` is above 0 where an import would go upwards."""
    shade = min(0.12 + n_imports / 120, 0.85) if n_imports else 0.0
    colour = "#c1121f" if below > 0 else "#3d5a80"
    box = (
        f'<rect x="{x:g}" y="{y:g}" width="{CELL - 3}" height="{height - 4:g}" rx="3" '
        f'fill="{colour}" fill-opacity="{shade:.2f}" stroke="{RULE}"/>'
    )
    if not n_imports:
        return [box]
    ink = "white" if shade > 0.5 else INK
    middle = x + (CELL - 3) / 2
    return [box, text(middle, y + height / 2 + 3, str(n_imports), text_anchor="middle", fill=ink)]


def main() -> None:
    """Write the picture."""
    default = ROOT / "docs" / "architecture-imports.svg"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    storeys = storey_of_modules()
    path.write_text(draw(storeys, imports_between(storeys)))


if __name__ == "__main__":
    main()
