// What fills the window, and how its shares went, over session time. Drawn by uPlot, which is loaded before this.

import { byId, choice, glyph, h, replace, set } from "./dom.js";
import { clockTime, COMPONENTS, dayTime, percent, short, title, tokens } from "./format.js";

const HEIGHT = 240;
const SHORTEST = 30; // seconds from the left to the right edge, at least
const PAUSE = 800; // milliseconds between two drawings
const MOST = 2400; // points; beyond, every other older one goes
const HELD = 0.02; // of the width, for which the last level is drawn
const KINDS = [
  ["cleaned_up", "wedge", "cleanup"],
  ["exhausted", "bang", "exhausted"],
  ["compacted", "fold", "compaction"],
  ["shares_adjusted", "scale", "shares adjusted"],
];
const TONES = { cleaned_up: "low", exhausted: "high", compacted: "moderate", shares_adjusted: "accent" };

export class Chart {
  #root = byId("chart");
  #what = "tokens";
  #data = null;
  #plot = null;
  #timer = 0;
  #version = 0; // up to which entries are in it

  constructor() {
    choice(byId("chart-choice"), [["tokens", "Tokens"], ["shares", "Shares"]], "tokens", (what) => {
      this.#what = what;
      this.#draw();
    });
    const again = () => this.#data && this.#draw();
    document.documentElement.addEventListener("theme", again);
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#root);
  }

  clear() {
    this.#data = null;
    this.#plot?.destroy();
    this.#plot = null;
    replace(this.#root);
    replace(byId("marks"));
  }

  // A history as the sidecar folds it: columns of times and levels, and marks.
  begin(history) {
    this.#data = history;
    this.#version = history.version;
    this.#draw();
  }

  // How the window stands now. A report has its version if it came by the stream, and its time in milliseconds only.
  report(report) {
    const data = this.#data;
    if (!data || !(report.version > this.#version)) return;
    this.#version = report.version;
    data.times.push(Math.max(Date.parse(report.timestamp) / 1000, data.times.at(-1) ?? 0));
    data.total.push(report.overall.total_tokens);
    data.unattributed.push(report.overall.unattributed_tokens);
    for (const name of COMPONENTS) {
      data.used[name].push(report.components[name].used_tokens);
      data.allocated[name].push(report.components[name].allocated_tokens);
    }
    if (data.times.length > MOST) thin(data);
    this.#soon();
  }

  mark(entry) {
    if (!this.#data || !(entry.type in TONES)) return;
    this.#data.marks.push({ time: Date.parse(entry.time) / 1000, type: entry.type });
    this.#soon();
  }

  #soon() {
    if (!this.#timer) this.#timer = setTimeout(() => this.#draw(true), PAUSE);
  }

  #size() {
    return { width: Math.max(240, this.#root.clientWidth), height: HEIGHT };
  }

  #draw(update = false) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const data = this.#data;
    if (!data || document.hidden) return document.hidden && this.#data ? this.#soon() : undefined;
    const [columns, raw] = this.#what === "tokens" ? stacked(data) : lines(data);
    hold(columns);
    this.raw = raw;
    set(this.#root, { "aria-label": told(data, this.#what) });
    this.#legend(data);
    if (update && this.#plot?.series.length === columns.length) return this.#update(columns);
    this.#plot?.destroy();
    replace(this.#root);
    this.#plot = new uPlot(this.#options(), columns, this.#root);
  }

  // New points, without taking away a stretch that the viewer has zoomed into.
  #update(columns) {
    const plot = this.#plot;
    const { min, max } = plot.scales.x;
    const drawn = plot.data[0]; // the points as they were last drawn, which set the scale unless the viewer did
    const zoomed = drawn.length > 0 && (min > drawn[0] || max < drawn.at(-1));
    plot.setData(columns, !zoomed);
    if (zoomed) plot.redraw();
  }

  #options() {
    const colour = colours(this.#root);
    const [soft, line, ink] = ["faint", "line", "ink"].map(colour);
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: soft, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const value = (_, __, series, at) => this.#value(series, at ?? this.#data.times.length - 1);
    const hues = [null];
    const drawn = (name) => (this.#what === "tokens" ? { fill: colour(name), stroke: colour("card"), width: 1 } : { stroke: colour(name), width: 2 });
    const paths = uPlot.paths.stepped({ align: 1 });
    const parts = COMPONENTS.map((name) => ({ label: title(name), value, paths, points: { show: false }, ...drawn(name) }));
    const whole = { ...parts[0], label: "Window", fill: null, stroke: ink, width: 1.5, dash: [4, 4] };
    const unattributed = { ...parts[0], label: "Unattributed", fill: colour("unattributed") };
    const layers = [whole, ...(this.raw.length > parts.length + 1 ? [unattributed] : []), ...parts.toReversed()];
    const series = this.#what === "tokens" ? layers : parts;
    hues.push(...series.map((each) => each.fill ?? each.stroke));
    return {
      ...this.#size(),
      padding: [10, 18, 0, 0],
      cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false } },
      legend: { show: true, live: true, markers: { width: 0, fill: (_, at) => hues[at] } },
      scales: { x: { time: true }, y: { range: (_, __, most) => [0, this.#what === "tokens" ? most * 1.04 : Math.max(0.5, most * 1.1)] } },
      axes: [{ ...axis, space: 70, size: 30, values: (_, splits, __, ___, step) => splits.map((each) => timeOn(each, step)) }, { ...axis, size: 46, values: (_, values) => values.map((each) => (this.#what === "tokens" ? short(each) : percent(each))) }],
      series: [{ label: "At", value: (_, time) => clockTime(Math.min(time ?? Infinity, this.#data.times.at(-1)) * 1000) }, ...series],
      hooks: { draw: [(plot) => this.#marks(plot, colour)] },
    };
  }

  #value(series, at) {
    const column = this.raw[series - 1] ?? [];
    const value = column[Math.min(at, column.length - 1)];
    if (value === undefined) return "";
    return this.#what === "tokens" ? tokens(value) : `${(value * 100).toFixed(1)}\u00a0%`;
  }

  #marks(plot, colour) {
    const { ctx } = plot;
    const ratio = devicePixelRatio;
    const bottom = plot.bbox.top;
    ctx.save();
    for (const { time, type } of this.#data.marks) {
      const x = plot.valToPos(time, "x", true);
      if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) continue;
      ctx.fillStyle = ctx.strokeStyle = colour(TONES[type]);
      ctx.beginPath();
      drawShape(ctx, type, x, bottom - 1 * ratio, 4 * ratio);
      ctx.fill();
    }
    ctx.restore();
  }

  #legend(data) {
    const kinds = KINDS.filter(([type]) => data.marks.some((mark) => mark.type === type));
    replace(byId("marks"), kinds.map(([type, shape, name]) => {
      const item = h("span", {}, glyph(shape), name);
      item.style.color = "inherit";
      item.firstChild.style.fill = `var(--${TONES[type]})`;
      return item;
    }));
  }
}

function timeOn(time, step) {
  if (step >= 43_200) return dayTime(time * 1000);
  return clockTime(time * 1000).slice(0, step < 60 ? 8 : 5);
}

// Layers from the whole to the first component: each hides the lower part of the one before it.
function stacked(data) {
  const layers = COMPONENTS.map((name) => data.used[name]);
  const sums = [];
  layers.forEach((layer, at) => sums.push(layer.map((value, point) => value + (at ? sums[at - 1][point] : 0))));
  const rest = data.unattributed.some(Boolean) ? [data.unattributed] : [];
  const whole = rest.map((column) => column.map((value, point) => value + sums.at(-1)[point]));
  return [
    [data.times, data.total, ...whole, ...sums.toReversed()],
    [data.total, ...rest, ...layers.toReversed()],
  ];
}

function lines(data) {
  const shares = COMPONENTS.map((name) => data.allocated[name].map((value, at) => value / (COMPONENTS.reduce((sum, each) => sum + data.allocated[each][at], 0) || 1)));
  return [[data.times, ...shares], shares];
}

// Each level is drawn from its point to the next, so the last one is held for a little: it would have no width, and how
// the window stands now could not be seen. A session of a moment is drawn as if it had lasted longer.
function hold(columns) {
  const [times] = columns;
  if (times.length === 0) return;
  const span = times.at(-1) - times[0];
  columns.forEach((column, at) => {
    columns[at] = [...column, at ? column.at(-1) : times[0] + Math.max(SHORTEST, span * (1 + HELD))];
  });
}

function thin(data) {
  const keep = (column) => column.filter((_, at) => at % 2 === 0 || at >= MOST / 2);
  for (const name of ["times", "total", "unattributed"]) data[name] = keep(data[name]);
  for (const name of COMPONENTS) {
    data.used[name] = keep(data.used[name]);
    data.allocated[name] = keep(data.allocated[name]);
  }
}

function drawShape(ctx, type, x, y, r) {
  if (type === "cleaned_up") {
    ctx.moveTo(x - r, y - 2 * r);
    ctx.lineTo(x + r, y - 2 * r);
    ctx.lineTo(x, y);
  } else if (type === "exhausted") {
    ctx.moveTo(x, y - 2 * r);
    ctx.lineTo(x + r, y);
    ctx.lineTo(x - r, y);
  } else ctx.rect(x - r * 0.8, y - 1.8 * r, 1.6 * r, 1.6 * r);
}

// A colour of the theme as the canvas can use it: `light-dark()` is resolved by a real property only.
function colours(root) {
  const probe = root.appendChild(h("i"));
  const known = {};
  return (name) => {
    if (!(name in known)) {
      if (!probe.isConnected) root.append(probe);
      probe.style.color = `var(--${name})`;
      known[name] = getComputedStyle(probe).color;
      probe.remove();
    }
    return known[name];
  };
}

function told(data, what) {
  const last = data.times.length - 1;
  if (last < 0) return "Chart without points";
  const level = (name) => (what === "tokens" ? tokens(data.used[name][last]) : percent(data.allocated[name][last] / (data.total[last] || 1)));
  const parts = COMPONENTS.map((name) => `${title(name)} ${level(name)}`).join(", ");
  return `${what === "tokens" ? "Tokens by component" : "Shares"} over time. Now: ${parts}.`;
}
