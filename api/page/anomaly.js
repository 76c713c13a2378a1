// One anomaly in words, and as an entry of a list.

import { h, s } from "./dom.js";
import { clock, day, full, hourMinute, lasted, measure } from "./format.js";
import { unitOf } from "./metrics.js";

/** What makes an anomaly the same one. */
export const keyOf = (one) => JSON.stringify([one.rule, one.device_id, one.metric, one.started_at]);

/** The order of a list: those that started last first, then by device, metric and rule. */
export function before(a, b) {
  if (a.started_at !== b.started_at) return a.started_at > b.started_at ? -1 : 1;
  for (const name of ["device_id", "metric", "rule"]) {
    const [left, right] = [a[name] ?? "", b[name] ?? ""];
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}

const value = (number, unit) => measure(number) + unit;

/** What was found, in words; of a detector that this page doesn't know, as the server says it. */
export function what(one) {
  const { kind, of, high, low, worst } = one.evidence;
  const unit = unitOf(one.metric ?? "");
  if (kind === "dead_man") return "no reading of any metric";
  if (kind !== "threshold") return one.summary;
  const isAbove = high != null && worst.value > high;
  return `${of} of ${one.metric} ${value(worst.value, unit)}, ${isAbove ? `above ${value(high, unit)}` : `below ${value(low, unit)}`}`;
}

/** How long it went on, or has been going on. */
export function howLong(one) {
  const end = one.ended_at == null ? Date.now() : Date.parse(one.ended_at);
  return lasted(Math.max(0, Math.round((end - Date.parse(one.started_at)) / 1000)));
}

/** From when to when, as short as it is clear. */
export function when(one) {
  const today = (time) => day(time) === day(Date.now());
  const short = (time) => (today(time) ? hourMinute(time) : `${day(time)}, ${hourMinute(time)}`);
  if (one.ended_at == null) return one.status === "raised" ? `since ${short(one.started_at)}` : short(one.started_at);
  const end = day(one.started_at) === day(one.ended_at) ? hourMinute(one.ended_at) : short(one.ended_at);
  return `${short(one.started_at)} to ${end}`;
}

const SHAPES = { critical: "M8 1.5 15 14H1z", warning: "M8 1 15 8 8 15 1 8z", info: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z" };

/** How bad it is: a word, a shape and a colour. */
export const severity = (name) => h(`span.severity.is-${name}`, null,
  s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: SHAPES[name] ?? SHAPES.info })), name);

/** The view of its series around its time; of the whole device the first of its series. */
export function seriesLink(one) {
  const [start, end] = [Date.parse(one.started_at), one.ended_at == null ? "" : Date.parse(one.ended_at)];
  const metric = one.metric == null ? "" : `/${encodeURIComponent(one.metric)}/${start}-${end}`;
  return `#/device/${encodeURIComponent(one.device_id)}${metric}`;
}

function expected({ low, high }, unit) {
  if (low != null && high != null) return `from ${value(low, unit)} to ${value(high, unit)}`;
  if (high != null) return `at most ${value(high, unit)}`;
  return low == null ? null : `at least ${value(low, unit)}`;
}

const fact = (name, words) => words != null && h("div", null, h("dt", null, name), h("dd", null, words));

/** Why it is one, in words. */
function facts(one) {
  const unit = unitOf(one.metric ?? "");
  const { first, worst, minutes } = one.evidence;
  const seen = (point) => point && `${value(point.value, unit)} at ${clock(point.at)}`;
  return h("dl.facts", null,
    fact("rule", one.rule),
    fact("expected", minutes == null ? expected(one.expected, unit) : `a reading within ${minutes} min`),
    fact("began with", seen(first)),
    fact("farthest out", seen(worst)),
    fact("started", full(one.started_at)),
    fact(one.status === "withdrawn" ? "withdrawn" : "ended", one.status === "withdrawn" ? "late readings have shown that it never was" : one.ended_at && full(one.ended_at)));
}

/** An entry of a list; without `linked` it is shown beside its series. */
export function entry(one, linked = true) {
  return h(`details.anomaly.is-${one.status}`, { "data-key": keyOf(one) },
    h("summary", null, severity(one.severity),
      h("span.whose", null, one.device_id),
      h("span.what", null, what(one)),
      h("time", { datetime: one.started_at, title: full(one.started_at) }, when(one), h("small", null, howLong(one)))),
    h("div.inside", null, facts(one),
      linked && h("p", null, h("a", { href: seriesLink(one) }, one.metric == null ? `Show ${one.device_id}` : "Show the series around it"))));
}
