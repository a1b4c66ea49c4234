/** Runs the workflow that is open, and looks for its video. */

const PATIENCE = 300000; // milliseconds for a run

/** Runs the open workflow with some values of its widgets, {id: {name: value}}; how it ended. */
export function runOpen(page, values) {
  return page.evaluate(
    async ({ values, patience }) => {
      const { api, graph } = window.app;
      for (const [id, chosen] of Object.entries(values))
        for (const widget of graph.getNodeById(Number(id)).widgets)
          if (widget.name in chosen) widget.value = chosen[widget.name];
      const end = new Promise((resolve) => {
        for (const event of ["execution_success", "execution_error"])
          api.addEventListener(event, () => resolve(event), { once: true });
        setTimeout(() => resolve("no end"), patience);
      });
      await window.app.queuePrompt(0, 1);
      return end;
    },
    { values, patience: PATIENCE },
  );
}

/** The video on a node, in view and at a moment in its middle. */
export async function showVideo(page, node) {
  await page.waitForTimeout(1000); // the node grows by its video
  await page.evaluate((id) => {
    const { canvas, graph } = window.app;
    const { pos, size } = graph.getNodeById(id);
    canvas.ds.scale = 1;
    canvas.ds.offset = [500 - pos[0], 1000 - pos[1] - size[1]]; // its lower edge is in view
    canvas.setDirty(true, true);
  }, node);
  const video = page.locator("video:visible");
  await video.waitFor({ timeout: 30000 });
  await seek(video);
  await page.waitForTimeout(300); // the frame is drawn
  return video;
}

/** To the middle; loadeddata may be long past, so only the end of the seek is waited for. */
export function seek(video) {
  return video.evaluate(async (element) => {
    element.pause();
    while (!(element.duration > 0)) await new Promise((resolve) => setTimeout(resolve, 50));
    const arrived = new Promise((resolve) =>
      element.addEventListener("seeked", resolve, { once: true }),
    );
    element.currentTime = element.duration / 2;
    await arrived;
  });
}
