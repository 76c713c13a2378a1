// One series: its band, what was corrected, and what it is now.

import { get, seriesPath } from "./api.js";
import { bandChart } from "./chart.js";
import { failure, h, notice, text, waiting } from "./dom.js";
import { clock, count, day, full, hourMinute, measure } from "./format.js";
import { on, want } from "./live.js";
import { marks } from "./marks.js";
import { about, nameOf, unitOf } from "./metrics.js";

const MINUTE = 60_000;
const DAY = 1_440 * MINUTE;
/** How far back, of which windows, and put together in which steps. */
const RANGES = [
  { name: "15m", length: 15 * MINUTE, step: MINUTE },
  { name: "1h", length: 60 * MINUTE, step: MINUTE },
  { name: "6h", length: 360 * MINUTE, step: MINUTE },
  { name: "24h", length: 1_440 * MINUTE, step: 5 * MINUTE, asked: { step: "5m", agg: "avg,min,max,count" } },
  { name: "7d", length: 7 * DAY, step: 60 * MINUTE, asked: { window: "1h" }, otherwise: { step: "1h" } },
  { name: "30d", length: 30 * DAY, step: 60 * MINUTE, asked: { window: "1h" }, otherwise: { window: "1d" } },
  { name: "1y", length: 366 * DAY, step: DAY, asked: { window: "1d" }, otherwise: { window: "1h", step: "1day" } },
];
const TABLE_ROWS = 12;
/** How often is looked for a series that there isn't yet, and again at one that lags behind the clock. */
const BEHIND_MS = 2_000;
/** From when on it lags behind. */
const BACKLOG_MS = 10 * MINUTE;
const AGAIN_MS = 60_000;

/** Around an anomaly it shows at least so much before and after. */
const AROUND = 30 * MINUTE;
const AHEAD = 10 * MINUTE;
/** Up to a length, in which steps: as many as one question may ask for. */
const STEPS = [
  { upTo: 720 * MINUTE, step: MINUTE },
  { upTo: 4_320 * MINUTE, step: 5 * MINUTE, asked: { step: "5m", agg: "avg,min,max,count" } },
  { upTo: Infinity, step: 60 * MINUTE, asked: { window: "1h" }, otherwise: { step: "1h" } },
];

let chosen = RANGES[1];
let high = false;

/** The range that an address asks for, as in "1795773720000-1795774140000"; without an end until now. */
function around(words) {
  const [, start, end] = /^(\d+)-(\d*)$/.exec(words ?? "") ?? [];
  if (!start) return null;
  const now = Date.now();
  const length = (end ? Number(end) : now) - Number(start);
  const more = Math.max(AROUND, length / 2);
  const [from, to] = [Number(start) - more, end ? Math.min(now + AHEAD, Number(end) + more) : now + AHEAD];
  const how = STEPS.find(({ upTo }) => to - from <= upTo);
  return { name: "around", label: `${day(Number(start))}, ${hourMinute(Number(start))}`, from, to, ...how };
}

/** A row or step as a point. */
function point(row) {
  return {
    at: Date.parse(row.window_start ?? row.start),
    mean: row.mean ?? row.avg ?? null,
    min: row.min,
    max: row.max,
    p95: row.p95 ?? null,
    last: row.last ?? null,
    count: row.count,
    revision: row.revision,
    status: row.status ?? (row.live ? "live" : row.corrected ? "corrected" : "final"),
  };
}

/** A series' line is broken where nothing came for so many of its intervals. */
const GAP = 1.5;

/** Whether nothing came for long between a point and the one before it: longer than the series is used to around there. */
function isGap(points, at, step) {
  const space = (index) => (points[index] && points[index - 1] ? points[index].at - points[index - 1].at : 0);
  return at > 0 && space(at) > GAP * Math.max(step, space(at - 1), space(at + 1));
}

/** The columns of a chart; the line is broken at a gap. */
function columns(points, step) {
  const data = [[], [], [], [], [], [], []];
  const push = (...values) => values.forEach((value, at) => data[at].push(value));
  for (const [at, one] of points.entries()) {
    if (isGap(points, at, step)) push((points[at - 1].at + step) / 1000, null, null, null, null, null, null);
    const marked = (status) => (one.status === status ? one.mean : null);
    push(one.at / 1000, one.max, one.min, one.mean, high ? one.p95 : null, marked("corrected"), marked("live"));
  }
  return data;
}

const isOutside = (value, { min, max }) => value != null && ((min != null && value < min) || (max != null && value > max));

/** What the shade says, when it is known what is usual. */
function usualKey({ min, max }, unit) {
  if (min == null && max == null) return null;
  const range = max == null ? `${measure(min)}${unit} and more` : min == null ? `${measure(max)}${unit} and less` : `${measure(min)} to ${measure(max)}${unit}`;
  return h("span", null, h("i.of-unusual"), `outside of the usual ${range}`);
}

export function show(main, [device, metric, when], signal) {
  if (!device) return void (location.hash = "#/devices");
  if (!metric) {
    firstMetric(main, device, signal);
    return undefined;
  }
  const [usual, unit] = [about(metric), unitOf(metric)];
  const value = h("span.value", { id: "value" }, "—");
  const detail = h("p.detail", { id: "value-detail" });
  const chips = h("nav.chips", { "aria-label": "Metrics of this device" });
  const own = around(when);
  let range = own ?? chosen;
  const segments = h("div.segments", { role: "group", "aria-label": "Range" }, [...RANGES, own].filter(Boolean).map((one) =>
    h("button", { type: "button", "data-range": one.name, "aria-pressed": String(one === range), onclick: () => choose(one) }, one.label ?? one.name)));
  const box = h("input", { type: "checkbox", onchange: () => { high = box.checked; draw(); } });
  box.checked = high;
  const readout = h("p.readout", { "aria-live": "off" });
  const plot = h("div.chart", { role: "img", "aria-label": `${nameOf(metric)} of ${device} over time` });
  const key = h("div.key", null,
    h("span", null, h("i"), "mean"), h("span", null, h("i.of-band"), "least to greatest"),
    h("span", null, h("i.of-high"), "p95"), h("span", null, h("i.of-corrected"), "corrected"),
    h("span", null, h("i.of-live"), "still open"), h("span", null, h("i.of-found"), "anomaly"), h("span", null, h("i.of-limit"), "limit"), usualKey(usual, unit));
  const body = h("tbody");
  const table = h("section.card", null, h("h2", null, "Latest windows"), h("div.scroll", { tabindex: 0, role: "region", "aria-label": "Latest windows" },
    h("table", null, h("thead", null, h("tr", null,
      h("th", { scope: "col" }, "from"), ["readings", "mean", "least", "greatest", "p95"].map((name) => h("th.number-cell", { scope: "col" }, name)),
      h("th", { scope: "col" }, "status"))), body)));
  const state = h("div", null, waiting("Loading the series"));
  const card = h("section.card", { hidden: true }, h("div.controls", null, segments, h("label.check", null, box, "p95"), readout), plot, key);
  const points = new Map();
  const found = marks(device, metric, signal);
  let curve = null;
  let asked = 0;
  let last = null;
  let timer = null;
  let closed = null;

  main.replaceChildren(
    h("div.head", null, h("h1", null, device), h("p", null, h("a", { href: "#/devices" }, "all devices"))),
    chips, h("div.current", null, value, detail), ...(usual.description ? [h("p.muted", { id: "about" }, usual.description)] : []), card, state, found.card, table);
  table.hidden = true;

  function choose(next) {
    range = next;
    if (next !== own) chosen = next;
    segments.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.range === range.name)));
    load();
  }

  async function load() {
    const question = ++asked;
    clearTimeout(timer);
    try {
      const [rows] = await Promise.all([ask(), found.load(bounds().from, bounds().to)]);
      if (question !== asked) return;
      points.clear();
      rows.map(point).forEach((one) => points.set(one.at, one));
      state.replaceChildren();
      card.hidden = false;
      table.hidden = false;
      draw();
      if (range.asked) timer = setTimeout(load, isBehind() ? BEHIND_MS : AGAIN_MS);
    } catch (problem) {
      if (signal.aborted || question !== asked) return;
      const unknown = problem.status === 404;
      state.replaceChildren(unknown ? notice("There is no such series", `${device} has sent no ${metric} that is still kept.`) : failure(problem, load));
      // It may have sent nothing yet.
      if (unknown) timer = setTimeout(load, BEHIND_MS);
    }
  }

  /** From when to when is shown. */
  function bounds() {
    const now = Date.now();
    const from = range.from ?? Math.floor(now / MINUTE) * MINUTE - range.length;
    return { from: Math.floor(from / MINUTE) * MINUTE, to: range.to ?? Math.ceil(now / MINUTE) * MINUTE + AHEAD };
  }

  async function ask() {
    const [within, path] = [bounds(), seriesPath(device, metric)];
    if (!range.asked) {
      const { rows } = await get(path, { ...within, limit: 1000 }, signal);
      // Of long ago there may be hours only.
      return rows.length || range !== own ? rows : (await get(path, { ...within, window: "1h", limit: 1000 }, signal)).rows;
    }
    try {
      const answer = await get(path, { ...within, ...range.asked, ...(range.asked.window && { limit: 1000 }) }, signal);
      return answer.points ?? answer.rows;
    } catch (problem) {
      // Windows as long may not be kept: shorter ones put together are, or longer ones.
      const { otherwise } = range;
      if (problem.status !== 404 || !otherwise) throw problem;
      const more = otherwise.step ? { agg: "avg,min,max,count" } : { limit: 1000 };
      const answer = await get(path, { ...within, ...otherwise, ...more }, signal);
      return answer.points ?? answer.rows;
    }
  }

  /** The log is read as of long ago: what comes fills the curve. */
  const isBehind = () => closed != null && closed < Date.now() - BACKLOG_MS;

  /** What the curve spans, in seconds: what is shown, without what is still to come. */
  function span() {
    const { from, to } = bounds();
    const end = Math.max(Date.now(), inOrder().at(-1)?.at ?? 0);
    return [from / 1000, Math.min(to, end) / 1000];
  }

  const inOrder = () => [...points.values()].sort((a, b) => a.at - b.at);

  function draw() {
    const all = inOrder();
    const { from, to } = bounds();
    const shown = all.filter((one) => one.at >= from - range.step && one.at < to);
    const [data, marked] = [columns(shown, range.step), found.within(from, to)];
    if (!curve) curve = bandChart(plot, data, marked, { onHover: hover, span, label: `${nameOf(metric)}${unit && `,${unit}`}`, usual });
    else curve.set(data, marked);
    state.replaceChildren(...(shown.length ? [] : [notice("Nothing in this time", "Windows come as they close; a longer time may have some.")]));
    if (!range.asked) showTable(shown);
    showValue();
  }

  function showTable(shown) {
    body.replaceChildren(...shown.slice(-TABLE_ROWS).reverse().map((one) => h("tr", null,
      h("td", { title: full(one.at) }, hourMinute(one.at)), h("td.number-cell", null, count(one.count)),
      [one.mean, one.min, one.max, one.p95].map((number) => h("td.number-cell", null, measure(number, true))),
      h("td", null, h(`span.status.is-${one.status}`, null, one.status)))));
  }

  function showValue() {
    const all = inOrder();
    const newest = last ?? all.findLast((one) => one.last != null);
    if (!newest) return;
    const words = measure(newest.last ?? newest.mean, true);
    if (value.firstChild?.textContent !== words) value.replaceChildren(words, unit ? h("small", null, unit) : "");
    const open = newest.status === "live";
    const outside = isOutside(newest.last ?? newest.mean, usual);
    value.classList.toggle("is-outside", outside);
    text(detail, `${nameOf(metric)}${outside ? ", outside of what is usual" : ""}, ${open ? "open minute" : "minute"} of ${hourMinute(newest.at)}, ${count(newest.count)} readings`);
  }

  function hover(index) {
    const at = index == null ? null : curve?.plot.data[0][index];
    const one = at == null ? null : points.get(Math.round(at * 1000));
    if (!one) return text(readout, "");
    const high = one.p95 == null ? "" : ` · p95 ${measure(one.p95)}`;
    text(readout, `${clock(one.at)} · mean ${measure(one.mean)}${unit} · ${measure(one.min)} to ${measure(one.max)}${high} · ${count(one.count)} readings · ${one.status}`);
  }

  function hear(rows) {
    let changed = false;
    for (const row of rows) {
      if (row.device_id !== device || row.metric !== metric || row.window !== "1m") continue;
      const one = point(row);
      if (one.last != null && (!last || one.at >= last.at)) last = one;
      const old = points.get(one.at);
      if (range.asked || one.at >= bounds().to || (old && one.status === "live" && old.status !== "live")) continue;
      points.set(one.at, one);
      changed = true;
    }
    if (changed && curve) draw();
    else showValue();
  }

  /** A minute is closed everywhere. */
  function hearOf({ minute }) {
    const before = isBehind();
    closed = minute?.start ? Date.parse(minute.start) : null;
    if (range.asked && isBehind() && !before) load();
  }

  function keys(event) {
    const next = RANGES[Number(event.key) - 1];
    if (next && !event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|SELECT)$/.test(event.target.tagName)) choose(next);
  }

  siblings(chips, device, metric, signal);
  load();
  want({ devices: [device], metrics: [metric], throttle_ms: 500, anomalies: true });
  addEventListener("keydown", keys);
  const offs = [on("rows", hear), on("anomalies", (anomalies) => found.hear(anomalies) && curve && draw()), on("fresh", load), on("progress", hearOf)];
  return () => {
    clearTimeout(timer);
    removeEventListener("keydown", keys);
    offs.forEach((off) => off());
    curve?.end();
  };
}

/** The device's metrics, as links. */
async function siblings(chips, device, metric, signal) {
  const metrics = await metricsOf(device, signal).catch(() => []);
  const all = metrics.includes(metric) ? metrics : [...metrics, metric];
  chips.replaceChildren(...all.map((name) => h("a.chip", {
    href: `#/device/${encodeURIComponent(device)}/${encodeURIComponent(name)}`, title: name, "aria-current": name === metric ? "page" : null,
  }, nameOf(name))));
}

async function metricsOf(device, signal) {
  const { devices } = await get("/v1/devices", { search: device, limit: 1000 }, signal);
  return devices.find((one) => one.device_id === device)?.metrics ?? [];
}

async function firstMetric(main, device, signal) {
  try {
    const metrics = await metricsOf(device, signal);
    const first = metrics.includes("temperature") ? "temperature" : metrics[0];
    if (first) return location.replace(`#/device/${encodeURIComponent(device)}/${encodeURIComponent(first)}`);
    main.replaceChildren(notice("There is no such device", `Nothing that has been published is of ${device}.`));
  } catch (problem) {
    if (!signal.aborted) main.replaceChildren(failure(problem, () => firstMetric(main, device, signal)));
  }
}
