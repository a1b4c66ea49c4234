/** Opens a workflow in the page's Chinese, and reports what is written on the nodes. */

import { inBrowser } from "./page.mjs";

await inBrowser(async (page, { workflow, picture }, seen) => {
  for (const node of workflow.nodes) delete node.widgets_values_named; // old pages go by place
  await page.evaluate((file) => window.app.loadGraphData(file), workflow);
  await page.waitForTimeout(1500);
  seen.titles = await page.getByTestId("node-title").allInnerTexts();
  const nodes = await page.locator("[data-node-id]").allInnerTexts();
  seen.labels = nodes.flatMap((text) => text.split("\n"));
  await page.screenshot({ path: picture });
});
