// Opens the page in Chromium, does what people do, and keeps what it looks like.
//
// node browse.mjs MODULES CHROMIUM URL SHOTS LOCKED TOKEN: what it wants of the server at URL (stop, start, freeze, thaw)
// it writes to its output, a word a line, and goes on when a line comes back. The one at LOCKED wants the TOKEN.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { drawn } from "./curve.mjs";

const [modules, chromium, url, shots, locked, token] = process.argv.slice(2);
const playwright = createRequire(path.join(modules, "node_modules", "here.js"))("playwright-core");
const LIMIT = 30_000;
const VIEWS = [["fleet", "#/fleet"], ["devices", "#/devices"], ["series", "#/device/dev-000042/temperature"], ["anomalies", "#/anomalies"], ["letters", "#/letters"], ["engine", "#/engine"]];

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
mkdirSync(shots, { recursive: true });

/** Asks whoever started this to do something with the server. */
async function tell(word) {
  console.log(word);
  await answers.next();
}

/** A page that keeps what goes wrong; while `away` is set the server is meant to be. */
async function open(browser, options) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  page.wrongs = [];
  page.away = false;
  const note = (text) => page.away || page.wrongs.push(text);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && note(message.text()));
  page.on("pageerror", (error) => note(`${error.stack}`));
  page.on("requestfailed", (request) => request.failure()?.errorText !== "net::ERR_ABORTED" && note(`${request.url()}: ${request.failure()?.errorText}`));
  await page.goto(url);
  await page.waitForSelector("#connection[data-state=live]");
  return page;
}

async function until(what, check) {
  const begun = Date.now();
  for (;;) {
    const found = await check();
    if (found) return found;
    assert.ok(Date.now() - begun < LIMIT, `${what} did not happen`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const text = (page, selector) => page.locator(selector).first().innerText();

const hasCurve = (page, least = 100) => until("a curve", async () => (await drawn(page)) > least);

async function changes(page, selector) {
  const before = await text(page, selector);
  await until(`a change of ${selector}`, async () => (await text(page, selector)) !== before);
}

/** Goes to a view and waits until it shows something. */
async function visit(page, [name, hash]) {
  await page.evaluate((to) => { location.hash = to; }, hash);
  const ready = {
    fleet: () => hasCurve(page),
    devices: () => page.waitForSelector("a.row"),
    series: () => hasCurve(page),
    anomalies: () => page.waitForSelector("details.anomaly"),
    letters: () => page.waitForSelector("details.letter"),
    engine: () => page.waitForSelector(".flow .is-moving", { state: "attached" }),
  };
  await ready[name]();
  await page.waitForTimeout(1_200);
}

/** What it looks like, as far down as it says something new. */
async function shoot(page, name) {
  const [width, height] = await page.evaluate(() => [innerWidth, document.documentElement.scrollHeight]);
  const file = path.join(shots, `${name}.png`);
  // On a phone what is fixed to the bottom would stand in the middle.
  if (width < 500) return page.screenshot({ path: file });
  return page.screenshot({ path: file, fullPage: true, clip: { x: 0, y: 0, width, height: Math.min(height, 1_500) } });
}

/** Everything fits: nothing but what scrolls by itself is wider than the page. */
async function fits(page, name) {
  const [wide, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= width, `${name} is ${wide} wide on ${width}`);
}

function isClean(page) {
  assert.deepEqual(page.wrongs, []);
}

async function looks(browser, name, options) {
  const page = await open(browser, options);
  for (const view of VIEWS) {
    await visit(page, view);
    await fits(page, `${view[0]}-${name}`);
    await shoot(page, `${view[0]}-${name}`);
  }
  if (options.colorScheme === "dark") {
    const [red] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
    assert.ok(red < 60, "the ground is dark");
  }
  isClean(page);
  return page;
}

/** With the keyboard alone: search, list, series, ranges, views. */
async function keyboard(page) {
  await page.evaluate(() => { window.stays = true; });
  await page.keyboard.press("g");
  await page.keyboard.press("f");
  await page.waitForSelector("#reporting");
  await changes(page, "#messages + .detail");
  await page.keyboard.press("/");
  await page.waitForFunction(() => document.activeElement?.id === "search");
  await page.keyboard.type("DEV-00004");
  await until("a search", async () => {
    const ids = await page.locator("a.row").allInnerTexts();
    return ids.length > 0 && ids.length <= 10 && ids.every((id) => id.startsWith("dev-00004"));
  });
  await until("a value in the list", async () => /\d/.test(await text(page, ".chip b")));
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash === "#/device/dev-000041/temperature");
  await hasCurve(page);
  await changes(page, "#value-detail");
  // Three hours are a short line in a week, and no day is over yet.
  for (const [digit, range, least] of [["3", "6h", 100], ["4", "24h", 50], ["5", "7d", 5], ["7", "1y", null], ["6", "30d", 1], ["1", "15m", 100]]) {
    await page.keyboard.press(digit);
    await page.waitForSelector(`[data-range="${range}"][aria-pressed=true]`);
    if (least !== null) await hasCurve(page, least);
  }
  await page.keyboard.press("?");
  await page.waitForSelector("#keys[open]");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#keys:not([open])", { state: "attached" });
  await page.keyboard.press("u");
  assert.equal(await text(page, "#zone"), "UTC");
  await page.keyboard.press("u");
  await page.keyboard.press("t");
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await page.keyboard.press("t");
  await page.keyboard.press("g");
  await page.keyboard.press("l");
  await page.locator("details.letter summary").first().click();
  assert.match(await text(page, ".dump"), /^000000 {2}[0-9a-f]{2}/);
  assert.ok(await page.evaluate(() => window.stays), "it was not loaded again");
}

/** Devices say where they belong, and those of a site are found by it. */
async function places(page) {
  await visit(page, VIEWS[1]);
  await page.locator("button.chip", { hasText: "north" }).first().click();
  const ids = () => page.locator("a.row").allInnerTexts();
  await until("a site's devices", async () => (await ids()).join() === "dev-000041,dev-000042");
  await shoot(page, "site-light");
  await page.locator(".places button").click();
  await until("all of them again", async () => (await ids()).length > 2);
}

/** The API's documentation: nothing of it is refused, and a request is tried with the token that the page was given. */
async function documented(page) {
  const wrongs = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && wrongs.push(message.text()));
  page.on("request", (request) => request.url().startsWith(locked) || request.url().startsWith("data:") || wrongs.push(request.url()));
  await page.locator('nav a[href="/docs/"]').click();
  await page.locator("#operations-devices-devices .opblock-summary-control").click();
  await page.screenshot({ path: path.join(shots, "docs-light.png") });
  await page.locator("#operations-devices-devices .try-out__btn").click();
  await page.locator("#operations-devices-devices .execute").click();
  const status = page.locator("#operations-devices-devices .live-responses-table tbody .response-col_status").first();
  await until("an answer", async () => (await status.count()) > 0 && (await status.innerText()).startsWith("200"));
  assert.deepEqual(wrongs, []);
}

/** What rules have found: a number, a list by severity and device, each in words, and the way to its curve, which is marked. */
async function anomalies(page) {
  await visit(page, VIEWS[0]);
  await until("a number of anomalies", async () => /^\d/.test(await text(page, "#anomalies-now")));
  await page.keyboard.press("g");
  await page.keyboard.press("a");
  const first = page.locator("#cleared details.anomaly:has-text('of temperature')").first();
  await first.waitFor();
  await page.selectOption("main select", "critical");
  await until("critical ones alone", async () => {
    const shown = await page.locator("details.anomaly .severity").allInnerTexts();
    return shown.length > 0 && shown.every((word) => word === "critical");
  });
  const device = await first.locator(".whose").innerText();
  await page.fill("main input[type=search]", device);
  await until("those of a device", async () => {
    const shown = await page.locator("details.anomaly .whose").allInnerTexts();
    return shown.length > 0 && shown.every((id) => id === device);
  });
  await first.locator("summary").focus();
  await page.keyboard.press("Enter");
  const facts = await first.locator(".facts").innerText();
  for (const word of ["warm", "at most 20", "began with", "farthest out"]) assert.ok(facts.includes(word), facts);
  await first.locator("a").click();
  await page.waitForSelector("[data-range=around][aria-pressed=true]");
  await hasCurve(page);
  await page.waitForSelector("#found details.anomaly");
  await shoot(page, "around-light");
}

/** A dead letter goes into its log again once it is confirmed, and says where it is; once more only on purpose. */
async function replays(page) {
  await visit(page, VIEWS.find(([name]) => name === "letters"));
  const letter = page.locator("details.letter").first();
  await letter.locator("summary").click();
  await letter.getByRole("button", { name: "Replay", exact: true }).click();
  await letter.getByRole("button", { name: "Leave it" }).click();
  assert.equal(await letter.getByRole("status").innerText(), "");
  await letter.getByRole("button", { name: "Replay", exact: true }).click();
  await shoot(page, "replay-light");
  await letter.getByRole("button", { name: "Put it there" }).click();
  const said = await until("a replay", async () => /Replayed: log\/\d+ @ (\d+)/.exec(await letter.getByRole("status").innerText()));
  await letter.getByRole("button", { name: "Replay once more" }).click();
  await letter.getByText("It was done before").waitFor();
  await letter.getByRole("button", { name: "Leave it" }).click();
  // What nobody could use then can't be used now, and is a dead letter of its own.
  await until("the letter of the replayed record", async () => page.evaluate(async (offset) => {
    const { letters } = await (await fetch("/v1/dead-letters?limit=100")).json();
    return letters.some((one) => one.offset === Number(offset));
  }, said[1]));
}

/** What is corrected is marked. */
async function corrected(page) {
  await visit(page, VIEWS[2]);
  const devices = await page.evaluate(async () => (await (await fetch("/v1/devices?limit=100")).json()).devices.map((one) => one.device_id));
  const found = await page.evaluate(async (ids) => {
    for (const id of ids) {
      const { rows } = await (await fetch(`/v1/series/${id}/temperature?limit=60`)).json();
      if (rows.some((row) => row.status === "corrected")) return id;
    }
    return null;
  }, devices);
  if (!found) return;
  await visit(page, ["series", `#/device/${found}/temperature`]);
  await shoot(page, "corrected-light");
}

/** A server that wants a token: the page asks for it, says when it is wrong, and then shows what it may. */
async function asksForToken(browser) {
  const page = await (await browser.newContext({ colorScheme: "light" })).newPage();
  page.setDefaultTimeout(LIMIT);
  await page.goto(locked);
  await page.waitForSelector("#token[open]");
  await page.fill("#token-value", "nobody-knows-this-one");
  await page.keyboard.press("Enter");
  await until("a refusal", async () => (await text(page, "#token-problem")).includes("not known"));
  await page.screenshot({ path: path.join(shots, "token-light.png") });
  await page.fill("#token-value", token);
  await page.keyboard.press("Enter");
  await page.waitForSelector("#connection[data-state=live]");
  await page.waitForSelector("#messages");
  await page.reload();
  await page.waitForSelector("#connection[data-state=live]");
  await documented(page);
}

/** The server freezes, thaws, stops and starts: the page says so and goes on. */
async function survives(page) {
  await visit(page, VIEWS[0]);
  page.away = true;
  await tell("freeze");
  await page.waitForSelector("#connection[data-state=silent]");
  await page.waitForSelector("#banner:not([hidden])");
  await shoot(page, "silent-light");
  await tell("thaw");
  await page.waitForSelector("#connection[data-state=live]");
  assert.ok(await page.locator("#banner").isHidden());
  await tell("stop");
  await page.waitForSelector("#connection[data-state=lost]");
  await shoot(page, "lost-light");
  await tell("start");
  await page.waitForSelector("#connection[data-state=live]");
  page.away = false;
  await changes(page, "#messages + .detail");
  assert.ok(await page.evaluate(() => window.stays), "it was not loaded again");
  await visit(page, VIEWS[5]);
}

const browser = await playwright.chromium.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu", "--force-device-scale-factor=1"] });
try {
  const page = await looks(browser, "light", { colorScheme: "light", viewport: { width: 1280, height: 860 } });
  await keyboard(page);
  await places(page);
  await corrected(page);
  await anomalies(page);
  await replays(page);
  await looks(browser, "dark", { colorScheme: "dark", viewport: { width: 1280, height: 860 } });
  await looks(browser, "phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true });
  await looks(browser, "phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true });
  await asksForToken(browser);
  isClean(page);
  await survives(page);
  isClean(page);
} finally {
  await browser.close();
}
console.log("done");
process.exit(0);
