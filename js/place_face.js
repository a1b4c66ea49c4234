/** EchoMimicPlaceFace: five handles on the portrait say where the face is. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import {
  addButtons, addEditor, makeStage, outputOf, placeOf, refreshAll, write,
} from "./editor.js";
import { drawHandle, drawPart, fit } from "./face_canvas.js";

const KIND = "EchoMimicPlaceFace";
const HINT = "Run once to see the portrait";
const NAMES = ["left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner"];
const REACH = 18; // pixels around a handle in which it can be grasped
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.002; // of an arrow key, as a share of the picture
const WHOLE = [0, 0, 1, 1];

/** The points as they are written in the widget; null while the text is not five points. */
function readPoints(text) {
  const numbers = text.trim().split(/[\s,;]+/).map(Number);
  if (numbers.length !== 2 * NAMES.length || !numbers.every(Number.isFinite)) return null;
  return NAMES.map((_, i) => numbers.slice(2 * i, 2 * i + 2));
}

const writePoints = (points) =>
  points.map((point) => point.map((share) => share.toFixed(4)).join(",")).join(" ");

const areSame = (points, others) =>
  points.flat().every((share, i) => Math.abs(share - others.flat()[i]) < 1e-3);

function makeEditor(node) {
  const widget = node.widgets.find(({ name }) => name === "points");
  const picture = new Image();
  let data, view;
  let held = -1; // the handle under the pointer, or focused
  let isDragged = false;

  const { stage, canvas, redraw } = makeStage((context, width, height) => {
    view = fit(WHOLE, data?.size ?? [1, 1], width, height);
    if (picture.naturalWidth) context.drawImage(picture, ...view.rect);
    const points = readPoints(widget.value);
    if (!points) return write(context, "Five points are needed", [width / 2, height / 2]);
    if (data) {
      const on = areSame(points, data.handles); // else the face is that of the last run
      for (const part of new Set([...Object.keys(data.lines), ...Object.keys(data.squares)]))
        drawPart(context, data, 0, view, part, { on });
    }
    points.forEach((point, i) => drawHandle(context, view.put(point), i === held));
    if (held >= 0) write(context, NAMES[held]);
    else if (!data) write(context, HINT);
  });
  picture.onload = redraw;

  const hold = (i) => {
    held = i;
    canvas.style.cursor = i < 0 ? "default" : "grab";
    redraw();
  };
  const moveTo = (i, place) => {
    const points = readPoints(widget.value);
    if (!points || i < 0) return;
    points[i] = place.map((share) => Math.min(1, Math.max(0, share)));
    widget.value = writePoints(points);
    widget.callback?.(widget.value);
    node.setDirtyCanvas?.(true);
    redraw();
  };
  const nearest = (event) => {
    const [x, y] = placeOf(canvas, event);
    const points = (view && readPoints(widget.value)) ?? [];
    const distances = points.map(view.put).map(([px, py]) => Math.hypot(px - x, py - y));
    const least = Math.min(...distances);
    return least <= REACH ? distances.indexOf(least) : -1;
  };

  canvas.setAttribute("aria-label", "Handles of the face");
  canvas.onpointerdown = (event) => {
    hold(nearest(event));
    isDragged = event.button === 0 && held >= 0;
    if (isDragged) canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointermove = (event) => {
    if (isDragged) moveTo(held, view.take(placeOf(canvas, event)));
    else hold(nearest(event));
  };
  canvas.onpointerup = canvas.onpointercancel = () => (isDragged = false);
  canvas.onpointerleave = () => isDragged || hold(-1);
  addButtons(canvas, NAMES, {
    onFocus: hold,
    onKey(i, event) {
      const point = ARROWS[event.key] && readPoints(widget.value)?.[i];
      if (point) moveTo(i, point.map((share, axis) => share + STEP * ARROWS[event.key][axis]));
    },
  });

  const refresh = () => {
    const found = outputOf(app, node, "echomimic_face");
    if (found && found !== data) {
      data = found;
      const { filename, subfolder, type } = data;
      picture.src = api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
    }
    redraw();
  };
  const element = document.createElement("div");
  element.append(stage);
  return { element, refresh };
}

app.registerExtension({
  name: "EchoMimic.PlaceFace",
  nodeCreated(node) {
    if (node.comfyClass !== KIND) return;
    const { element, refresh } = makeEditor(node);
    addEditor(app, node, "face_editor", element, { minHeight: 320, refresh });
  },
  onNodeOutputsUpdated: () => refreshAll(app, KIND),
});
