"""How a report looks: one column on a phone, two beside each other on a screen, plain in print."""

from __future__ import annotations

from typing import Final

_LIGHT: Final = """\
  --page: #ffffff; --ink: #2b2b2b; --soft: #5b5b5b; --grid: #d9d9d9; --panel: #f5f7f8;
  --good: #1d6b43; --bad: #a63220;
  --s0: #28415e; --s1: #1b6f8a; --s2: #6fb1a0; --s3: #c78d10; --s4: #e9a18f; --s5: #c8553d;
  --s6: #8a6fb1; --s7: #7d7d7d;
"""

_DARK: Final = """\
  --page: #14181b; --ink: #e6e6e6; --soft: #a9b1b6; --grid: #3a4247; --panel: #1e2428;
  --good: #6fcf9b; --bad: #ff9a85;
  --s0: #8fb3dc; --s1: #4fb3d1; --s2: #a3dccd; --s3: #f0c04f; --s4: #f3c1b4; --s5: #ff8a6f;
  --s6: #c0aae2; --s7: #b4b4b4;
"""

STYLE: Final = f"""\
:root {{
{_LIGHT}}}
@media screen and (prefers-color-scheme: dark) {{
  :root {{
{_DARK}  }}
}}
* {{ box-sizing: border-box; }}
body {{
  margin: 0; background: var(--page); color: var(--ink); line-height: 1.45;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}}
main {{ max-width: 62rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.5rem; margin: 0.5rem 0 0.25rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1rem; margin: 0 0 0.5rem; }}
header p {{ margin: 0 0 1rem; color: var(--soft); }}
section {{ margin: 0 0 1.5rem; }}
.badge {{ font-weight: 600; }}
.badge.good {{ color: var(--good); }}
.badge.bad {{ color: var(--bad); }}
.cards, .figures {{ display: grid; gap: 0.75rem; }}
.cards {{ grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); }}
.card {{ background: var(--panel); border-radius: 0.5rem; padding: 0.75rem 1rem; }}
.card h2 {{ font-size: 0.85rem; font-weight: 400; color: var(--soft); margin: 0; }}
.card strong {{ font-size: 1.3rem; display: block; overflow-wrap: anywhere; }}
.card p {{ margin: 0.15rem 0 0; font-size: 0.85rem; color: var(--soft); }}
.card.bad strong {{ color: var(--bad); }}
.figures {{
  gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
}}
figure {{ margin: 0; max-width: 34rem; }}
figure svg {{ width: 100%; height: auto; display: block; }}
figure svg text {{
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif !important;
}}
figcaption {{ font-size: 0.85rem; color: var(--soft); }}
table {{ border-collapse: collapse; width: 100%; font-size: 0.9rem; }}
th, td {{
  text-align: left; vertical-align: top; padding: 0.3rem 0.75rem 0.3rem 0;
  border-bottom: 1px solid var(--grid); overflow-wrap: anywhere;
}}
th {{ font-weight: 400; color: var(--soft); min-width: 6.5rem; }}
th[scope="row"] {{ width: 13rem; max-width: 35vw; }}
pre {{
  background: var(--panel); padding: 0.75rem 1rem; border-radius: 0.5rem; margin: 0;
  white-space: pre-wrap; overflow-wrap: anywhere;
}}
@media print {{
  main {{ max-width: none; padding: 0; }}
  .figures {{ grid-template-columns: 1fr 1fr; }}
  .card {{ border: 1px solid var(--grid); }}
  figure, .card, tr {{ break-inside: avoid; }}
}}
"""
