/** Opens a workflow in the page's Chinese, and reports what is written on our nodes. */

import { inBrowser } from "./page.mjs";

await inBrowser(async (page, { workflow, picture }, seen) => {
  for (const node of workflow.nodes) delete node.widgets_values_named;
  await page.evaluate((file) => window.app.loadGraphData(file), workflow);
  await page.waitForTimeout(1000);
  seen.nodes = await page.evaluate(() =>
    window.app.graph.nodes
      .filter(({ type }) => type.startsWith("EchoMimic"))
      .map(({ type, title, inputs, outputs }) => ({
        type,
        title,
        labels: [...inputs, ...outputs].map(({ label, localized_name, name }) => label ?? localized_name ?? name),
      })),
  );
  await page.screenshot({ path: picture });
});
