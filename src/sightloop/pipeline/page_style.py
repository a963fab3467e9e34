"""The style sheet of the pipeline's pages: light and dark, nothing loaded from elsewhere."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --ink: #1c2330; --soft: #5c6675; --line: #dfe3ea;
  --first: #2f6fde; --second: #e2701a; --good: #28a05a; --bad: #d8383f; --false: #d97f10;
  --wrong: #9a46d8; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12151b; --card: #1a1f28; --ink: #e6eaf1; --soft: #9aa5b5; --line: #2c3441;
  --first: #6ea0ff; --second: #ff9b52; --good: #4fc98a; --bad: #ff7480; --false: #f0a040;
  --wrong: #c08cff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 60px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 34px 0 4px; }
p { margin: 4px 0 10px; max-width: 84ch; }
.lead { font-size: 16px; }
.soft, figcaption { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; }
.scroll { overflow-x: auto; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(122px, 1fr)); gap: 10px;
  margin-top: 16px; }
.tile b { display: block; font-size: 22px; line-height: 1.2; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13.5px; }
.verdict { display: inline-block; font-weight: 650; border-radius: 999px; padding: 2px 12px;
  font-size: 14px; margin-bottom: 10px; color: #fff; background: var(--good); }
.verdict.no { background: var(--bad); }
figure { margin: 0; } figcaption { font-size: 13.5px; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 264px)); gap: 12px;
  justify-content: space-evenly; }
.curves figcaption { text-align: center; }
svg.chart { display: block; width: 100%; height: auto; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke: var(--first); }
.curve.second { stroke: var(--second); }
.point { fill: var(--first); stroke: var(--card); stroke-width: 1.5; }
.point.second { fill: var(--second); }
.grid { stroke: var(--line); stroke-width: 1; fill: none; }
.tick { fill: var(--soft); font-size: 11px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: middle; }
tr:last-child td { border-bottom: 0; }
th { color: var(--soft); font-weight: 550; font-size: 13px; }
.n { font-variant-numeric: tabular-nums; white-space: nowrap; text-align: right; }
tr.no td { color: var(--bad); font-weight: 600; }
table.matrix { width: auto; }
.matrix td, .matrix th { border: 0; padding: 2px; text-align: center; }
.matrix th span { display: inline-block; max-width: 110px; overflow: hidden;
  text-overflow: ellipsis; vertical-align: bottom; padding: 0 4px; }
.matrix th.row { text-align: right; padding-right: 10px; }
.matrix td.right, .matrix td.wrong { min-width: 64px; height: 40px; border-radius: 6px;
  font-variant-numeric: tabular-nums; border: 2px solid var(--card);
  background: color-mix(in srgb, var(--tone) var(--share), var(--page)); }
.matrix.many td.right, .matrix.many td.wrong { min-width: 40px; height: 28px; font-size: 12.5px; }
.matrix.many th { font-size: 11.5px; } .matrix.many th span { max-width: 58px; padding: 0; }
.matrix td.right { --tone: var(--good); } .matrix td.wrong { --tone: var(--bad); }
.bar { position: relative; width: 180px; height: 12px; border-radius: 6px;
  background: var(--line); }
.bar i { position: absolute; top: 0; height: 12px; border-radius: 6px; background: var(--first);
  opacity: .45; min-width: 3px; }
.bar i.second { background: var(--second); }
.bar b { position: absolute; top: -2px; width: 2px; height: 16px; background: var(--ink);
  margin-left: -1px; }
.bar.thin { height: 7px; margin: 2px 0; } .bar.thin i { height: 7px; }
.bar.thin b { height: 11px; }
.ink.first { color: var(--first); } .ink.second { color: var(--second); }
.ink { font-weight: 600; }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(480px, 1fr)); gap: 14px; }
@media (max-width: 560px) { .worst { grid-template-columns: 1fr; } }
.worst img { display: block; width: 100%; height: auto; border-radius: 6px; }
.worst figcaption { margin-top: 6px; overflow-wrap: anywhere; }
.worst ul { margin: 2px 0 0; padding-left: 18px; }
.k { color: #fff; border-radius: 4px; padding: 0 6px; font-size: 13px; }
.k.right { background: #28a05a; } .k.missed { background: #e13232; }
.k.false { background: #eb8c14; } .k.wrong { background: #a046dc; }
"""
