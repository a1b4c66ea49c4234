/** A page of ComfyUI in a browser, for the scripts beside this file. */

import { createRequire } from "node:module";
import { join } from "node:path";

/**
 * Opens ComfyUI, calls `use(page, setup, seen)` and prints what it put into `seen`, as JSON.
 *
 * `prepare(page)` is called before ComfyUI is asked for.
 *
 * The argument of the command is `setup`, JSON with modules: a folder that has
 * node_modules/playwright-core; chromium: the program; url: of the server; vue: which of ComfyUI's
 * two renderers of nodes; locale: of the page, English if absent; settings: more of ComfyUI's; and
 * what else the script needs.
 */
export async function inBrowser(use, prepare = () => {}) {
  const setup = JSON.parse(process.argv[2]);
  const playwright = createRequire(join(setup.modules, "_.js"))("playwright-core");
  const browser = await playwright.chromium.launch({
    executablePath: setup.chromium,
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  const seen = { pageErrors: [], missing: [] };
  try {
    const page = await openPage(browser, setup, seen, prepare);
    seen.vue = await page.evaluate(() => Boolean(window.LiteGraph.vueNodesMode));
    await use(page, setup, seen);
  } finally {
    await browser.close();
  }
  process.stdout.write(JSON.stringify(seen));
}

async function openPage(browser, { url, vue, locale = "en", settings }, seen, prepare) {
  await fetch(`${url}/api/settings`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ "Comfy.VueNodes.Enabled": vue, "Comfy.Locale": locale, ...settings }),
  });
  const page = await browser.newPage({ viewport: { width: 1500, height: 1100 } });
  page.on("pageerror", (error) => seen.pageErrors.push(error.message));
  page.on("response", (reply) => {
    const isOurs = reply.url().includes("/extensions/");
    if (isOurs && reply.status() >= 400) seen.missing.push(reply.url());
  });
  await prepare(page);
  await page.goto(url, { waitUntil: "domcontentloaded" });
  const isReady = () =>
    window.app?.extensionManager && window.LiteGraph?.registered_node_types?.EchoMimicPartSelection;
  await page.waitForFunction(isReady, null, { timeout: 60000 });
  await page.waitForTimeout(2000); // the page settles after it says that it is ready
  return page;
}

/** The inputs of a node of this kind as they would be queued now. */
export function queued(page, kind) {
  return page.evaluate(async (kind) => {
    const { output } = await window.app.graphToPrompt();
    return Object.values(output).find((node) => node.class_type === kind).inputs;
  }, kind);
}

/** Where a colour is drawn, in pixels of the canvas, and a place of the page that shows it. */
export async function boxOf(canvas, colour) {
  await canvas.page().waitForTimeout(300); // it is drawn in the next frame of the page
  return canvas.evaluate((element, [red, green, blue]) => {
    const { width, height } = element;
    const pixels = element.getContext("2d").getImageData(0, 0, width, height).data;
    const [xs, ys] = [[], []];
    for (let i = 0; i < pixels.length; i += 4)
      if (pixels[i] === red && pixels[i + 1] === green && pixels[i + 2] === blue) {
        xs.push((i / 4) % width);
        ys.push(Math.floor(i / 4 / width));
      }
    if (!xs.length) return null;
    const box = element.getBoundingClientRect();
    const place = [
      box.left + ((xs[0] + 0.5) / width) * box.width,
      box.top + ((ys[0] + 0.5) / height) * box.height,
    ];
    xs.sort((one, other) => one - other); // ys are in order already
    return { left: xs[0], right: xs.at(-1), top: ys[0], place };
  }, colour);
}
