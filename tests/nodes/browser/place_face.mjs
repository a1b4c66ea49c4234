/** Drags a handle of a face, first on an empty frame, then on `result`, as of a run. */

import { boxOf, inBrowser, queued } from "./page.mjs";

const KIND = "EchoMimicPlaceFace";

await inBrowser(async (page, { graph, result, colour, from, to }, seen) => {
  await page.evaluate((file) => window.app.loadApiJson(file, "test.json"), graph);
  const canvas = page.locator('canvas[aria-label="Handles of the face"]');
  await canvas.waitFor();
  await page.waitForTimeout(500);

  seen.beforeRun = await boxOf(canvas, colour);
  await drag(page, await canvas.boundingBox(), from, to);
  seen.dragged = (await queued(page, KIND)).points;

  const show = ([kind, result]) => {
    const node = window.app.graph.nodes.find(({ type }) => type === kind);
    window.app.nodeOutputs = { [node.id]: { echomimic_face: [result] } };
  };
  await page.evaluate(show, [KIND, result]);
  await page.waitForTimeout(500); // the picture is fetched
  seen.shown = await boxOf(canvas, colour);

  await canvas.locator("button", { hasText: "nose tip" }).focus();
  await page.keyboard.press("ArrowUp");
  seen.keyed = (await queued(page, KIND)).points;
});

/** From one place of the square in the middle of the canvas to another, in shares of its side. */
async function drag(page, { x, y, width, height }, from, to) {
  const side = Math.min(width, height);
  const place = ([across, down]) => [
    x + (width - side) / 2 + across * side,
    y + (height - side) / 2 + down * side,
  ];
  await page.mouse.move(...place(from));
  await page.mouse.down();
  await page.mouse.move(...place(to), { steps: 5 });
  await page.mouse.up();
}
