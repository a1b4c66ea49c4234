/** Opens a workflow that asks for a file that is not there, and reads what the page says of it. */

import { inBrowser } from "./page.mjs";

await inBrowser(async (page, { workflow, picture }, seen) => {
  for (const node of workflow.nodes) delete node.widgets_values_named; // old pages go by place
  await page.evaluate((file) => window.app.loadGraphData(file), workflow);
  const details = page.getByText("View details").first();
  const dialog = page.getByRole("dialog").first(); // of the page of ComfyUI 0.18
  await details.or(dialog).first().waitFor();
  const isDialog = await dialog.isVisible();
  if (!isDialog) await details.click();
  const said = isDialog ? dialog : page.getByTestId("error-group-missing-model");
  await said.waitFor();
  seen.said = await said.innerText();
  await page.screenshot({ path: picture });
});
