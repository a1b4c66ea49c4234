/** Runs templates of the pack in a page of ComfyUI and takes pictures of them; see the .py. */

import { inBrowser } from "../../tests/nodes/browser/page.mjs";
import { runOpen } from "../../tests/nodes/browser/run.mjs";
import { settle } from "./page_pictures.mjs";

const MARGIN = 40; // pixels around the nodes

await inBrowser(async (page, { workflow, file, viewport }, seen) => {
  await page.setViewportSize(viewport);
  for (const node of workflow.nodes) delete node.widgets_values_named; // old pages go by place
  workflow.nodes = workflow.nodes.filter(({ mode, type }) => mode === 0 && type !== "MarkdownNote");
  workflow.groups = [];
  await page.evaluate((graph) => window.app.loadGraphData(graph), workflow);
  await page.waitForTimeout(1500);
  seen.ended = await runOpen(page, {});
  await page.waitForTimeout(1500); // nodes grow by what they show
  await page.evaluate(fit, [viewport, MARGIN]);
  await page.locator("video:visible").waitFor();
  await settle(page, viewport);
  await page.screenshot({ path: file });
});

/** Scales and moves the canvas so that every node is in view. */
function fit([{ width, height }, margin]) {
  const { canvas, graph } = window.app;
  const boxes = graph.nodes.map(({ pos, size }) => [pos[0], pos[1] - 40, pos[0] + size[0], pos[1] + size[1]]);
  const [left, top] = [0, 1].map((i) => Math.min(...boxes.map((box) => box[i])));
  const [right, bottom] = [2, 3].map((i) => Math.max(...boxes.map((box) => box[i])));
  const room = [width - 60 - 2 * margin, height - 80 - 2 * margin]; // beside and below the bars
  const scale = Math.min(room[0] / (right - left), room[1] / (bottom - top), 1);
  canvas.ds.scale = scale;
  canvas.ds.offset = [(60 + margin) / scale - left, (80 + margin) / scale - top];
  canvas.setDirty(true, true);
}
