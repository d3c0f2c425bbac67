"""How the pages look: light and dark, from a phone's width up, without any other file."""

STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #181b20; --quiet: #5b636e; --line: #e0e4e9;
  --accent: #2b62c9; --accent-rgb: 43, 98, 201; --soft: #9db8ea; --wrong-rgb: 214, 92, 34; --good: #17803d;
  --bad: #c0341d; --track: #eceff3; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #111317; --card: #1a1d23; --ink: #e9ebee; --quiet: #a2aab5; --line: #30353e; --accent: #78a5f5;
    --accent-rgb: 96, 148, 240; --soft: #41609a; --wrong-rgb: 236, 125, 66; --good: #5cc98a; --bad: #f28b76;
    --track: #272b33; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { margin: 0; font-size: clamp(1.5rem, 1.1rem + 2vw, 2.2rem); line-height: 1.2; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { margin: 3rem 0 .25rem; font-size: 1.35rem; letter-spacing: -.005em; }
p { max-width: 46rem; margin: .35rem 0 1rem; }
code { font: .88em ui-monospace, "Cascadia Mono", Menlo, monospace; overflow-wrap: anywhere; }
.quiet, figcaption, dt, .tile small { color: var(--quiet); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.25rem;
  margin: 1rem 0; }
.warning { border-left: .3rem solid rgb(var(--wrong-rgb)); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: .9rem 1.1rem; }
.tile b { display: block; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.02em; }
.tile span { display: block; font-weight: 600; }
.tile small { display: block; font-size: .82rem; }
.bars { display: grid; gap: .1rem 0; }
.bars .row { display: grid; grid-template-columns: minmax(7rem, 12rem) 1fr 7rem; gap: 0 1rem; align-items: center;
  padding: .3rem 0; border-bottom: 1px solid var(--line); }
.bars .row:last-child { border-bottom: 0; }
.bars .name { overflow-wrap: anywhere; line-height: 1.3; }
.bars .name small { display: block; color: var(--quiet); }
.bars .figure { text-align: right; line-height: 1.3; }
.bars .figure small { display: block; color: var(--quiet); }
.bars svg { display: block; width: 100%; height: 2rem; overflow: visible; }
.bars .total .name, .bars .total .figure { font-weight: 600; }
.bars .total small { font-weight: 400; }
.track { fill: var(--track); } .main { fill: var(--accent); } .second { fill: var(--soft); }
.better { fill: var(--good); } .worse { fill: var(--bad); } .unclear { fill: var(--soft); }
.whisker { stroke: var(--ink); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.zero { stroke: var(--quiet); stroke-width: 1; vector-effect: non-scaling-stroke; }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin-bottom: .5rem; font-size: .88rem;
  color: var(--quiet); }
.key i { display: inline-block; width: 1.1rem; height: .65rem; border-radius: .15rem; margin-right: .4rem; }
.swatch { display: inline-block; width: .85em; height: .85em; margin-right: .5em; vertical-align: -.05em;
  border: 1px solid var(--quiet); border-radius: .2em; }
.scroll { overflow-x: auto; margin: 1rem 0; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .4rem .75rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { font-size: .85rem; color: var(--quiet); font-weight: 600; vertical-align: bottom; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--card); font-weight: 600; z-index: 1; }
td small { display: block; color: var(--quiet); font-size: .78rem; }
tr.total > * { border-top: 2px solid var(--line); font-weight: 600; } tr.total small { font-weight: 400; }
td .better { color: var(--good); font-weight: 600; } td .worse { color: var(--bad); font-weight: 600; }
td .unclear { color: var(--quiet); }
.matrix td { padding: .3rem .2rem; min-width: 2.6rem; text-align: center; border: 1px solid var(--card); }
.matrix thead th { padding: .5rem .2rem; text-align: center; }
.matrix thead th span { display: inline-block; writing-mode: vertical-rl; transform: rotate(180deg); }
.matrix thead th:first-child { text-align: left; padding-left: .8rem; }
.matrix thead th:first-child span { writing-mode: initial; transform: none; }
.matrix td.hit { background: rgba(var(--accent-rgb), var(--share)); }
.matrix td.miss { background: rgba(var(--wrong-rgb), var(--share)); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
.gallery figure { margin: 0; }
.views { display: grid; grid-template-columns: repeat(3, 1fr); gap: .4rem; }
.views div { font-size: .8rem; color: var(--quiet); }
.views img { display: block; width: 100%; height: auto; border-radius: .35rem; background: var(--track); }
figcaption { margin-top: .6rem; font-size: .85rem; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); }
.chip { display: inline-block; margin: .3rem .7rem 0 0; white-space: nowrap; }
dl { display: grid; grid-template-columns: minmax(6rem, 11rem) 1fr; gap: .4rem 1.25rem; margin: 0; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 36rem) {
  main { padding: 1.25rem .9rem 3rem; }
  .card { padding: .85rem .9rem; }
  .bars .row { grid-template-columns: 1fr auto; padding: .5rem 0; }
  .bars .row > span { display: none; }
  .bars .row svg { grid-column: 1 / -1; grid-row: 2; height: 1.5rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  table { font-size: .9rem; } th, td { padding: .35rem .5rem; }
  th:first-child { white-space: normal; min-width: 8.5rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; }
}
"""
"""The style sheet of every page."""
