"""The page's style sheet: one column of text, cards and small charts; light and dark by the reader's own setting."""

CSS = """
:root { color-scheme: light dark;
  --paper:#fbf9f4; --card:#fffefb; --ink:#1f1d1a; --soft:#6a645b; --rule:#e4ded2; --track:#eee9de;
  --good:#0f6b63; --good-wash:#dff0ec; --flat:#b4651b; --flat-wash:#f8e8d6; --broken:#7b7486; --broken-wash:#ebe8ef;
  --on:#fffefb; }
@media (prefers-color-scheme: dark) { :root {
  --paper:#171614; --card:#1f1e1b; --ink:#ece7dd; --soft:#a39c8f; --rule:#35322c; --track:#2a2824;
  --good:#5cc4b4; --good-wash:#17332f; --flat:#e6a05a; --flat-wash:#3b2917; --broken:#a9a2b5; --broken-wash:#2e2b34;
  --on:#171614; } }
* { box-sizing:border-box; }
html { -webkit-text-size-adjust:100%; }
body { margin:0; background:var(--paper); color:var(--ink);
  font:18px/1.6 Charter,"Bitstream Charter","Iowan Old Style","Palatino Linotype",Georgia,"DejaVu Serif",serif; }
main { max-width:1040px; margin:0 auto; padding:56px 28px 72px; }
h1,h2,h3,p { margin:0; text-wrap:pretty; }
h1 { font-size:clamp(32px,5.4vw,54px); line-height:1.1; font-weight:600; letter-spacing:-.015em; max-width:18em; }
h2 { font-size:27px; line-height:1.25; font-weight:600; margin-top:68px; padding-top:20px;
  border-top:1px solid var(--rule); }
h3 { font-size:18px; font-weight:600; }
.eyebrow, .chip, th, .tick, .label, .small, figcaption, dt, summary, .row, .inside, .who, code {
  font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"DejaVu Sans",sans-serif; }
.eyebrow { font-size:13px; letter-spacing:.09em; text-transform:uppercase; color:var(--soft); margin-bottom:14px; }
.lede { font-size:21px; line-height:1.5; max-width:37em; margin-top:20px; }
.text { max-width:39em; margin-top:14px; }
.small, figcaption { font-size:14px; line-height:1.5; color:var(--soft); }
span.small { display:block; margin-top:6px; }
.lead { margin-top:10px; max-width:44em; }
.figures { display:grid; grid-template-columns:repeat(3,1fr); gap:18px; margin-top:38px; }
.figure, .card { background:var(--card); border:1px solid var(--rule); border-radius:12px; padding:20px 22px; }
.figure b { display:block; font-size:36px; line-height:1.2; font-weight:600; font-variant-numeric:tabular-nums;
  letter-spacing:-.01em; white-space:nowrap; }
.figure b i { font-style:normal; color:var(--soft); font-weight:400; }
.figure b em { font-style:normal; color:var(--good); }
.story { margin-top:22px; padding:0; overflow:hidden; }
.opening { padding:20px 24px; font-style:italic; border-bottom:1px solid var(--rule); }
.pair { display:grid; grid-template-columns:1fr 1fr; }
.pair > div { padding:18px 24px 22px; }
.pair > div + div { border-left:1px solid var(--rule); }
.who { font-size:13px; color:var(--soft); display:flex; gap:10px; align-items:center; margin-bottom:8px; }
.chip { font-size:13px; line-height:1; padding:5px 10px; border-radius:99px; font-weight:600; }
.chip.good { color:var(--good); background:var(--good-wash); }
.chip.flat { color:var(--flat); background:var(--flat-wash); }
.chip.broken { color:var(--broken); background:var(--broken-wash); }
.grid2 { display:grid; grid-template-columns:1fr 1fr; gap:18px; margin-top:22px; }
.card > svg { margin-top:10px; } .wide { margin-top:22px; }
.story + .text { margin-top:26px; }
figure { margin:0; } figcaption { margin-top:6px; } svg { display:block; width:100%; height:auto; overflow:visible; }
svg text { fill:var(--soft); font-size:12px; } svg .row { font-size:15px; fill:var(--ink); }
svg .inside { font-size:16px; font-weight:600; fill:var(--on); }
svg .grid { stroke:var(--rule); stroke-width:1; }
svg .mark { stroke:var(--soft); stroke-width:1.2; stroke-dasharray:3 4; }
svg .line { fill:none; stroke-width:2.2; stroke-linejoin:round; stroke-linecap:round; }
svg .track { fill:var(--track); }
svg .label { font-weight:600; } svg .label.faint { font-weight:400; }
svg .line.good { stroke:var(--good); } svg .fill.good, svg .dot.good, svg .label.good { fill:var(--good); }
svg .line.flat { stroke:var(--flat); } svg .fill.flat, svg .dot.flat, svg .label.flat { fill:var(--flat); }
svg .line.ink { stroke:var(--ink); } svg .fill.ink, svg .dot.ink, svg .label.ink { fill:var(--ink); }
svg .fill.broken { fill:var(--broken); }
.legend { display:flex; flex-wrap:wrap; gap:8px; margin-top:14px; }
.scroll { overflow-x:auto; margin-top:14px; }
table { border-collapse:collapse; width:100%; font-size:15px; font-variant-numeric:tabular-nums; }
th, td { text-align:left; padding:7px 18px 7px 0; border-bottom:1px solid var(--rule); vertical-align:top; }
th { font-size:13px; font-weight:600; color:var(--soft); }
td.n, th.n { text-align:right; padding-right:4px; white-space:nowrap; }
.steps td, .steps th { text-align:right; white-space:nowrap; }
code { font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace; font-size:13.5px;
  overflow-wrap:anywhere; }
pre { margin:14px 0 0; padding:16px 20px; background:var(--card); border:1px solid var(--rule); border-radius:12px;
  overflow-x:auto; line-height:1.5; } pre code { overflow-wrap:normal; }
details { margin-top:20px; } summary { cursor:pointer; font-size:15px; color:var(--soft); padding:6px 0; }
summary:focus-visible { outline:2px solid var(--good); outline-offset:4px; border-radius:4px; }
footer { margin-top:64px; padding-top:18px; border-top:1px solid var(--rule); }
@media (max-width:720px) { body { font-size:17px; } main { padding:36px 18px 56px; } .lede { font-size:19px; }
  .figures, .grid2, .pair { grid-template-columns:1fr; } .figures, .grid2 { gap:12px; } h2 { margin-top:52px; }
  .pair > div + div { border-left:0; border-top:1px solid var(--rule); } .figure b { font-size:32px; }
  .card { padding:18px 16px; } .story { padding:0; } .opening, .pair > div { padding:16px 18px 18px; }
  svg .row { font-size:22px; } svg .inside { font-size:22px; } }
@media print { body { background:#fff; } .card, .figure { break-inside:avoid; } }
"""
