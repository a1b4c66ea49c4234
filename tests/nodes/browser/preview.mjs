/**
 * Queues clips and looks at the previews while they are made: of the sampler, whose help is opened
 * too, and of `others`.
 */

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
async function lookUntil(page, canvas, enough) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const seen = await look(canvas);
    if (enough(seen) || Date.now() > end) return seen;
    await page.waitForTimeout(100);
  }
}

/**
 * What the server says on its way to the page. When `watch.previews` of `watch.node` have passed,
 * `held` resolves and the rest waits for `release()`, so that the page cannot see the run end
 * before it was looked at.
 */
const gate = { waiting: [], isOpen: true };
gate.install = (page) =>
  page.routeWebSocket(/\/ws\b/, (socket) => {
    gate.send = (message) => socket.send(message);
    socket.connectToServer().onMessage(gate.pass);
  });
gate.watch = (watch) => {
  gate.watched = { ...watch, seen: 0 };
  gate.held = new Promise((resolve) => (gate.hold = resolve));
};
gate.pass = (message) => {
  if (!gate.isOpen) return gate.waiting.push(message);
  gate.send(message);
  if (!isPreviewOf(gate.watched?.node, message)) return;
  if ((gate.watched.seen += 1) !== gate.watched.previews) return;
  gate.isOpen = false;
  gate.hold();
};
gate.release = () => {
  gate.isOpen = true;
  gate.waiting.splice(0).forEach(gate.send);
};

function isPreviewOf(node, message) {
  if (typeof message !== "string" || !message.includes('"sheet"')) return false;
  return String(JSON.parse(message).data.node) === node;
}

const savedValues = (page, id) =>
  page.evaluate((id) => window.app.graph.getNodeById(Number(id)).serialize().widgets_values, id);

/** Queues the graph that is open, and waits until the previews of a node are held. */
async function queueAndHold(page, watch) {
  gate.watch(watch);
  await page.evaluate(() => {
    window.ended = false;
    const end = () => { window.ended = true; };
    window.app.api.addEventListener("execution_success", end);
    window.app.api.addEventListener("execution_error", end);
    window.app.queuePrompt(0, 1);
  });
  await gate.held;
}

/** The preview on a node: the element that holds it. */
async function previewOn(page, id) {
  const find = (id) => {
    const { widgets = [] } = window.app.graph.getNodeById(Number(id));
    const element = widgets.find(({ name }) => name === "clip_preview")?.element;
    return element?.isConnected && element.dataset.frames ? element : null;
  };
  return (await page.waitForFunction(find, id, { timeout: 120000 })).asElement();
}

/** What is seen on a preview that is held: its frames, whether they are pictures and move. */
async function lookAt(page, id, fewestColours) {
  const holder = await previewOn(page, id);
  const canvas = await holder.$(CANVAS);
  const first = await lookUntil(page, canvas, ({ colours }) => colours > fewestColours);
  const second = await lookUntil(page, canvas, ({ sum }) => sum !== first.sum); // by what loads
  const third = await lookUntil(page, canvas, ({ sum }) => sum !== second.sum);
  return {
    frames: Number(await holder.getAttribute("data-frames")),
    left: await holder.getAttribute("data-left"),
    colours: Math.min(...[first, second, third].map(({ colours }) => colours)),
    moves: first.sum !== second.sum && second.sum !== third.sum,
    isInView: await canvas.isVisible(),
    endedEarly: await page.evaluate(() => window.ended),
  };
}

async function endRun(page) {
  gate.release();
  await page.waitForFunction(() => window.ended, null, { timeout: 120000 });
}

/** Another seed for each renderer: nothing may come from the cache. */
function reseed(graph, vue) {
  for (const { inputs } of Object.values(graph))
    if ("steps" in inputs) inputs.seed = vue ? 1 : 2;
}

/** A graph is run, and the previews of a node are looked at while it is. */
async function watchRun(page, { graph, node, previews }, fewestColours) {
  await page.evaluate((file) => window.app.loadApiJson(file, "test.json"), graph);
  await queueAndHold(page, { node, previews });
  const seen = await lookAt(page, node, fewestColours);
  await endRun(page);
  return seen;
}

await inBrowser(async (page, { graph, sampler, decoder, others, fewestColours, vue }, seen) => {
  for (const each of [graph, ...Object.values(others).map((other) => other.graph)])
    reseed(each, vue);
  await page.evaluate((file) => window.app.loadApiJson(file, "test.json"), graph);
  seen.savedBefore = await savedValues(page, sampler);
  await queueAndHold(page, { node: sampler, previews: HOLD_AT });
  seen.sampler = await lookAt(page, sampler, fewestColours);
  seen.stillPreview = await page.evaluate(
    (id) =>
      id in (window.app.nodePreviewImages ?? {}) ||
      document.querySelector(`[data-node-id="${id}"] img[src^="blob:"]`) !== null,
    sampler,
  );
  await endRun(page);
  seen.leftAfterwards = await (await previewOn(page, sampler)).getAttribute("data-left");
  seen.onDecoder = await page.evaluate((id) => {
    const { widgets } = window.app.graph.getNodeById(Number(id));
    return widgets.filter(({ name }) => name === "clip_preview").length;
  }, decoder);
  seen.saved = await savedValues(page, sampler);
  seen.help = await readHelp(page, sampler);
  for (const [name, other] of Object.entries(others))
    seen[name] = await watchRun(page, other, fewestColours);
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
