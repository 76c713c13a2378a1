// Curves, drawn by uPlot in the page's colours.

import { day, hourMinute, clock, isUtc, measure } from "./format.js";

const { uPlot } = window;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = () => `12px ${css("--sans")}`;

function times(_, splits, _axis, _space, step) {
  if (step >= 86_400) return splits.map((at) => day(at * 1000));
  const short = step >= 60 ? hourMinute : clock;
  let before = null;
  return splits.map((at) => {
    const name = day(at * 1000);
    const isNew = before !== null && name !== before;
    before = name;
    return isNew ? `${short(at * 1000)}\n${name}` : short(at * 1000);
  });
}

/** Room for a second line where a day begins. */
const timesRoom = (_, values) => (values?.some((value) => value?.includes("\n")) ? 44 : 28);

/** Room for the longest number. */
const numbersRoom = (_, values) => 16 + 7 * Math.max(2, ...(values ?? []).map((value) => String(value ?? "").length));

/** The top of a chart of rates: what is far above the usual, as when a backlog is read, is cut off. */
function top(values) {
  const sorted = values.filter((value) => value != null).sort((a, b) => a - b);
  const usual = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const most = sorted.at(-1) ?? 0;
  return Math.max(1, (usual > 0 && most > 8 * usual ? 2 * usual : most) * 1.15);
}

function axis(more) {
  return {
    font: font(),
    stroke: () => css("--soft"),
    grid: { stroke: () => css("--line"), width: 1 },
    ticks: { show: false },
    ...more,
  };
}

function base(height, more) {
  return {
    height,
    width: 600,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
    tzDate: (at) => (isUtc() ? uPlot.tzDate(new Date(at * 1000), "UTC") : new Date(at * 1000)),
    ...more,
  };
}

/** Puts a chart into an element and keeps it as wide; gives it with what takes it away. */
function place(options, data, element) {
  const plot = new uPlot(options, data, element);
  const fit = () => element.clientWidth && plot.setSize({ width: element.clientWidth, height: options.height });
  const observer = new ResizeObserver(fit);
  observer.observe(element);
  const redraw = () => plot.redraw(false, true);
  addEventListener("theme", redraw);
  fit();
  return {
    plot,
    set: (next) => plot.setData(next),
    end: () => {
      observer.disconnect();
      removeEventListener("theme", redraw);
      plot.destroy();
    },
  };
}

/** One line over time, from zero on. */
export function rateChart(element, data, onHover) {
  const options = base(190, {
    scales: { x: { time: true }, y: { range: (plot) => [0, top(plot.data[1])] } },
    axes: [axis({ values: times, size: timesRoom, space: 70 }), axis({ size: numbersRoom, values: (_, splits) => splits.map((value) => measure(value)) })],
    series: [{}, { stroke: () => css("--accent"), width: 2, fill: () => css("--band"), points: { show: false } }],
    hooks: { setCursor: [(plot) => onHover?.(plot.cursor.idx)] },
  });
  return place(options, data, element);
}

/** Spans of time behind a curve, and limits as lines: what was found to be wrong, and what was expected. */
function drawSpans({ ctx, bbox, valToPos }, spans) {
  ctx.save();
  for (const { from, to, severity } of spans) {
    const [left, right] = [from, to].map((at) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, valToPos(at, "x", true))));
    const colour = css(severity === "critical" ? "--bad" : severity === "warning" ? "--corrected" : "--soft");
    const width = Math.max(2, right - left);
    ctx.fillStyle = colour;
    ctx.globalAlpha = 0.14;
    ctx.fillRect(left, bbox.top, width, bbox.height);
    ctx.globalAlpha = 1;
    ctx.fillRect(left, bbox.top, width, 3 * devicePixelRatio);
  }
  ctx.restore();
}

function drawLimits({ ctx, bbox, valToPos }, limits) {
  ctx.save();
  ctx.strokeStyle = css("--bad");
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const limit of limits) {
    const y = valToPos(limit, "y", true);
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
  }
  ctx.restore();
}

/** A band from least to greatest, the mean, a high quantile, and marks for what was corrected or is still open.
 * data: [times, greatest, least, mean, quantile, corrected, live]; marks: {spans, limits}; usual: {min, max}. */
export function bandChart(element, data, marks, { onHover, label, usual, span }) {
  const dot = (stroke, fill, size) => ({
    stroke: () => css(stroke),
    paths: () => null,
    points: { show: true, size, width: 2, stroke: () => css(stroke), fill: () => css(fill) },
  });
  const edge = { stroke: () => css("--band"), width: 1, points: { show: false } };
  // A point without neighbours has no line.
  const single = (plot, index) => {
    const values = plot.data[index];
    return values.reduce((found, value, at) => {
      if (value != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
      return found;
    }, []);
  };
  const line = (stroke, more) => ({
    stroke: () => css(stroke), width: 2, points: { show: true, filter: single, size: 4, fill: () => css(stroke) }, ...more,
  });
  const options = base(element.clientWidth < 500 ? 240 : 320, {
    scales: { x: { time: true, range: () => span() } },
    axes: [
      axis({ values: times, size: timesRoom, space: 70 }),
      axis({ label, labelFont: font(), labelSize: 20, size: numbersRoom, values: (_, splits) => splits.map((value) => measure(value)) }),
    ],
    bands: [{ series: [1, 2], fill: () => css("--band") }],
    series: [
      {},
      edge,
      edge,
      line("--accent"),
      line("--soft", { width: 1.5, dash: [5, 5] }),
      dot("--corrected", "--surface", 9),
      dot("--accent", "--accent", 9),
    ],
    hooks: {
      setCursor: [(plot) => onHover?.(plot.cursor.idx)],
      drawClear: [(plot) => shade(plot, usual), (plot) => drawSpans(plot, marks.spans)],
      draw: [(plot) => drawLimits(plot, marks.limits)],
    },
  });
  const chart = place(options, data, element);
  const set = (next, nextMarks) => {
    marks = nextMarks;
    chart.set(next);
  };
  return { ...chart, set };
}

/** Shades what lies above and below the usual values. */
function shade(plot, { min, max }) {
  const { left, top, width, height } = plot.bbox;
  const inside = (value) => Math.min(top + height, Math.max(top, plot.valToPos(value, "y", true)));
  plot.ctx.fillStyle = css("--unusual");
  if (max != null) plot.ctx.fillRect(left, top, width, inside(max) - top);
  if (min != null) plot.ctx.fillRect(left, inside(min), width, top + height - inside(min));
}
