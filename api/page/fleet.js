// The fleet at a glance.

import { get } from "./api.js";
import { rateChart } from "./chart.js";
import { failure, h, notice, s, text } from "./dom.js";
import { clock, count, hourMinute, lasted, rate, share } from "./format.js";
import { on } from "./live.js";

/** A number with its name; `show` sets it. */
function number(name, id) {
  const value = h("dd.value", { id });
  const detail = h("dd.detail");
  const meter = h("dd.meter", { hidden: true }, s("svg", { preserveAspectRatio: "none", viewBox: "0 0 100 4", "aria-hidden": "true" },
    s("rect", { width: 0, height: 4 })));
  const element = h("div.number", null, h("dt", null, name), value, detail, meter);
  const show = (main, unit, more, part) => {
    const whole = unit ? `${main} ${unit}` : main;
    if (value.textContent !== whole) value.replaceChildren(main, unit ? h("small", null, ` ${unit}`) : "");
    if (more instanceof Element) {
      if (detail.textContent !== more.textContent) detail.replaceChildren(more);
    } else text(detail, more ?? "");
    meter.hidden = part == null;
    if (part == null) return;
    meter.querySelector("rect").setAttribute("width", (100 * part).toFixed(2));
    meter.classList.toggle("is-low", part < 0.95);
  };
  return { element, show };
}

const link = (words) => h("a", { href: "#/anomalies" }, words);

const start = [
  "No device has sent anything yet. Send protobuf messages ",
  h("code", null, "Telemetry { device_id, ts, metrics }"),
  " to the topic that ",
  h("code", null, "[kafka]"),
  " names, the device's id as the key; or start without a configuration for a simulated fleet:",
];

export function show(main, _, signal) {
  const head = h("div.head", null, h("h1", null, "Fleet"), h("p", { id: "uptime" }), h("p.end", { id: "as-of" }));
  const numbers = {
    reporting: number("Reporting", "reporting"),
    completeness: number("Completeness", "completeness"),
    messages: number("Messages", "messages"),
    anomalies: number("Anomalies now", "anomalies-now"),
    late: number("Late messages", "late"),
    letters: number("Dead letters", "dead-letters"),
  };
  const list = h("dl.numbers", null, Object.values(numbers).map((one) => one.element));
  numbers.anomalies.element.hidden = true;
  const readout = h("p.end", { id: "rate-readout" });
  const plot = h("div.chart", { role: "img", "aria-label": "Messages a second over the last quarter of an hour" });
  const chart = h("section.card", null,
    h("div.title", null, h("h2", null, "Messages a second"), h("p", null, "the last 15 minutes"), readout), plot);
  const silent = h("section.card", { "aria-labelledby": "silent-title" });
  const reasons = h("section.card", { "aria-labelledby": "reasons-title" });
  const empty = notice("Waiting for the first device", null, h("p", null, start), h("pre", null, "cargo run --release"));
  const error = h("div", { hidden: true });
  let curve = null;
  let history = [];

  function update(fleet) {
    error.hidden = true;
    if (!list.isConnected) main.replaceChildren(head, error, list, chart, h("div.pair", null, silent, reasons));
    const isEmpty = fleet.totals.messages === 0 && fleet.totals.dead_letters === 0;
    if (isEmpty && !empty.isConnected) list.before(empty);
    if (!isEmpty) empty.remove();
    const up = (Date.parse(fleet.now) - Date.parse(fleet.started)) / 1000;
    text(head.querySelector("#uptime"), `${count(fleet.devices)} devices, ${count(fleet.series)} series, up for ${lasted(up)}`);
    const ready = fleet.not_ready.length ? fleet.not_ready.join("; ") : "";
    text(head.querySelector("#as-of"), ready || `as of ${clock(fleet.now)}`);
    showNumbers(fleet);
    showSilent(fleet.minute);
    showReasons(fleet.totals);
    showHistory(fleet);
  }

  function showNumbers({ minute, per_second, totals, anomalies_now: found }) {
    if (minute) {
      const when = `in the minute of ${hourMinute(minute.start)}`;
      numbers.reporting.show(count(minute.reporting), `of ${count(minute.expected)}`, when);
      numbers.completeness.show(share(minute.completeness), "", "devices of the last 15 minutes", minute.completeness);
    } else {
      numbers.reporting.show("—", "", "the first minute is still open");
      numbers.completeness.show("—", "", "known after the first minute");
    }
    numbers.messages.show(rate(per_second.messages), "/s", `${rate(per_second.readings)} readings/s, ${count(totals.messages)} messages in all`);
    // Where anomalies are kept elsewhere it isn't known.
    numbers.anomalies.element.hidden = found == null;
    numbers.anomalies.show(count(found), "", found ? link("see which") : link("nothing goes on"));
    numbers.anomalies.element.classList.toggle("is-bad", found > 0);
    numbers.late.show(count(totals.late), "", `${rate(per_second.late)}/s, ${count(totals.rows_corrected)} rows corrected`);
    numbers.letters.show(count(totals.dead_letters), "", `${rate(per_second.dead_letters)}/s that can't be used`);
  }

  function showSilent(minute) {
    const title = h("h2", { id: "silent-title" }, "Silent devices");
    if (!minute) return silent.replaceChildren(title, h("p.muted", null, "Known after the first minute."));
    const missing = minute.expected - minute.reporting;
    if (!missing) {
      return silent.replaceChildren(title, h("p.muted", null, `All ${count(minute.expected)} devices reported in the minute of ${hourMinute(minute.start)}.`));
    }
    const links = minute.silent.map((id) => h("a.chip", { href: `#/device/${encodeURIComponent(id)}` }, id));
    const more = missing > links.length ? h("span.muted", null, `and ${count(missing - links.length)} more`) : null;
    silent.replaceChildren(title, h("p.muted", null, `${count(missing)} did not report in the minute of ${hourMinute(minute.start)}:`),
      h("div.chips", null, links, more));
  }

  function showReasons(totals) {
    const title = h("h2", { id: "reasons-title" }, "Dead letters by reason");
    const entries = Object.entries(totals.dead_letters_by_reason).sort(([, a], [, b]) => b - a);
    if (!entries.length) return reasons.replaceChildren(title, h("p.muted", null, "There are none: every record could be used."));
    const most = entries[0][1];
    const bars = entries.slice(0, 6).map(([reason, of]) => h("a.bar", { href: `#/letters/${reason}` },
      h("span", null, reason.replaceAll("_", " ")),
      s("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: (100 * of) / most, height: 8 })),
      h("span", null, count(of))));
    reasons.replaceChildren(title, h("div.bars", null, bars));
  }

  function showHistory(fleet) {
    history = fleet.history;
    chart.hidden = history.length < 2;
    if (chart.hidden) return;
    const data = [history.map((point) => point.at / 1000), history.map((point) => point.messages)];
    if (!curve) curve = rateChart(plot, data, hover);
    else curve.set(data);
  }

  function hover(index) {
    const point = index == null ? null : history[index];
    text(readout, point ? `${clock(point.at)}: ${rate(point.messages)}/s, ${rate(point.late)} late, ${rate(point.dead_letters)} dead letters` : "");
  }

  const load = () => get("/v1/fleet", {}, signal).then(update).catch((problem) => {
    if (signal.aborted || list.isConnected) return;
    main.replaceChildren(failure(problem, load));
  });
  load();
  const off = on("progress", update);
  return () => {
    off();
    curve?.end();
  };
}

