"""What is measured of a page that a browser has laid out, as JavaScript.

Each gives a list of what is wrong, in words; nothing is wrong where it is empty.
"""

TOO_WIDE = """
[...document.querySelectorAll('body *')]
  .filter(e => !e.closest('svg *') && !e.closest('.wide *') && !e.closest('pre *'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
  .map(e => e.outerHTML.slice(0, 80))
"""
TOUCHING = """
[...document.querySelectorAll('svg')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].map(
    text => [text.textContent, text.getBoundingClientRect()]);
  return boxes.flatMap(([a, p], k) => boxes.slice(k + 1)
    .filter(([_, q]) => Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1
      && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 3)
    .map(([b]) => svg.getAttribute('aria-label').slice(0, 40) + ': ' + a + ' | ' + b));
})
"""
CUT = """
[...document.querySelectorAll('svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 2 || box.bottom > frame.bottom + 2;
  }).map(text => svg.getAttribute('aria-label').slice(0, 40) + ': ' + text.textContent);
})
"""
ORDER = (".verdict", ".reading", ".warnings", ".figures", ".cards", "details", "pre")
OUT_OF_ORDER = f"""
(() => {{
  const found = {list(ORDER)}.map(one => [one, document.querySelector(one)])
    .filter(([_, e]) => e).map(([one, e]) => [one, e.getBoundingClientRect().top]);
  return found.slice(1).filter(([_, top], k) => top < found[k][1])
    .map(([one]) => one + ' comes too early');
}})()
"""
OVERLAP = """
(() => {
  const blocks = [...document.querySelectorAll(
    'h1, h2, h3, p, li, figcaption, svg, summary, pre, figure > b, table')]
    .filter(e => e.checkVisibility({contentVisibilityAuto: true}))
    .filter(e => !e.closest('svg *'))
    .map(e => [e, e.getBoundingClientRect()]).filter(([_, r]) => r.height > 0);
  return blocks.flatMap(([a, p], k) => blocks.slice(k + 1)
    .filter(([b, q]) => !a.contains(b) && !b.contains(a)
      && Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1
      && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 1)
    .map(([b]) => a.outerHTML.slice(0, 60) + ' | ' + b.outerHTML.slice(0, 60)));
})()
"""
COLOURS = """
(() => {
  const rgb = c => c.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = c => rgb(c).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    const own = getComputedStyle(e).backgroundColor;
    const clear = own === 'rgba(0, 0, 0, 0)' && e.parentElement;
    return clear ? behind(e.parentElement) : own;
  };
"""
"""How light a colour is, and what lies behind an element."""
FAINT = (
    COLOURS
    + """  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const words = [...document.querySelectorAll(
    'h1, h2, h3, p, li, th, td, code, pre, b, figcaption, summary, svg text')]
    .map(e => [e, e.closest('svg') ? getComputedStyle(e).fill
      : getComputedStyle(e).color, 4.5]);
  const marks = ['.bar', '.plus', '.minus'].flatMap(
    one => [...document.querySelectorAll('svg ' + one)])
    .map(e => [e, getComputedStyle(e).fill, 3]);
  const lines = ['.before', '.after', '.thread', '.mark', '.axis', '.hollow'].flatMap(
    one => [...document.querySelectorAll('svg ' + one)])
    .map(e => [e, getComputedStyle(e).stroke, 3]);
  return [...words, ...marks, ...lines]
    .filter(([e, colour, least]) => colour !== 'none'
      && ratio(light(colour), light(behind(e.closest('svg') || e))) < least)
    .map(([e]) => e.outerHTML.slice(0, 80));
})()
"""
)
SILENT = """
[...document.querySelectorAll('svg')].filter(svg => {
  const said = svg.getAttribute('aria-label') || '';
  return svg.getAttribute('role') !== 'img' || said.length < 40
    || !svg.querySelector('title')?.textContent
    || !svg.querySelector('desc')?.textContent;
}).map(svg => svg.outerHTML.slice(0, 80))
"""
LAID_OUT = {
    "too wide": TOO_WIDE,
    "touching": TOUCHING,
    "cut off": CUT,
    "out of order": OUT_OF_ORDER,
    "overlapping": OVERLAP,
    "faint": FAINT,
    "without words": SILENT,
}
