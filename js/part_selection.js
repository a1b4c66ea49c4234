/** EchoMimicPartSelection: shows the track; a click on a part of the face turns it on or off. */

import { app } from "../../scripts/app.js";
import {
  addButtons, addEditor, makeStage, outputOf, placeOf, refreshAll, write,
} from "./editor.js";
import { drawPart, faceBox, fit, partAt } from "./face_canvas.js";
import { makePartState } from "./part_state.js";
import { makePlayer } from "./player.js";

const KIND = "EchoMimicPartSelection";
const HINT = "Run once to see the track";

const nameOf = (part) => part.replaceAll("_", " ");

function makeEditor(node) {
  let data, box, view;
  let pointed = null; // the part under the pointer, or focused

  const { stage, canvas, redraw } = makeStage((context, width, height) => {
    if (!data) return write(context, HINT, [width / 2, height / 2]);
    view = fit(box, data.size, width, height);
    for (const on of [false, true]) // what is on lies above what is off
      for (const part of state.parts.filter((part) => state.isOn(part) === on))
        drawPart(context, data, player.index(), view, part, { on, hot: part === pointed });
    if (pointed) write(context, `${nameOf(pointed)}: ${state.isOn(pointed) ? "on" : "off"}`);
  });
  const point = (part) => {
    canvas.style.cursor = part ? "pointer" : "default";
    pointed = part;
    redraw();
  };
  const changed = () => {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", state.isOn(state.parts[i]));
    });
    node.setDirtyCanvas?.(true); // the canvas renderer draws the widgets
    redraw();
  };
  const state = makePartState(node, changed);
  const player = makePlayer(redraw);
  const buttons = addButtons(canvas, state.parts.map(nameOf), {
    onFocus: (i) => point(state.parts[i] ?? null),
    onPress: (i) => state.toggle(state.parts[i]),
  });

  const hit = (event) =>
    view ? partAt(data, player.index(), view, state.parts, placeOf(canvas, event)) : null;
  canvas.setAttribute("aria-label", "Parts of the face");
  canvas.title = "Click a part of the face to turn it on or off";
  canvas.onpointermove = (event) => point(hit(event));
  canvas.onpointerleave = () => point(null);
  canvas.onclick = (event) => {
    const part = event.target === canvas ? hit(event) : null; // a button's own click bubbles
    if (part) state.toggle(part);
  };

  const refresh = () => {
    const found = outputOf(app, node, "echomimic_landmarks");
    if (found && found !== data) {
      data = found;
      box = faceBox(data);
      player.load(data.shown, data.fps);
    }
    changed();
  };
  const element = document.createElement("div");
  element.append(stage, player.element);
  return { element, refresh };
}

app.registerExtension({
  name: "EchoMimic.PartSelection",
  nodeCreated(node) {
    if (node.comfyClass !== KIND) return;
    const { element, refresh } = makeEditor(node);
    addEditor(app, node, "parts_editor", element, { minHeight: 280, refresh });
  },
  onNodeOutputsUpdated: () => refreshAll(app, KIND),
});
