/** ComfyUI's list of templates. */

/** Opens the list, chooses the pack whose templates lie there, and reports their pictures by name. */
export async function listedTemplates(page, path, names) {
  const replies = [];
  page.on("response", (reply) => replies.push(reply));
  await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.BrowseTemplates"));
  const list = page.getByRole("dialog"); // nodes behind it bear the name of the pack too
  await list.getByText(path.split("/").at(-1), { exact: true }).first().click();
  const pictures = {};
  for (const name of names) pictures[name] = await pictureOf(page, path, name, replies);
  return pictures;
}

/** Opens a template of the list that is open by a click on its card; the kinds of its nodes. */
export async function openByCard(page, name) {
  await page.evaluate(() => window.app.graph.clear());
  await page.getByTestId(`template-workflow-${name}`).locator("img").first().click();
  await page.waitForFunction(() => window.app.graph.nodes.length > 0, null, { timeout: 30000 });
  return page.evaluate(() => window.app.graph.nodes.map(({ type }) => type).sort());
}

/** What the server said when the page asked for a picture, and its size on the card. */
async function pictureOf(page, path, name, replies) {
  const image = page.getByTestId(`template-workflow-${name}`).locator("img").first();
  await image.waitFor();
  const size = await image.evaluate(async (element) => {
    await element.decode().catch(() => null); // loaded, or never
    return [element.naturalWidth, element.naturalHeight];
  });
  const reply = replies.find((other) => new URL(other.url()).pathname === `${path}/${name}.jpg`);
  const type = (await reply?.headerValue("content-type")) ?? null;
  return { status: reply?.status() ?? null, type, size };
}
