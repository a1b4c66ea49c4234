/** Runs workflows in a page of ComfyUI and takes their pictures; take_screenshots.py calls it. */

import { join } from "node:path";

import { inBrowser } from "../../tests/nodes/browser/page.mjs";

await inBrowser(async (page, { workflows, pictures }) => {
  for (const [name, { file, view, queue }] of Object.entries(workflows)) {
    await page.evaluate((file) => window.app.loadGraphData(file), file);
    await page.waitForTimeout(1000);
    if (queue) await run(page);
    await page.evaluate(([x, y, scale]) => {
      const { canvas } = window.app;
      canvas.ds.scale = scale;
      canvas.ds.offset = [-x, -y];
      canvas.setDirty(true, true);
    }, view);
    for (const video of await page.locator("video").all())
      await video.evaluate((element) => {
        element.pause();
        element.currentTime = 1.2;
      });
    await page.waitForTimeout(1500); // frames are drawn, messages are gone
    await page.screenshot({ path: join(pictures, `${name}.png`) });
  }
});

function run(page) {
  return page.evaluate(async () => {
    const end = new Promise((resolve) => {
      for (const event of ["execution_success", "execution_error"])
        window.app.api.addEventListener(event, resolve, { once: true });
    });
    await window.app.queuePrompt(0, 1);
    await end;
  });
}
