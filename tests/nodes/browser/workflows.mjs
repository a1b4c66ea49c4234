/** Opens workflow files, and reports what the page says and what would be queued. */

import { inBrowser } from "./page.mjs";

await inBrowser(async (page, { workflows }, seen) => {
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
  }
});
