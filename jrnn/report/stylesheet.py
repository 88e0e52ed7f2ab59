"""The looks of the page: system fonts, light and dark, one column on a phone."""

CSS = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --soft: #5a6370; --line: #d9dde3; --panel: #f4f6f8;
  --healthy: #007a59; --vanishing: #b84f00; --exploding: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #171a20; --text: #e8eaed; --soft: #a5adb9; --line: #3a3f48;
  --panel: #20242c; --healthy: #2fc79b; --vanishing: #f0803c; --exploding: #ff8a80; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1080px; padding: 2rem 1.25rem 3rem; background: var(--back); color: var(--text);
  font: 1.0625rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: clamp(1.6rem, 4.5vw, 2.3rem); line-height: 1.2; margin: 0 0 .75rem; letter-spacing: -.01em; }
h2 { font-size: 1.5rem; line-height: 1.3; margin: 0 0 .6rem; }
h3 { font-size: 1.15rem; line-height: 1.3; margin: 0 0 .5rem; }
p { margin: 0 0 .8rem; max-width: 44rem; }
section { margin-top: 2.75rem; }
.soft, .kicker { color: var(--soft); }
.kicker { margin: 0 0 .25rem; font-size: .95rem; }
.verdict { margin-top: 1.75rem; padding: 1.1rem 1.4rem; background: var(--panel); border-left: 6px solid var(--tone);
  border-radius: 0 8px 8px 0; }
.verdict p { max-width: 52rem; }
.verdict .now { font-size: clamp(1.2rem, 3.4vw, 1.6rem); line-height: 1.35; font-weight: 600; margin-bottom: .6rem; }
.verdict .when { color: var(--tone); font-weight: 600; margin-bottom: .2rem; }
.verdict p:last-child { margin-bottom: 0; }
.verdict h2 { font-size: 1.1rem; margin: 1rem 0 .3rem; }
.verdict ul { margin: 0 0 .9rem; padding-left: 1.2rem; max-width: 52rem; } .verdict li { margin-bottom: .3rem; }
.chapter > h2 { padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
.chapter .figure + .figure { margin-top: 2rem; }
.healthy { --tone: var(--healthy); } .vanishing, .transient-growth { --tone: var(--vanishing); }
.exploding, .chaotic, .both, .not-finite, .loses { --tone: var(--exploding); }
.keys { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .75rem; margin: 1.25rem 0 0; }
.keys div { border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; }
.keys dt { color: var(--soft); font-size: .92rem; line-height: 1.35; }
.keys dd { margin: .2rem 0 0; }
.keys .big { font-size: 1.45rem; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
.figure { display: grid; gap: .5rem 2.5rem; }
.figure svg { display: block; width: 100%; height: auto; max-width: 600px; }
.figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
.figure .dark { display: none; }
@media (prefers-color-scheme: dark) { .figure .light { display: none; } .figure .dark { display: revert; } }
@media (min-width: 900px) { .figure { grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); align-items: start; }
  .figure svg { max-width: none; } .keys { grid-template-columns: repeat(4, 1fr); } }
@media (max-width: 480px) { .keys { grid-template-columns: 1fr 1fr; } body { padding: 1.25rem 1rem 2.5rem; }
  .verdict { padding: .9rem 1rem; } .keys div { padding: .65rem .75rem; } .keys .big { font-size: 1.2rem; } }
.n { white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; max-width: 46rem;
  font-variant-numeric: tabular-nums; line-height: 1.35; }
th, td { padding: .34rem .5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; white-space: normal; font-weight: 400; padding-left: 0; }
thead th { font-weight: 600; white-space: normal; }
tbody th.group { padding-top: 1.1rem; font-weight: 600; }
tr.needed th, tr.needed td { font-weight: 650 !important; background: var(--panel); }
.facts { display: grid; gap: 1.5rem 2.5rem; }
@media (min-width: 700px) { .facts { grid-template-columns: 1fr 1fr; } }
.facts dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; }
.words dt { font-weight: 600; } .words dd { margin: 0 0 .7rem; max-width: 44rem; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .95rem; }
pre { overflow-x: auto; margin: 0 0 .6rem; padding: .6rem .8rem; background: var(--panel); border-radius: 6px;
  font: .92rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--text); }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
@media (max-width: 560px) { table { font-size: .95rem; } td { white-space: normal; padding-left: .25rem; }
  th:first-child { min-width: 7rem; } td:last-child { padding-right: 0; } }
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""
