/**
 * Uses the part editor as a person does and prints what was seen, as JSON.
 *
 *   node part_editor.mjs '{"modules", "chromium", "url", "vue", "graph", "presets"}'
 *
 * modules: a folder with node_modules/playwright-core; vue: which of ComfyUI's two renderers;
 * graph: in API format.
 */

import { createRequire } from "node:module";
import { join } from "node:path";

const { modules, chromium, url, vue, graph, presets } = JSON.parse(process.argv[2]);
const playwright = createRequire(join(modules, "_.js"))("playwright-core");
const NODE = "EchoMimicPartSelection";
const LEFT_EYE = [180, 200, 10]; // the colour it is drawn in
const seen = { pageErrors: [], missing: [] };

const browser = await playwright.chromium.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
try {
  const page = await openPage();
  const canvas = page.locator('canvas[aria-label="Parts of the face"]');
  const slider = page.getByRole("slider", { name: "Frame of the track" });

  seen.vue = await page.evaluate(() => Boolean(window.LiteGraph.vueNodesMode));
  seen.beforeRun = await boxOf(canvas);
  await run(page);
  await slider.waitFor();
  seen.frames = 1 + Number(await slider.getAttribute("max"));
  seen.first = await boxOf(canvas);
  seen.loaded = await queued(page);

  await page.mouse.click(...seen.first.place);
  seen.clicked = await queued(page);
  await page.mouse.move(0, 0);
  seen.hidden = await boxOf(canvas);
  await page.mouse.click(...seen.first.place);
  seen.clickedAgain = await queued(page);
  await page.mouse.move(0, 0);

  await slider.focus();
  await page.keyboard.press("End");
  seen.last = await boxOf(canvas);
  seen.label = await page.locator("output").innerText();

  await canvas.locator("button", { hasText: /^mouth$/ }).focus();
  await page.keyboard.press("Enter");
  seen.keyed = await queued(page);

  seen.chosen = {};
  for (const preset of presets) seen.chosen[preset] = await choose(page, "preset", preset);
  seen.switched = await choose(page, "nose", false);
  seen.saved = await page.evaluate((kind) => {
    const node = window.app.graph.serialize().nodes.find(({ type }) => type === kind);
    return node.widgets_values;
  }, NODE);
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(seen));

async function openPage() {
  await fetch(`${url}/api/settings/Comfy.VueNodes.Enabled`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(vue),
  });
  const page = await browser.newPage({ viewport: { width: 1500, height: 1100 } });
  page.on("pageerror", (error) => seen.pageErrors.push(error.message));
  page.on("response", (reply) => {
    if (reply.status() >= 400 && reply.url().includes("/extensions/")) seen.missing.push(reply.url());
  });
  await page.goto(url, { waitUntil: "domcontentloaded" });
  const isReady = (kind) =>
    window.app?.extensionManager && window.LiteGraph?.registered_node_types?.[kind];
  await page.waitForFunction(isReady, NODE, { timeout: 60000 });
  await page.waitForTimeout(2000); // the page settles after it says that it is ready
  await page.evaluate((file) => window.app.loadApiJson(file, "test.json"), graph);
  await page.locator('canvas[aria-label="Parts of the face"]').waitFor();
  await page.waitForTimeout(1000);
  return page;
}

async function run(page) {
  await page.evaluate(() => window.app.queuePrompt(0, 1));
}

/** The inputs of the node as they would be queued now. */
function queued(page) {
  return page.evaluate(async (kind) => {
    const { output } = await window.app.graphToPrompt();
    return Object.values(output).find((node) => node.class_type === kind).inputs;
  }, NODE);
}

/** Sets a widget as both renderers do when a person uses it; what would be queued then. */
async function choose(page, name, value) {
  const set = ([kind, name, value]) => {
    const node = window.app.graph.nodes.find(({ type }) => type === kind);
    const widget = node.widgets.find((candidate) => candidate.name === name);
    widget.value = value;
    widget.callback(value, window.app.canvas, node);
  };
  await page.evaluate(set, [NODE, name, value]);
  return queued(page);
}

/** Where the left eye is drawn, in pixels of the canvas, and a place of the page on its line. */
async function boxOf(canvas) {
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
    return { left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), place };
  }, LEFT_EYE);
}
