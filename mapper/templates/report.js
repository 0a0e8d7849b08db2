"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector) => [...document.querySelectorAll(selector)];
const count = (value) => Math.round(value).toLocaleString("en-US");
const tip = document.getElementById("tip");

function element(parent, name, attributes, text) {
  const made = document.createElementNS(parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return parent.appendChild(made);
}

// Details beside the pointer or the focus: a title and rows of [name, value].
function show(x, y, title, rows) {
  tip.replaceChildren();
  element(tip, "strong", {}, title);
  const table = element(tip, "table");
  for (const row of rows) {
    const line = element(table, "tr");
    for (const cell of row) element(line, "td", {}, cell);
  }
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
  tip.style.top = (y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 10) : y + 18) + "px";
}
const hide = () => { tip.hidden = true; light(null); };
let lit = null;
function light(layer) {
  if (layer === lit) return;
  for (const node of all(".hot")) node.classList.remove("hot");
  if (layer !== null) for (const node of all(`[data-layer="${layer}"]`)) node.classList.add("hot");
  lit = layer;
}
function about(node, x, y) {
  const layer = Number(node.dataset.layer);
  light(layer);
  show(x, y, data.tips[layer][0], data.tips[layer][1]);
}
for (const part of all("#cycles, #traffic, #roofline")) {
  const nodes = [...part.querySelectorAll("[data-layer]")];
  nodes.forEach((node, place) => {
    node.addEventListener("mousemove", (event) => about(node, event.clientX, event.clientY));
    node.addEventListener("mouseleave", hide);
    node.addEventListener("focus", () => {
      const box = node.getBoundingClientRect();
      about(node, box.left + Math.min(box.width / 3, 260), box.bottom - 10);
    });
    node.addEventListener("blur", hide);
    node.addEventListener("click", () => visit(Number(node.dataset.layer)));
    node.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
      if (event.key === "Enter") visit(Number(node.dataset.layer));
      else if (event.key === "Escape") hide();
      else if (step && nodes[place + step]) {
        event.preventDefault();
        node.tabIndex = -1;
        nodes[place + step].tabIndex = 0;
        nodes[place + step].focus();
      }
    });
  });
}
for (const row of all("#layers tbody tr")) {
  row.addEventListener("mouseenter", () => light(Number(row.dataset.layer)));
  row.addEventListener("mouseleave", () => light(null));
}

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
document.getElementById("scale").addEventListener("click", (event) => {
  const on = document.getElementById("cycles").classList.toggle("share");
  event.currentTarget.setAttribute("aria-pressed", on);
});

// The table: a click on a heading sorts by it, another one turns the order.
all("#layers thead th").forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  const body = document.querySelector("#layers tbody");
  const value = (row) => row.cells[column].dataset.v === undefined ? row.cells[column].textContent : Number(row.cells[column].dataset.v);
  const text = typeof value(body.rows[0]) === "string";
  const turn = head.getAttribute("aria-sort") === (text ? "ascending" : "descending");
  for (const other of all("#layers thead th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", text !== turn ? "ascending" : "descending");
  const sign = text !== turn ? 1 : -1;
  body.append(...[...body.rows].sort((a, b) => sign * (text ? value(a).localeCompare(value(b), "en", { numeric: true }) : value(a) - value(b))));
}));

// The timeline.
const time = data.timeline, plot = document.getElementById("time");
const GUTTER = 150, HEIGHT = 22, GAP = 5, HUES = 8, LEVELS = 4, FEWEST = 50;
const step = time.noted ? 4 : 3;
for (const unit of time.units) {  // flat gaps and lengths to absolute cycles
  let now = 0;
  const n = unit.spans.length / step;
  unit.start = new Float64Array(n); unit.end = new Float64Array(n); unit.layer = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    unit.start[i] = now += unit.spans[i * step];
    unit.end[i] = now += unit.spans[i * step + 1];
    unit.layer[i] = unit.spans[i * step + 2];
  }
}
const strips = [["layers", time.layers]];
if (time.measured.length) strips.push(["layers, measured", time.measured]);
const end = Math.max(time.cycles, time.measured.length ? time.measured[time.measured.length - 1] : 0, 1);
let from = 0, to = end, width = 1000;

function firstAfter(sorted, value) {  // number of entries that are at most value
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1; else high = middle;
  }
  return low;
}

// One path per colour and paleness: columns of a pixel, each with its share of work and the layer with most of it.
function drawUnit(unit, y) {
  const columns = Math.floor(width - GUTTER), scale = columns / (to - from);
  const share = new Float64Array(columns), most = new Float64Array(columns), layer = new Int32Array(columns);
  for (let i = firstAfter(unit.end, from); i < unit.start.length && unit.start[i] < to; i++) {
    const a = Math.max(0, (unit.start[i] - from) * scale), b = Math.min(columns, (unit.end[i] - from) * scale);
    for (let x = Math.floor(a); x < b; x++) {
      const part = Math.min(b, x + 1) - Math.max(a, x);
      share[x] += part;
      if (part > most[x]) { most[x] = part; layer[x] = unit.layer[i]; }
    }
  }
  const paths = new Map();
  const kind = (x) => share[x] <= 0 ? -1 : (layer[x] % HUES) * (LEVELS + 1) + Math.min(LEVELS, Math.ceil(share[x] * LEVELS - 1e-6));
  for (let x = 0, start = 0; x < columns; x = start) {
    const key = kind(x);
    for (start = x + 1; start < columns && kind(start) === key; start++);
    if (key >= 0) paths.set(key, (paths.get(key) || "") + `M${GUTTER + x} ${y}h${start - x}v${HEIGHT}h${x - start}z`);
  }
  for (const [key, d] of paths) {
    element(plot, "path", { d, class: "h" + Math.floor(key / (LEVELS + 1)), opacity: (key % (LEVELS + 1)) / LEVELS });
  }
}

function drawStrip(starts, y) {
  const scale = (width - GUTTER) / (to - from);
  for (let i = 0; i + 1 < starts.length; i++) {
    const a = Math.max(0, (starts[i] - from) * scale), b = Math.min(width - GUTTER, (starts[i + 1] - from) * scale);
    if (b <= a) continue;
    element(plot, "rect", { x: GUTTER + a, y, width: Math.max(b - a - 1, .3), height: HEIGHT, class: "h" + i % HUES });
    const room = Math.floor((b - a - 8) / 7), name = data.tips[i][0];
    if (room >= 2) {
      const shown = name.length > room ? name.slice(0, room - 1) + "\u2026" : name;
      element(plot, "text", { x: GUTTER + a + 4, y: y + 15, class: "inside" }, shown);
    }
  }
}

function draw() {
  width = Math.max(plot.getBoundingClientRect().width, 400);
  plot.replaceChildren();
  const top = 14, pitch = HEIGHT + GAP, rows = strips.length + time.units.length, bottom = top + rows * pitch;
  plot.setAttribute("viewBox", `0 0 ${width} ${bottom + 22}`);
  const inner = width - GUTTER;
  element(plot, "rect", { class: "track", x: GUTTER, y: 0, width: inner, height: 6, rx: 3 });
  const shown = Math.max((to - from) / end * inner, 3);
  element(plot, "rect", { class: "h7", x: GUTTER + Math.min(from / end * inner, inner - shown), y: 0, width: shown, height: 6, rx: 3 });
  strips.forEach(([name, starts], i) => {
    element(plot, "text", { x: 0, y: top + i * pitch + 15, class: "strong" }, name);
    drawStrip(starts, top + i * pitch);
  });
  time.units.forEach((unit, i) => {
    const y = top + (strips.length + i) * pitch;
    const label = element(plot, "text", { x: 0, y: y + 15, class: "strong" }, unit.name);
    element(label, "title", {}, unit.does);
    element(plot, "rect", { class: "track", x: GUTTER, y, width: inner, height: HEIGHT });
    drawUnit(unit, y);
  });
  const rough = (to - from) / (inner / 110), power = 10 ** Math.floor(Math.log10(rough));
  const tick = Math.max(1, power * [1, 2, 5, 10].find((m) => m * power >= rough));
  for (let t = Math.ceil(from / tick) * tick; t <= to; t += tick) {
    const x = GUTTER + (t - from) / (to - from) * inner;
    element(plot, "path", { class: "grid", d: `M${x} ${top}V${bottom + 2}`, "stroke-opacity": .6 });
    element(plot, "text", { x: Math.min(x, width - 20), y: bottom + 16, "text-anchor": "middle" }, count(t));
  }
  element(plot, "text", { x: 0, y: bottom + 16 }, "cycle");
}

let waiting = false;
function range(a, b) {
  const length = Math.min(Math.max(b - a, Math.min(FEWEST, end)), end);
  from = Math.min(Math.max(a, 0), end - length);
  to = from + length;
  if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
  waiting = true;
}
function zoom(factor, at) { range(at - (at - from) * factor, at + (to - at) * factor); }
function move(how) {
  const length = to - from, middle = (from + to) / 2;
  ({ in: () => zoom(.5, middle), out: () => zoom(2, middle), left: () => range(from - length / 4, to - length / 4),
    right: () => range(from + length / 4, to + length / 4), all: () => range(0, end) })[how]();
}
function visit(layer) {
  const a = time.layers[layer], b = time.layers[layer + 1], margin = Math.max(b - a, FEWEST) * .08;
  range(a - margin, b + margin);
  plot.scrollIntoView({ block: "center" });
}
for (const button of all("[data-move]")) button.addEventListener("click", () => move(button.dataset.move));
plot.addEventListener("keydown", (event) => {
  const how = { ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out", 0: "all" }[event.key];
  if (how && !event.ctrlKey && !event.metaKey) { event.preventDefault(); move(how); }
});
const place = (event) => {
  const box = plot.getBoundingClientRect(), k = width / box.width;
  return { x: (event.clientX - box.left) * k, y: (event.clientY - box.top) * k };
};
const cycle = (x) => from + (x - GUTTER) / (width - GUTTER) * (to - from);
plot.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey && document.activeElement !== plot) return;
  event.preventDefault();
  zoom(Math.exp(Math.sign(event.deltaY) * .25), cycle(Math.max(place(event).x, GUTTER)));
}, { passive: false });
let held = null;
plot.addEventListener("pointerdown", (event) => {
  held = { x: place(event).x, from, to };
  plot.setPointerCapture(event.pointerId);
  plot.classList.add("drag");
});
plot.addEventListener("pointerup", () => { held = null; plot.classList.remove("drag"); });
plot.addEventListener("pointermove", (event) => {
  const p = place(event);
  if (held) {
    const by = (held.x - p.x) / (width - GUTTER) * (held.to - held.from);
    range(held.from + by, held.to + by);
    return hide();
  }
  const line = Math.floor((p.y - 14) / (HEIGHT + GAP)), at = cycle(p.x);
  if (p.x < GUTTER || line < 0 || line >= strips.length + time.units.length) return hide();
  if (line < strips.length) {
    const starts = strips[line][1], layer = firstAfter(starts, at) - 1;
    if (layer + 1 >= starts.length) return hide();
    light(layer);
    return show(event.clientX, event.clientY, data.tips[layer][0], [["cycles", count(starts[layer + 1] - starts[layer])], ["from", count(starts[layer])], ["to", count(starts[layer + 1])]]);
  }
  const unit = time.units[line - strips.length];
  const i = firstAfter(unit.start, at) - 1, slack = 2 / (width - GUTTER) * (to - from);
  if (i < 0 || at > unit.end[i] + slack) {
    light(null);
    return show(event.clientX, event.clientY, unit.name, [["idle", "cycle " + count(at)]]);
  }
  light(unit.layer[i]);
  const rows = [["layer", data.tips[unit.layer[i]][0]], ["cycles", count(unit.end[i] - unit.start[i])], ["from", count(unit.start[i])], ["to", count(unit.end[i])]];
  if (time.noted) rows.unshift(["job", time.notes[unit.spans[i * step + 3]]]);
  show(event.clientX, event.clientY, unit.name + ": " + unit.does, rows);
});
plot.addEventListener("pointerleave", hide);
addEventListener("resize", draw);
addEventListener("beforeprint", draw);
draw();
})();
