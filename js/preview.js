/** EchoMimic Sampler, Long Render, Decode to Video, Paste Back: plays the clip as it is so far. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addElement, makeStage, write } from "./editor.js";
import { makePlayer } from "./player.js";

const EVENT = "echomimic.preview";
const KINDS = [
  "EchoMimicSampler",
  "EchoMimicLongRender",
  "EchoMimicDecodeVideo",
  "EchoMimicPasteBack",
];
const NAME = "clip_preview";
const HEIGHT = 240; // CSS pixels

/** `1:05` of seconds. */
const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(Math.round(seconds) % 60).padStart(2, "0")}`;

/** The node that runs under an id like `3`, or `7:3` for node 3 inside of subgraph node 7. */
function nodeOf(executionId) {
  let graph = app.rootGraph ?? app.graph;
  let node = null;
  for (const id of String(executionId).split(":")) {
    node = graph?.getNodeById?.(id) ?? graph?.getNodeById?.(Number(id));
    graph = node?.subgraph;
  }
  return KINDS.includes(node?.comfyClass) ? node : null;
}

/** A stage below the node's widgets that plays the tiles of a sheet. */
function makePreview(node) {
  let clip = null; // the last message with pictures, and its loaded sheet
  let left = "";

  const { stage, canvas, redraw } = makeStage((context, width, height) => {
    if (!clip) return write(context, left, [width / 2, height / 2]);
    const [w, h] = clip.tile;
    const number = Math.min(player.index(), clip.shown.length - 1);
    const from = [(number % clip.columns) * w, Math.floor(number / clip.columns) * h];
    const scale = Math.min(width / w, height / h);
    const to = [(width - w * scale) / 2, (height - h * scale) / 2, w * scale, h * scale];
    context.drawImage(clip.image, ...from, w, h, ...to);
    write(context, left);
  });
  canvas.setAttribute("aria-label", "The clip so far");
  const player = makePlayer(redraw);
  const element = document.createElement("div");
  element.append(stage, player.element);
  addElement(app, node, NAME, element, HEIGHT);

  const show = (message, image) => {
    const isFirst = !clip;
    clip = { ...message, image };
    element.dataset.frames = message.shown.length;
    player.load(message.shown, message.fps);
    if (isFirst) player.play();
  };
  return {
    /** Takes a message; pictures are shown when they are loaded. */
    tell(message) {
      if (message.seconds_left != null) left = `${clock(message.seconds_left)} left`;
      element.dataset.left = left;
      if (message.sheet) {
        const image = new Image();
        image.onload = () => show(message, image);
        image.src = message.sheet;
      }
      redraw();
    },
    done() {
      left = "";
      element.dataset.left = left;
      redraw();
    },
    remove() {
      const widget = node.widgets?.find((other) => other.name === NAME);
      if (widget) node.removeWidget(widget);
      element.remove();
      node.echomimicPreview = null;
    },
  };
}

/**
 * One frame of ComfyUI's own preview beside a clip that plays would only take room.
 *
 * The page's newer renderer draws from a store of its own, which has no public way in; where it
 * is not found, the frame stays.
 */
function hideStillPreview(node) {
  const isInside = node.graph && node.graph.isRootGraph === false; // in a subgraph
  const id = isInside ? `${node.graph.id}:${node.id}` : String(node.id);
  const store = app.extensionManager?._p?._s?.get("nodeOutput");
  if (store?.revokePreviewsByLocatorId) store.revokePreviewsByLocatorId(id);
  else delete store?.nodePreviewImages?.[id]; // the page of ComfyUI 0.18
  delete app.nodePreviewImages?.[id];
}

app.registerExtension({
  name: "EchoMimic.Preview",
  setup() {
    api.addEventListener(EVENT, ({ detail }) => {
      const node = nodeOf(detail.node);
      if (!node) return;
      node.echomimicPreview ??= makePreview(node);
      node.echomimicPreview.tell(detail);
      hideStillPreview(node);
    });
    api.addEventListener("b_preview_with_metadata", ({ detail }) => {
      const node = nodeOf(detail.displayNodeId ?? detail.nodeId);
      if (node?.echomimicPreview) hideStillPreview(node);
    });
    api.addEventListener("executed", ({ detail }) => {
      nodeOf(detail.display_node ?? detail.node)?.echomimicPreview?.remove(); // a video is there
    });
    const finish = () => {
      for (const node of (app.rootGraph ?? app.graph)?.nodes ?? []) node.echomimicPreview?.done();
    };
    for (const event of ["execution_success", "execution_error", "execution_interrupted"])
      api.addEventListener(event, finish);
  },
});
