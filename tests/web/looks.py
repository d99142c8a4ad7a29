"""What a person would see at once: something that sticks out, lies on something else or cannot be read."""

from playwright.sync_api import Page

WIDER = """() => [...document.querySelectorAll('body *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && box.right > document.documentElement.clientWidth + 1 && !e.closest('.scroll, pre');
}).map(e => e.outerHTML.slice(0, 120))"""

# Contrast of text with the nearest painted background, by WCAG's formula; 4.5 is what small text needs.
FAINT = """() => {
  const light = c => { const v = c.map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const ground = e => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > .99) return c; } return [255, 255, 255]; };
  const found = [];
  for (const e of document.querySelectorAll('p, td, th, h1, h2, h3, span, code, li, summary, figcaption, b')) {
    if (!e.childNodes.length || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    if (!e.getClientRects().length) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) found.push(e.textContent.slice(0, 40) + ' ' + ((a + .05) / (b + .05)).toFixed(2));
  }
  return found;
}"""


def sound(page: Page) -> None:
    """Nothing sticks out to the side, and every text can be read."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")
    assert page.evaluate(WIDER) == []
    assert page.evaluate(FAINT) == []
