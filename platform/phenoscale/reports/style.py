"""The page's style sheet: calm typography, one column with a table of contents beside it, prints well."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  --ink: #1b2733; --muted: #5b6b7c; --faint: #8896a5; --line: #dfe5ec; --wash: #f5f7fa; --paper: #ffffff;
  --accent: #0f6ab4; --good: #0b7a5c; --bad: #b4471f; --good-wash: #e8f5f0; --bad-wash: #fbeee8;
  --sans: Inter, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, "Liberation Mono", "DejaVu Sans Mono", monospace;
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1.5rem; }
body {
  margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.6 var(--sans);
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
}
.page { max-width: 1240px; margin: 0 auto; padding: 0 2rem 4rem; display: grid;
  grid-template-columns: 210px minmax(0, 1fr); column-gap: 3rem; }
header.top { grid-column: 1 / -1; padding: 2.6rem 0 1.6rem; border-bottom: 1px solid var(--line);
  margin-bottom: 1.8rem; }
.brand { color: var(--accent); font-size: .78rem; font-weight: 700; letter-spacing: .12em;
  text-transform: uppercase; }
h1 { font-size: 2.1rem; line-height: 1.2; letter-spacing: -.02em; margin: .3rem 0 .5rem; font-weight: 700; }
h2 { font-size: 1.42rem; line-height: 1.3; letter-spacing: -.01em; margin: 0 0 .4rem; font-weight: 650; }
h3 { font-size: 1.05rem; margin: 1.9rem 0 .3rem; font-weight: 650; }
p { margin: .5rem 0 .9rem; max-width: 70ch; }
.lead { color: var(--muted); margin-top: 0; }
header .lead { font-size: 1.05rem; margin-bottom: 0; max-width: 80ch; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 2px; }
code { font: .86em var(--mono); background: var(--wash); padding: .1em .32em; border-radius: 4px;
  overflow-wrap: anywhere; }
nav.toc { position: sticky; top: 1.5rem; align-self: start; font-size: .88rem; line-height: 1.35; }
nav.toc strong { display: block; color: var(--faint); font-size: .74rem; letter-spacing: .1em;
  text-transform: uppercase; margin-bottom: .6rem; }
nav.toc a { display: block; color: var(--muted); text-decoration: none; padding: .3rem 0 .3rem .8rem;
  border-left: 2px solid var(--line); }
nav.toc a:hover, nav.toc a.here { color: var(--ink); border-left-color: var(--accent); }
nav.toc a.empty { color: var(--faint); }
section { margin-bottom: 3.4rem; }
section > h2 { padding-bottom: .1rem; }
.cards { display: grid; grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); gap: .9rem;
  margin: 1.1rem 0 1.4rem; }
.card { border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1.05rem 1rem;
  background: var(--paper); }
.card-label { color: var(--muted); font-size: .82rem; line-height: 1.35; }
.card-value { font-size: 1.75rem; line-height: 1.25; font-weight: 680; letter-spacing: -.02em;
  margin: .15rem 0; }
.card-note { color: var(--muted); font-size: .82rem; line-height: 1.45; }
.card.good { background: var(--good-wash); border-color: #bfe3d5; }
.card.good .card-value { color: var(--good); }
.card.bad { background: var(--bad-wash); border-color: #f0cfc0; }
.card.bad .card-value { color: var(--bad); }
.card.lead-card { background: #edf5fc; border-color: #c5def2; }
.card.lead-card .card-value { color: var(--accent); }
figure { margin: 1.3rem 0 1.7rem; }
.plate { border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1rem; background: var(--paper);
  overflow-x: auto; }
.plate > svg { display: block; width: 100%; height: auto; max-width: 860px; min-width: 560px;
  margin: 0 auto; }
figcaption { color: var(--muted); font-size: .9rem; line-height: 1.55; margin-top: .6rem; max-width: 78ch; }
figcaption b { color: var(--ink); font-weight: 600; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: .8rem 1.6rem;
  margin: 1rem 0 1.3rem; }
.facts dt { color: var(--muted); font-size: .8rem; line-height: 1.4; }
.facts dd { margin: 0; font-weight: 550; overflow-wrap: anywhere; line-height: 1.45; }
.table-scroll { overflow: auto; max-height: 34rem; border: 1px solid var(--line); border-radius: 10px;
  margin: 1rem 0 1.4rem; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; line-height: 1.45; }
caption { text-align: left; color: var(--muted); padding: .6rem .9rem; font-size: .86rem; }
th, td { text-align: left; padding: .42rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody tr:last-child td { border-bottom: 0; }
thead th { position: sticky; top: 0; background: var(--wash); font-weight: 620; font-size: .8rem;
  color: var(--muted); white-space: nowrap; box-shadow: 0 1px 0 var(--line); border-bottom: 0; z-index: 1; }
td.number, th.number { text-align: right; white-space: nowrap; }
tbody tr:hover { background: #fafbfd; }
.table-scroll:has(table.families) { max-height: none; }
table.families th, table.families td { padding: .42rem .5rem; }
table.families thead th { white-space: normal; vertical-align: bottom; }
table.families td:first-child { white-space: nowrap; }
table.families .interval { color: var(--muted); font-size: .86em; }
table.sortable thead th { cursor: pointer; user-select: none; }
table.sortable thead th:hover { color: var(--ink); }
table.sortable th[aria-sort="ascending"]::after { content: " \\2191"; }
table.sortable th[aria-sort="descending"]::after { content: " \\2193"; }
.filter { display: flex; gap: .8rem; align-items: center; margin: 1rem 0 -.4rem; flex-wrap: wrap; }
.filter input { font: inherit; font-size: .9rem; padding: .4rem .7rem; border: 1px solid var(--line);
  border-radius: 8px; min-width: 18rem; color: inherit; background: var(--paper); }
.filter output { color: var(--muted); font-size: .85rem; }
.funnel { display: grid; grid-template-columns: minmax(9rem, auto) 1fr; gap: .5rem 1rem; align-items: center;
  font-size: .88rem; }
.funnel .rule { line-height: 1.35; }
.funnel .rule small { display: block; color: var(--muted); }
.funnel .bar { background: var(--wash); border-radius: 5px; height: 1.9rem; position: relative;
  overflow: hidden; }
.funnel .kept { background: #a9cdec; height: 100%; border-radius: 5px; }
.funnel .count { position: absolute; left: .7rem; top: 0; line-height: 1.9rem; white-space: nowrap; }
.funnel .count em { color: var(--bad); font-style: normal; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1.1rem 1.3rem; }
.triptych .images { display: grid; grid-template-columns: repeat(3, 1fr); gap: 4px; }
.triptych img { width: 100%; display: block; border-radius: 4px; image-rendering: auto; background: #000; }
.triptych .name { font-size: .82rem; color: var(--muted); margin-top: .35rem; }
.triptych .name b { color: var(--ink); font-weight: 600; }
.heads { display: grid; grid-template-columns: repeat(3, 1fr); gap: 4px; color: var(--muted);
  font-size: .76rem;
  margin-bottom: .25rem; text-align: center; }
.stains { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .85rem; color: var(--muted);
  margin: .2rem 0 .9rem; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 3px; margin-right: .4em;
  vertical-align: -.06em; }
.pill { display: inline-block; font-size: .76rem; line-height: 1.5; padding: 0 .55em; border-radius: 99px;
  background: var(--wash); color: var(--muted); white-space: nowrap; }
.pill.good { background: var(--good-wash); color: var(--good); }
.pill.bad { background: var(--bad-wash); color: var(--bad); }
.pill.blue { background: #e6f1fa; color: var(--accent); }
.missing { color: var(--muted); background: var(--wash); border-left: 3px solid #c3ccd6; padding: .6rem .9rem;
  border-radius: 0 8px 8px 0; font-size: .92rem; max-width: none; }
.explain { margin: .6rem 0 1.2rem; font-size: .92rem; }
.explain summary { cursor: pointer; color: var(--accent); width: fit-content; }
.explain p { color: var(--muted); margin: .5rem 0 .5rem 1rem; }
.compact table, .compact code { font-size: .8rem; }
.compact code { white-space: nowrap; }
.times { display: grid; grid-template-columns: max-content 1fr; gap: .28rem .9rem; align-items: center;
  font-size: .86rem; }
.times .bar { display: flex; align-items: center; gap: .6rem; color: var(--muted); white-space: nowrap; }
.times .bar i { display: block; height: .85rem; border-radius: 3px; background: #a9cdec; min-width: 2px; }
.square { max-width: 720px; margin: 0 auto; }
.neighbors td:nth-child(-n+2), #rows-table td { white-space: nowrap; }
#rows-table td.setting { white-space: normal; min-width: 26rem; color: var(--muted); }
#rows-table code { overflow-wrap: normal; }
.neighbor { display: inline-block; margin: 0 .35rem .15rem 0; white-space: nowrap; }
.neighbor.same { color: var(--good); font-weight: 600; }
.neighbor small { color: var(--faint); font-weight: 400; }
footer { grid-column: 1 / -1; border-top: 1px solid var(--line); color: var(--faint); font-size: .84rem;
  padding-top: 1.1rem; }
@media (max-width: 1000px) {
  .page { grid-template-columns: minmax(0, 1fr); padding: 0 1.2rem 3rem; }
  nav.toc { position: static; columns: 2; margin-bottom: 2rem; }
  nav.toc strong { column-span: all; }
  .cards { grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); }
  h1 { font-size: 1.7rem; }
}
@media print {
  body { font-size: 10.5pt; }
  .page { display: block; max-width: none; padding: 0; }
  nav.toc, .filter, .modebar { display: none; }
  section#rows { display: none; }
  section, figure, .card, .triptych { break-inside: avoid; }
  section { break-inside: auto; margin-bottom: 1.6rem; }
  h2, h3 { break-after: avoid; }
  .table-scroll { max-height: none; overflow: visible; }
  thead th { position: static; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
