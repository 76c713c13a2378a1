// Numbers and times as people read them.

const locale = undefined;
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 2 });
const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });

let utc = localStorage.getItem("zone") === "utc";
let formats = {};

export const isUtc = () => utc;

export function setUtc(on) {
  utc = on;
  formats = {};
  localStorage.setItem("zone", on ? "utc" : "local");
}

function format(kind) {
  const zone = utc ? { timeZone: "UTC" } : {};
  const kinds = {
    second: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
    minute: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    day: { month: "short", day: "numeric" },
    full: {
      year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
      hourCycle: "h23",
    },
  };
  formats[kind] ??= new Intl.DateTimeFormat(locale, { ...kinds[kind], ...zone });
  return formats[kind];
}

const show = (kind) => (time) => (time == null ? "—" : format(kind).format(new Date(time)));

export const clock = show("second");
export const hourMinute = show("minute");
export const day = show("day");
export const full = (time) => (time == null ? "—" : show("full")(time) + (utc ? " UTC" : ""));

/** A count, in full up to a hundred thousand. */
export function count(value) {
  if (value == null) return "—";
  return Math.abs(value) < 100_000 ? whole.format(value) : compact.format(value);
}

/** A rate: a place behind the point only when it is small. */
export function rate(value) {
  if (value == null) return "—";
  if (value > 0 && value < 10) return value.toFixed(1);
  return count(value);
}

/** A rate where there is little room. */
export const brief = (value) => (value >= 1000 ? compact.format(value) : rate(value));

/** A measured value. With `steady` it always has its places, so that columns line up and what changes doesn't jump. */
export function measure(value, steady = false) {
  if (value == null || !Number.isFinite(value)) return "—";
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return value.toExponential(3);
  const places = size >= 1000 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString(locale, { maximumFractionDigits: places, minimumFractionDigits: steady ? places : 0 });
}

export const share = (value) => (value == null ? "—" : percent.format(Math.floor(value * 10_000) / 10_000));

/** Bytes, in steps of 1,024. */
export function bytes(value) {
  if (value == null) return "—";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : whole.format(value)} ${units[unit]}`;
}

/** How long, in its largest two units. */
export function lasted(seconds) {
  if (seconds == null) return "—";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const units = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, length]) => seconds >= length);
  const parts = [];
  for (const [name, length] of units.slice(first, first + 2)) {
    const number = Math.floor(seconds / length);
    seconds -= number * length;
    if (number || !parts.length) parts.push(`${number} ${name}`);
  }
  return parts.join(" ");
}
