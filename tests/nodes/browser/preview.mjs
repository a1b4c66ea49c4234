/** Queues a clip and looks at the previews while it is made; then opens the help of the sampler. */

import { inBrowser } from "./page.mjs";

const CANVAS = 'canvas[aria-label="The clip so far"]';
const PATIENCE = 20000; // milliseconds for the page to draw, on a busy machine
const HOLD_AT = 2; // previews: the second comes after a still picture that must not stay

/** How many different colours are on the canvas, and a number that changes with its content. */
const look = (canvas) =>
  canvas.evaluate((element) => {
    const { width, height } = element;
    const pixels = element.getContext("2d").getImageData(0, 0, width, height).data;
    const colours = new Set();
    let sum = 0;
    for (let i = 0; i < pixels.length; i += 64) {
      colours.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
      sum = (sum * 31 + pixels[i]) % 1000003;
    }
    return { colours: colours.size, sum };
  });

/** Looks until what is seen is `enough`, or patience ends; the last look. */
async function lookUntil(canvas, enough) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const seen = await look(canvas);
    if (enough(seen) || Date.now() > end) return seen;
    await canvas.page().waitForTimeout(100);
  }
}

/**
 * What the server says on its way to the page. When `HOLD_AT` previews have passed, `held` resolves
 * and the rest waits for `release()`, so that the page cannot see the run end before it was looked
 * at.
 */
const gate = { previews: 0, waiting: [], isOpen: true };
gate.held = new Promise((resolve) => (gate.hold = resolve));
gate.install = (page) =>
  page.routeWebSocket(/\/ws\b/, (socket) => {
    gate.send = (message) => socket.send(message);
    socket.connectToServer().onMessage(gate.pass);
  });
gate.pass = (message) => {
  if (!gate.isOpen) return gate.waiting.push(message);
  gate.send(message);
  const isPreview = typeof message === "string" && message.includes('"sheet"');
  if (!isPreview || (gate.previews += 1) !== HOLD_AT) return;
  gate.isOpen = false;
  gate.hold();
};
gate.release = () => {
  gate.isOpen = true;
  gate.waiting.splice(0).forEach(gate.send);
};

const savedValues = (page, id) =>
  page.evaluate((id) => window.app.graph.getNodeById(Number(id)).serialize().widgets_values, id);

await inBrowser(async (page, { graph, sampler, decoder, fewestColours, vue }, seen) => {
  graph[sampler].inputs.seed = vue ? 1 : 2; // nothing may come from the cache
  await page.evaluate((file) => window.app.loadApiJson(file, "test.json"), graph);
  seen.savedBefore = await savedValues(page, sampler);
  await page.evaluate(() => {
    window.ended = false;
    const end = () => { window.ended = true; };
    window.app.api.addEventListener("execution_success", end);
    window.app.api.addEventListener("execution_error", end);
    window.app.queuePrompt(0, 1);
  });
  const canvas = page.locator(CANVAS).first();
  const told = page.locator('[data-left$=" left"]').first();
  await told.waitFor({ state: "attached", timeout: 120000 });
  await gate.held;
  seen.left = await told.getAttribute("data-left");
  const holder = page.locator("[data-frames]").first();
  await holder.waitFor({ state: "attached", timeout: 120000 });
  seen.frames = await holder.getAttribute("data-frames");
  const first = await lookUntil(canvas, ({ colours }) => colours > fewestColours);
  const second = await lookUntil(canvas, ({ sum }) => sum !== first.sum); // by a preview that loads
  const third = await lookUntil(canvas, ({ sum }) => sum !== second.sum);
  seen.colours = Math.min(...[first, second, third].map(({ colours }) => colours));
  seen.moves = first.sum !== second.sum && second.sum !== third.sum;
  seen.stillPreview = await page.evaluate(
    (id) =>
      id in (window.app.nodePreviewImages ?? {}) ||
      document.querySelector(`[data-node-id="${id}"] img[src^="blob:"]`) !== null,
    sampler,
  );
  seen.endedEarly = await page.evaluate(() => window.ended);
  gate.release();
  await page.waitForFunction(() => window.ended, null, { timeout: 120000 });
  seen.leftAfterwards = await holder.getAttribute("data-left");
  seen.onDecoder = await page.evaluate((id) => {
    const { widgets } = window.app.graph.getNodeById(Number(id));
    return widgets.filter(({ name }) => name === "clip_preview").length;
  }, decoder);
  seen.saved = await savedValues(page, sampler);
  seen.help = await readHelp(page, sampler);
}, gate.install);

/** What the help panel says of a node. */
async function readHelp(page, id) {
  await page.evaluate((id) => {
    const { canvas, graph } = window.app;
    canvas.deselectAll();
    canvas.selectItems([graph.getNodeById(Number(id))]);
  }, id);
  await page.getByTestId("info-button").dispatchEvent("click"); // panels may lie over it
  const help = page.locator(".node-help-content").first();
  await help.locator("h1").first().waitFor();
  return {
    title: await help.locator("h1").first().innerText(),
    rows: await help.locator("tr").count(),
    pictureWidth: await help.locator("img").first().evaluate(async (image) => {
      await image.decode().catch(() => null); // loaded, or never
      return image.naturalWidth;
    }),
  };
}
