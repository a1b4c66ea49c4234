/**
 * Opens templates of the pack, runs those with `changes`, and reports what the page says and shows;
 * then looks for them in ComfyUI's list of templates, and opens the first by a click on its card.
 */

import { join } from "node:path";

import { inBrowser } from "./page.mjs";
import { listedTemplates, openByCard } from "./templates.mjs";
import { runOpen, showVideo } from "./run.mjs";

await inBrowser(async (page, { templates, names, changes, pictures }, seen) => {
  const said = [];
  page.on("console", (message) => {
    if (["warning", "error"].includes(message.type())) said.push(message.text());
  });
  seen.opened = {};
  for (const name of names) {
    said.length = 0;
    await openTemplate(page, `${templates}/${name}.json`);
    const queued = await page.evaluate(async () => (await window.app.graphToPrompt()).output);
    const dialogs = await page.locator("[role=dialog]").allInnerTexts();
    const toasts = await page.locator(".p-toast-message").allInnerTexts();
    seen.opened[name] = { queued, complaints: [...said, ...dialogs, ...toasts] };
    if (!(name in changes)) continue;
    seen.opened[name].run = await runAndLook(page, changes[name]);
    await page.screenshot({ path: join(pictures, `${name}.png`) });
  }
  seen.listed = await listedTemplates(page, templates, names);
  seen.clicked = await openByCard(page, names[0]);
});

async function openTemplate(page, address) {
  await page.evaluate(async (address) => {
    const workflow = await (await fetch(address)).json();
    for (const node of workflow.nodes) delete node.widgets_values_named; // old pages go by place
    await window.app.loadGraphData(workflow);
  }, address);
  await page.waitForTimeout(1000); // dialogs, toasts and editors appear after the graph
}

/** How a run ended, and where on the page its video is seen at what size. */
async function runAndLook(page, { values, last }) {
  const ended = await runOpen(page, values);
  const video = await showVideo(page, last);
  const size = await video.evaluate(({ videoWidth, videoHeight }) => [videoWidth, videoHeight]);
  return { ended, size, box: await video.boundingBox() };
}
