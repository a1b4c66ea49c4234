/** Opens workflow files, runs them, and reports what the page says, queues and shows. */

import { join } from "node:path";

import { inBrowser } from "./page.mjs";

await inBrowser(async (page, { workflows, pictures, seed, quick }, seen) => {
  const said = [];
  page.on("console", (message) => {
    if (["warning", "error"].includes(message.type())) said.push(message.text());
  });
  seen.opened = {};
  for (const [name, workflow] of Object.entries(workflows)) {
    said.length = 0;
    for (const node of workflow.nodes) delete node.widgets_values_named; // old pages go by place
    await page.evaluate((file) => window.app.loadGraphData(file), workflow);
    await page.waitForTimeout(1000); // dialogs, toasts and editors appear after the graph
    const queued = await page.evaluate(async () => (await window.app.graphToPrompt()).output);
    const dialogs = await page.locator("[role=dialog]").allInnerTexts();
    const toasts = await page.locator(".p-toast-message").allInnerTexts();
    seen.opened[name] = { queued, complaints: [...said, ...dialogs, ...toasts] };
    if (name in quick) seen.opened[name].run = await run(page, quick[name], seed);
    await page.screenshot({ path: join(pictures, `${name}.png`) });
  }
});

/** Runs the open workflow with other values of its sampler, and brings its video into view. */
async function run(page, { sampler, last, steps }, seed) {
  const ended = await page.evaluate(
    async ({ sampler, steps, seed }) => {
      const { widgets } = window.app.graph.getNodeById(sampler);
      for (const widget of widgets) {
        if (widget.name === "steps") widget.value = steps;
        if (widget.name === "seed") widget.value = seed;
      }
      const end = new Promise((resolve) => {
        for (const event of ["execution_success", "execution_error"])
          window.app.api.addEventListener(event, () => resolve(event), { once: true });
      });
      await window.app.queuePrompt(0, 1);
      return end;
    },
    { sampler, steps, seed },
  );
  await page.evaluate((id) => {
    const { canvas, graph } = window.app;
    const [x, y] = graph.getNodeById(id).pos;
    canvas.ds.scale = 1;
    canvas.ds.offset = [300 - x, 150 - y];
    canvas.setDirty(true, true);
  }, last);
  const video = page.locator("video").last();
  await video.waitFor({ timeout: 30000 });
  await video.evaluate((element) => {
    element.pause();
    element.currentTime = 1;
    if (element.readyState >= 2) return null;
    return new Promise((resolve) => element.addEventListener("loadeddata", resolve, { once: true }));
  });
  await page.waitForTimeout(500); // the frame is drawn
  const size = await video.evaluate(({ videoWidth, videoHeight }) => [videoWidth, videoHeight]);
  return { ended, size, box: await video.boundingBox() };
}
