"""The style sheet of the pages about data: one column, cards and small charts; light and dark by the reader's setting.

Tones: good (passes; the preferred answer), warn, block, and other (the answer that was not preferred).
"""

CSS = """
:root { color-scheme: light dark;
  --paper:#fbf9f4; --card:#fffefb; --ink:#1f1d1a; --soft:#655f56; --rule:#e4ded2; --track:#eee9de;
  --good:#0f6b63; --good-wash:#dff0ec; --warn:#8a5a00; --warn-wash:#f8ecd0; --block:#a3322a; --block-wash:#f9e2df;
  --other:#6a6478; --other-wash:#ebe8ef; --mark:#d8efe9; }
@media (prefers-color-scheme: dark) { :root {
  --paper:#171614; --card:#1f1e1b; --ink:#ece7dd; --soft:#a8a194; --rule:#35322c; --track:#2a2824;
  --good:#5cc4b4; --good-wash:#17332f; --warn:#e3b45a; --warn-wash:#3a2e15; --block:#f08d80; --block-wash:#43211d;
  --other:#b0a9bd; --other-wash:#2e2b34; --mark:#1d433d; } }
* { box-sizing:border-box; }
html { -webkit-text-size-adjust:100%; }
body { margin:0; background:var(--paper); color:var(--ink);
  font:16px/1.55
  ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif; }
main { max-width:1000px; margin:0 auto; padding:44px 28px 64px; }
h1,h2,h3,p,ol,ul { margin:0; text-wrap:pretty; }
p,li,h2,h3,span,figcaption,summary { overflow-wrap:anywhere; }
h1 { font-size:clamp(25px,4vw,36px); line-height:1.2; font-weight:650; letter-spacing:-.01em; overflow-wrap:anywhere; }
h2 { font-size:22px; line-height:1.25; font-weight:650; margin-top:50px; padding-top:18px;
  border-top:1px solid var(--rule); }
h3 { font-size:16px; font-weight:650; }
.eyebrow { font-size:13px; letter-spacing:.08em; text-transform:uppercase; color:var(--soft); margin-bottom:10px; }
.lead { margin-top:8px; color:var(--soft); max-width:46em; }
.small, figcaption { font-size:14px; color:var(--soft); }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:14px; margin-top:26px; }
.card, .figure { min-width:0; background:var(--card); border:1px solid var(--rule); border-radius:10px;
  padding:16px 18px; }
.figure b { display:block; font-size:27px; line-height:1.25; font-weight:650; font-variant-numeric:tabular-nums; }
.figure b.words { font-size:18px; line-height:1.35; padding:5px 0; overflow-wrap:anywhere; }
.figure.good b { color:var(--good); } .figure.warn b { color:var(--warn); } .figure.block b { color:var(--block); }
.wide { margin-top:18px; }
.cards { display:grid; gap:14px; margin-top:18px; }
.card.warn { border-left:4px solid var(--warn); } .card.block { border-left:4px solid var(--block); }
.head { display:flex; flex-wrap:wrap; gap:6px 12px; align-items:baseline; justify-content:space-between; }
.head > span { display:flex; flex-wrap:wrap; gap:6px 10px; align-items:baseline; }
.chip { font-size:13px; line-height:1.25; padding:4px 10px; border-radius:13px; font-weight:650; max-width:100%;
  color:var(--other); background:var(--other-wash); }
.chip.good { color:var(--good); background:var(--good-wash); }
.chip.warn { color:var(--warn); background:var(--warn-wash); }
.chip.block { color:var(--block); background:var(--block-wash); }
.value { font-variant-numeric:tabular-nums; }
.value b { font-size:18px; }
.card > p { margin-top:8px; } .do::before { content:"→ "; color:var(--soft); }
ol.first { margin-top:16px; padding-left:1.5em; } ol.first li { padding:5px 0 5px 4px; max-width:46em; }
ol.first li::marker { font-weight:650; color:var(--soft); }
.grid2 { display:grid; grid-template-columns:1fr 1fr; gap:14px; margin-top:18px; }
.pair { display:grid; grid-template-columns:1fr 1fr; gap:0; }
.pair > div { padding:14px 18px 16px; min-width:0; } .pair > div + div { border-left:1px solid var(--rule); }
.pair.alone { grid-template-columns:minmax(0,1fr); }
.sample { padding:0; overflow:hidden; } .sample > .prompt { padding:14px 18px; border-bottom:1px solid var(--rule); }
.said { white-space:pre-wrap; overflow-wrap:anywhere; margin-top:6px; unicode-bidi:isolate; }
.prompt .said { color:var(--soft); }
.who { display:flex; flex-wrap:wrap; gap:8px; align-items:baseline; font-size:13px; color:var(--soft); }
figure { margin:0; } figcaption { margin-top:8px; }
svg { display:block; width:100%; height:auto; overflow:visible; margin-top:10px; }
svg text { fill:var(--soft); font-size:12px; } svg .name { fill:var(--ink); font-size:13px; }
svg .grid { stroke:var(--rule); stroke-width:1; } svg .track { fill:var(--track); }
svg .area.good { fill:var(--good); fill-opacity:.22; stroke:var(--good); stroke-width:2; stroke-linejoin:round; }
svg .area.other { fill:var(--other); fill-opacity:.16; stroke:var(--other); stroke-width:2; stroke-linejoin:round;
  stroke-dasharray:5 3; }
svg .bar.good { fill:var(--good); } svg .bar.other { fill:var(--other); } svg .bar.warn { fill:var(--warn); }
svg .bar.block { fill:var(--block); } svg .median { stroke-width:2; }
svg .median.good { stroke:var(--good); } svg .median.other { stroke:var(--other); stroke-dasharray:5 3; }
.legend { display:flex; flex-wrap:wrap; gap:6px 18px; margin-top:10px; font-size:14px; color:var(--soft); }
.legend i { display:inline-block; width:22px; height:0; border-top:3px solid var(--good); margin-right:7px;
  vertical-align:middle; } .legend i.other { border-top:3px dashed var(--other); }
.scroll { overflow-x:auto; margin-top:12px; }
table { border-collapse:collapse; width:100%; font-size:14px; font-variant-numeric:tabular-nums; }
th, td { text-align:left; padding:6px 16px 6px 0; border-bottom:1px solid var(--rule); vertical-align:top; }
tr:last-child > td { border-bottom:0; }
th { font-size:13px; font-weight:650; color:var(--soft); white-space:nowrap; }
td.n, th.n { text-align:right; white-space:nowrap; } td.told { min-width:15em; overflow-wrap:anywhere; }
code, .piece { font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace; font-size:13px; }
code { overflow-wrap:anywhere; }
pre { margin:10px 0 0; padding:12px 14px; border:1px solid var(--rule); border-radius:8px; background:var(--paper);
  overflow-x:auto; }
details { margin-top:12px; } summary { cursor:pointer; color:var(--soft); font-size:14px; padding:3px 0; }
summary:focus-visible { outline:2px solid var(--good); outline-offset:3px; border-radius:4px; }
.tokens { margin-top:8px; line-height:1.9; overflow-wrap:anywhere; white-space:pre-wrap; unicode-bidi:isolate; }
.piece { color:var(--ink); border-radius:3px; padding:2px 0; box-shadow:inset -1px 0 0 var(--rule); }
.piece.in { background:var(--mark); box-shadow:inset -1px 0 0 var(--good); }
.piece.cut { color:var(--block); background:var(--block-wash); text-decoration:line-through; }
footer { margin-top:52px; padding-top:16px; border-top:1px solid var(--rule); }
@media (max-width:720px) { main { padding:28px 16px 44px; } .grid2, .pair { grid-template-columns:minmax(0,1fr); }
  .pair > div + div { border-left:0; border-top:1px solid var(--rule); } .figures { grid-template-columns:1fr 1fr; }
  h2 { margin-top:38px; }
  .figure b.words { font-size:15px; } svg text { font-size:15px; } svg .name { font-size:16px; } }
@media print { body { background:#fff; } .card, .figure { break-inside:avoid; } }
"""
