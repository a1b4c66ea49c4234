/** Runs a graph in a page of ComfyUI and takes pictures of some of its nodes; see the .py. */

import { inBrowser } from "../../tests/nodes/browser/page.mjs";
import { runOpen } from "../../tests/nodes/browser/run.mjs";
import { settle } from "./page_pictures.mjs";

const VIEWPORT = { width: 1000, height: 1300 };
const PLACE = [120, 190]; // where the nodes of a picture stand, clear of the bars of the page
const WIDTH = 310;
const GAP = 50; // pixels between columns; half of it between nodes of a column
const MARGIN = 24; // pixels around the nodes
const AWAY = 4000; // pixels: the other nodes are so far to the left, or to the right and above

await inBrowser(async (page, { graph, heights, shots }, seen) => {
  await page.setViewportSize(VIEWPORT);
  await page.evaluate((file) => window.app.loadApiJson(file, "nodes.json"), graph);
  await page.evaluate(prepare, [WIDTH, heights]);
  await page.waitForTimeout(1000);
  seen.ended = await runOpen(page, {});
  for (const [file, columns] of Object.entries(shots)) await take(page, file, columns);
});

/** Seeds stay, and nodes have one width; some are higher than they would be. */
function prepare([width, heights]) {
  const { canvas, graph } = window.app;
  canvas.ds.scale = 1;
  canvas.ds.offset = [0, 0];
  for (const node of graph.nodes) {
    const after = node.widgets?.find(({ name }) => name === "control_after_generate");
    if (after) after.value = "fixed";
    node.setSize([width, heights[node.id] ?? node.size[1]]);
  }
  canvas.setDirty(true, true);
}

/** A picture of nodes in columns, with the links between them. */
async function take(page, file, columns) {
  await page.evaluate(clear, [columns.flat().map(Number), AWAY]);
  const boxes = [];
  let left = PLACE[0];
  for (const column of columns) {
    let top = PLACE[1];
    for (const id of column) {
      const box = await place(page, id, [left, top]);
      top += box.height + GAP / 2;
      boxes.push(box);
    }
    left += WIDTH + GAP;
  }
  await settle(page, VIEWPORT);
  await page.screenshot({ path: file, clip: around(boxes) });
}

/** Moves a node there; the place it then takes on the page. */
async function place(page, id, position) {
  await page.evaluate(([id, position]) => {
    window.app.graph.getNodeById(Number(id)).pos = position;
    window.app.canvas.setDirty(true, true);
  }, [id, position]);
  await page.waitForTimeout(500); // nodes grow by what they show
  return page.locator(`[data-node-id="${id}"]`).boundingBox();
}

/**
 * Puts nodes that may feed those shown to the left, and others, which have higher ids, to the
 * right, so high that links from one side to the other pass above the picture.
 */
function clear([shown, away]) {
  const last = Math.max(...shown);
  for (const node of window.app.graph.nodes)
    node.pos = node.id < last ? [-away, 300] : [away, -3 * away];
}

/** The rectangle around these, with a margin. */
function around(boxes) {
  const [x, y] = ["x", "y"].map((key) => Math.min(...boxes.map((box) => box[key])) - MARGIN);
  const right = Math.max(...boxes.map((box) => box.x + box.width)) + MARGIN;
  const bottom = Math.max(...boxes.map((box) => box.y + box.height)) + MARGIN;
  return { x, y, width: right - x, height: bottom - y };
}
