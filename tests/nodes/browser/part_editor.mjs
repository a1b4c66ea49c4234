/** Uses the part editor as a person does; `graph` and `other` are files in API format. */

import { boxOf, inBrowser, queued } from "./page.mjs";

const KIND = "EchoMimicPartSelection";
const LEFT_EYE = [180, 200, 10]; // the colour it is drawn in

await inBrowser(async (page, { graph, presets, other }, seen) => {
  await page.evaluate((file) => window.app.loadApiJson(file, "test.json"), graph);
  const canvas = page.locator('canvas[aria-label="Parts of the face"]');
  const slider = page.getByRole("slider", { name: "Frame of the track" });
  await canvas.waitFor();
  seen.beforeRun = await boxOf(canvas, LEFT_EYE);
  await page.evaluate(() => window.app.queuePrompt(0, 1));
  await slider.waitFor();
  seen.frames = 1 + Number(await slider.getAttribute("max"));
  seen.first = await boxOf(canvas, LEFT_EYE);
  seen.loaded = await queued(page, KIND);

  await page.mouse.click(...seen.first.place);
  seen.clicked = await queued(page, KIND);
  await page.mouse.move(0, 0);
  seen.hidden = await boxOf(canvas, LEFT_EYE);
  await page.mouse.click(...seen.first.place);
  seen.clickedAgain = await queued(page, KIND);
  await page.mouse.move(0, 0);

  await slider.focus();
  await page.keyboard.press("End");
  seen.last = await boxOf(canvas, LEFT_EYE);
  seen.label = await page.locator("output").innerText();

  await canvas.locator("button", { hasText: /^mouth$/ }).focus();
  await page.keyboard.press("Enter");
  seen.keyed = await queued(page, KIND);

  seen.chosen = {};
  for (const preset of presets) seen.chosen[preset] = await choose(page, "preset", preset);

  await page.evaluate((file) => window.app.loadApiJson(file, "other.json"), other);
  await canvas.waitFor();
  seen.opened = await queued(page, KIND);
  seen.switched = await choose(page, "left_eye", false);
  seen.saved = await page.evaluate((kind) => {
    const node = window.app.graph.serialize().nodes.find(({ type }) => type === kind);
    return node.widgets_values;
  }, KIND);
});

/** Sets a widget as both renderers do when a person uses it; what would be queued then. */
async function choose(page, name, value) {
  const set = ([kind, name, value]) => {
    const node = window.app.graph.nodes.find(({ type }) => type === kind);
    const widget = node.widgets.find((candidate) => candidate.name === name);
    widget.value = value;
    widget.callback(value, window.app.canvas, node);
  };
  await page.evaluate(set, [KIND, name, value]);
  return queued(page, KIND);
}
