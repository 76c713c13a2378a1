// The engine: the dataflow with its rates, partitions, workers, checkpoints and sinks.

import { get } from "./api.js";
import { diagram } from "./diagram.js";
import { failure, h, s, text, waiting } from "./dom.js";
import { bytes, clock, count, full, lasted, rate } from "./format.js";
import { on } from "./live.js";

/** Facts by name; `show` sets them. */
function facts(names) {
  const values = names.map(() => h("dd", null, "—"));
  const list = h("dl.facts", null, names.map((name, at) => h("div", null, h("dt", null, name), values[at])));
  return { list, show: (...words) => words.forEach((word, at) => text(values[at], word)) };
}

/** Rows of a table that stay while their numbers change. */
function table(heads, body) {
  return h("div.scroll", { tabindex: 0, role: "region", "aria-label": heads[0] }, h("table", null,
    h("thead", null, h("tr", null, heads.map((head, at) => h(at ? "th.number-cell" : "th", { scope: "col" }, head)))), body));
}

function setRows(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, at) => {
    const row = body.rows[at] ?? body.insertRow();
    cells.forEach((cell, column) => {
      const own = row.cells[column] ?? row.insertCell();
      if (column) own.className = "number-cell";
      text(own, cell);
    });
  });
}

export function show(main, _, signal) {
  const picture = h("div");
  const flow = diagram(picture);
  const lags = h("div.bars");
  const partitions = h("tbody");
  const sinks = h("tbody");
  const behind = h("p.end");
  const run = facts(["version", "generation", "process", "worker threads", "epoch", "durable epoch", "ahead of durable", "clock lag"]);
  const saves = facts(["made", "last", "interval", "written", "failed writes"]);
  const parts = [
    h("div.head", null, h("h1", null, "Engine"), h("p", { id: "engine-state", role: "status" })),
    h("section.card", null, h("div.title", null, h("h2", null, "Dataflow"), h("p", null, "in a second, over the last five")), picture),
    h("section.card", null, h("div.title", null, h("h2", null, "Lag by partition"), behind), lags),
    h("section.card", null, h("h2", null, "Partitions"), table(["partition", "lag", "next offset", "watermark", "behind now"], partitions)),
    h("div.pair", null,
      h("section.card", null, h("h2", null, "Run"), run.list),
      h("section.card", null, h("h2", null, "Checkpoints"), saves.list)),
    h("section.card", null, h("h2", null, "Sinks"), table(["sink", "items/s", "items", "deliveries", "retries"], sinks)),
  ];
  main.replaceChildren(waiting("Asking the engine"));

  function update(fleet) {
    if (!picture.isConnected) main.replaceChildren(...parts);
    flow.show(fleet);
    text(main.querySelector("#engine-state"), fleet.not_ready.length ? fleet.not_ready.join("; ") : `ready, as of ${clock(fleet.now)}`);
    showLags(fleet.partitions);
    const now = Date.parse(fleet.now);
    setRows(partitions, fleet.partitions.map((one) => [
      one.name, count(one.lag_records), one.next_offset.toLocaleString(),
      one.watermark ? full(one.watermark) : "none yet",
      one.idle ? "idle" : one.watermark ? lasted(Math.max(0, (now - Date.parse(one.watermark)) / 1000)) : "—",
    ]));
    const { workers, checkpoints } = fleet;
    const ahead = Math.max(0, fleet.epoch - fleet.durable_epoch) / 10;
    run.show(fleet.version, workers.generation, `${workers.process + 1} of ${workers.processes}`, workers.threads,
      fleet.epoch, fleet.durable_epoch, lasted(ahead), lasted(fleet.epoch_lag_s));
    saves.show(count(checkpoints.made), checkpoints.age_s == null ? "none yet" : `${lasted(checkpoints.age_s)} ago`,
      lasted(checkpoints.interval_s), bytes(checkpoints.bytes), count(checkpoints.failed));
    setRows(sinks, fleet.sinks.map((one) => [one.name.replaceAll("_", " "), rate(one.per_second), count(one.items), count(one.deliveries), count(one.retries)]));
  }

  function showLags(all) {
    const most = Math.max(1, ...all.map((one) => one.lag_records));
    const total = all.reduce((sum, one) => sum + one.lag_records, 0);
    text(behind, total ? `${count(total)} records behind` : "everything that is known has been read");
    while (lags.children.length > all.length) lags.lastElementChild.remove();
    all.forEach((one, at) => {
      let bar = lags.children[at];
      if (!bar) {
        bar = h("div.bar", null, h("span"), s("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { height: 8 })), h("span"));
        lags.append(bar);
      }
      text(bar.firstElementChild, one.name);
      text(bar.lastElementChild, count(one.lag_records));
      bar.querySelector("rect").setAttribute("width", (100 * one.lag_records) / most);
      bar.classList.toggle("is-behind", one.lag_records > 10_000);
    });
  }

  const load = () => get("/v1/fleet", {}, signal).then(update).catch((problem) => {
    if (!signal.aborted && !picture.isConnected) main.replaceChildren(failure(problem, load));
  });
  load();
  const off = on("progress", update);
  return () => {
    off();
    flow.end();
  };
}
