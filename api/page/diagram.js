// The dataflow as a picture: what each stage holds, and what goes from one to the next in a second.

import { s, text } from "./dom.js";
import { brief, bytes, count, lasted, rate } from "./format.js";

const BOX = { width: 200, height: 92 };
const NARROW_BOX = { width: 312, height: 92 };
const GAP = { x: 112, y: 56 };
const NARROW = "(max-width: 46rem)";

/** The stages in their order; `facts` gives two lines, `out` what goes on to the next. */
const STAGES = [
  {
    name: "Source",
    facts: (fleet) => [`${count(fleet.partitions.length)} partitions`, `${count(lag(fleet))} records behind`],
    out: ({ per_second }) => [per_second.messages + per_second.dead_letters, "records/s"],
    isBusy: (fleet) => lag(fleet) > 10_000,
  },
  {
    name: "Decode",
    facts: (fleet) => [`${bytes(fleet.per_second.bytes)}/s`, `${rate(fleet.per_second.dead_letters)} dead letters/s`],
    out: (fleet) => [fleet.per_second.readings, "readings/s"],
  },
  {
    name: "Exchange",
    facts: (fleet) => [workers(fleet), "by device"],
    out: (fleet) => [fleet.per_second.readings, "readings/s"],
  },
  {
    name: "Series",
    facts: (fleet) => [`${count(fleet.devices)} devices`, `${count(fleet.series)} series`],
    out: (fleet) => [fleet.per_second.readings, "readings/s"],
  },
  {
    name: "Windows",
    facts: (fleet) => [`${count(fleet.open_panes)} open panes`, `${count(fleet.closed_panes)} closed, kept`],
    out: (fleet) => [fleet.per_second.rows, "rows/s"],
  },
  {
    name: "Outbox",
    facts: (fleet) => [`${bytes(fleet.outbox_bytes)} waiting`, `${count(fleet.totals.rows_corrected)} corrected so far`],
    out: (fleet) => [fleet.per_second.rows, "rows/s"],
  },
  {
    name: "Checkpoint",
    facts: ({ checkpoints }) => [
      checkpoints.age_s == null ? "none yet" : `${lasted(checkpoints.age_s)} ago`,
      checkpoints.interval_s == null ? `${count(checkpoints.made)} made` : `every ${lasted(checkpoints.interval_s)}`,
    ],
    out: (fleet) => [sum(fleet.sinks.map((one) => one.per_second)), "items/s"],
    isBusy: ({ checkpoints }) => checkpoints.age_s > 15,
  },
  {
    name: "Sinks",
    facts: ({ sinks }) => [sinks.map((one) => one.name.replace("dead_letter_", "")).filter((one, at, all) => all.indexOf(one) === at).join(", "),
      `${count(sum(sinks.map((one) => one.items)))} items taken`],
    isBusy: ({ not_ready }) => not_ready.some((reason) => reason.includes("sink")),
  },
];

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const lag = (fleet) => sum(fleet.partitions.map((one) => one.lag_records));
const workers = ({ workers: { processes, threads } }) =>
  `${count(processes * threads)} ${processes * threads === 1 ? "worker" : "workers"}`;

/** Where a stage stands: in two rows that turn round, or one below the other. */
function places(box, isNarrow) {
  if (isNarrow) return STAGES.map((_, at) => ({ x: 0, y: at * (box.height + GAP.y) }));
  return STAGES.map((_, at) => ({
    x: (at < 4 ? at : 7 - at) * (box.width + GAP.x),
    y: at < 4 ? 0 : box.height + GAP.y,
  }));
}

function edge(from, to, box, isNarrow) {
  const isBelow = from.x === to.x;
  const start = isBelow ? [from.x + box.width / 2, from.y + box.height] : [from.x < to.x ? from.x + box.width : from.x, from.y + box.height / 2];
  const end = isBelow ? [to.x + box.width / 2, to.y] : [from.x < to.x ? to.x : to.x + box.width, to.y + box.height / 2];
  const path = `M${start.join(" ")} L${end.join(" ")}`;
  const label = isBelow
    ? { x: start[0] + (isNarrow ? 14 : -14), y: (start[1] + end[1]) / 2 + 4, "text-anchor": isNarrow ? "start" : "end" }
    : { x: (start[0] + end[0]) / 2, y: start[1] - 12, "text-anchor": "middle" };
  return { path, label };
}

/** Draws into an element; gives what shows other numbers, and what takes it away. */
export function diagram(element) {
  const query = matchMedia(NARROW);
  let drawn = [];
  let last = null;

  function draw() {
    const size = query.matches ? NARROW_BOX : BOX;
    const at = places(size, query.matches);
    const width = Math.max(...at.map((place) => place.x)) + size.width;
    const height = Math.max(...at.map((place) => place.y)) + size.height;
    drawn = STAGES.map((stage, number) => {
      const place = at[number];
      const box = s("rect.box", { ...size, x: place.x, y: place.y, rx: 12 });
      const line = (n, name) => s(`text.${name}`, { x: place.x + 16, y: place.y + 30 + n * 22 });
      const [title, first, second] = [line(0, "name"), line(1, "fact.strong"), line(2, "fact")];
      title.textContent = stage.name;
      if (!stage.out) return { stage, box, first, second, parts: [box, title, first, second] };
      const { path, label } = edge(place, at[number + 1], size, query.matches);
      const stream = s("path.stream", { d: path });
      const shown = s("text.rate", label);
      return { stage, box, first, second, stream, shown, parts: [s("path.pipe", { d: path }), stream, shown, box, title, first, second] };
    });
    element.replaceChildren(s("svg.flow", {
      viewBox: `-2 -2 ${width + 4} ${height + 4}`, role: "img",
      "aria-label": "The way of a reading: source, decode, exchange, series, windows, outbox, checkpoint, sinks",
    }, drawn.map((one) => one.parts)));
    if (last) show(last);
  }

  function show(fleet) {
    last = fleet;
    for (const { stage, box, first, second, stream, shown } of drawn) {
      const [above, below] = stage.facts(fleet);
      text(first, above);
      text(second, below);
      box.classList.toggle("is-busy", Boolean(stage.isBusy?.(fleet)));
      if (!stage.out) continue;
      const [number, unit] = stage.out(fleet);
      text(shown, `${brief(number)} ${unit}`);
      stream.classList.toggle("is-moving", number > 0);
    }
  }

  draw();
  query.addEventListener("change", draw);
  return { show, end: () => query.removeEventListener("change", draw) };
}
