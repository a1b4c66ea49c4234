/** What those scripts share that take pictures of ComfyUI's page. */

import { seek } from "../../tests/nodes/browser/run.mjs";

/** Waits after a run until the page rests: videos in their middle, no messages over the nodes. */
export async function settle(page, viewport) {
  for (const video of await page.locator("video:visible").all()) await seek(video);
  const said = page.getByText(/^(Job completed|任务已完成)$/);
  await said.waitFor({ state: "hidden" }).catch(() => null);
  await page.mouse.move(viewport.width / 2, viewport.height - 10); // nothing is there
  await page.waitForTimeout(2000);
}
