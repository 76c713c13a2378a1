// What somebody sees who has just started it: curves, and an anomaly with its evidence, each within so many seconds of the
// process starting.
//
// node first.mjs MODULES CHROMIUM URL SHOTS STARTED CURVES ANOMALIES: STARTED is in milliseconds since 1970, the limits in seconds.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { drawn } from "./curve.mjs";

const [modules, chromium, url, shots, ...numbers] = process.argv.slice(2);
const [started, curves, anomalies] = numbers.map(Number);
const playwright = createRequire(path.join(modules, "node_modules", "here.js"))("playwright-core");
const LIMIT = 60_000;
mkdirSync(shots, { recursive: true });

async function until(what, check) {
  for (;;) {
    const found = await check().catch(() => false);
    if (found) return (Date.now() - started) / 1000;
    assert.ok(Date.now() - started < LIMIT, `${what} did not come at all`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
const page = await (await browser.newContext()).newPage();
await until("an answer", async () => (await page.goto(`${url}#/device/dev-000042/temperature`))?.ok());
await until("the page", () => page.locator("[data-range='24h']").click({ timeout: 1_000 }).then(() => true));
const curve = await until("a curve", async () => (await drawn(page)) > 50);
await page.screenshot({ path: path.join(shots, "first-curve.png") });
await page.evaluate(() => { location.hash = "#/anomalies"; });
const anomaly = await until("an anomaly", async () => {
  const first = page.locator("details.anomaly").first();
  if (!(await first.isVisible())) return false;
  await first.evaluate((details) => { details.open = true; });
  return /expected\s+(at|a reading|from)/.test(await first.innerText());
});
await page.screenshot({ path: path.join(shots, "first-anomaly.png") });
await browser.close();
console.log(`curves after ${curve.toFixed(1)} s, an anomaly with its evidence after ${anomaly.toFixed(1)} s`);
assert.ok(curve <= curves, `a curve came after ${curve} s, asked are ${curves}`);
assert.ok(anomaly <= anomalies, `an anomaly came after ${anomaly} s, asked are ${anomalies}`);
