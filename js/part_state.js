/** Which parts of the face are on: read from and written to the ordinary widgets of the node. */

const CUSTOM = "custom"; // the preset under which the widgets of the parts decide
const PRESETS = { // the same as in echomimic/motion/parts.py
  "all but mouth": (part) => part !== "mouth" && part !== "contour",
  all: (part) => part !== "contour",
  "eyes and brows": (part) => /eye|brow|pupils/.test(part),
  "head pose only": (part) => part !== "mouth" && part !== "contour",
};

/** `{parts, isOn(part), toggle(part)}`; `changed()` is called when the state is another one. */
export function makePartState(node, changed) {
  const widget = (name) => node.widgets.find((candidate) => candidate.name === name);
  const preset = widget("preset");
  const parts = node.widgets.map(({ name }) => name).filter((name) => widget(`${name}_gain`));
  const isOn = (part) => PRESETS[preset.value]?.(part) ?? Boolean(widget(part).value);
  const settle = () => {
    for (const part of parts) widget(part).value = isOn(part);
    changed();
  };
  const set = (part, on) => {
    settle(); // what the preset said stays, before it gives way to the widgets
    preset.value = CUSTOM;
    widget(part).value = on;
    changed();
  };
  follow(preset, settle, changed);
  for (const part of parts) follow(widget(part), (on) => set(part, on), changed);
  return { parts, isOn, toggle: (part) => set(part, !isOn(part)) };
}

/** Calls `chosen(value)` when the user changes the widget, `loaded()` when a file does. */
function follow(widget, chosen, loaded) {
  const before = widget.callback;
  widget.callback = function (value, canvas, ...rest) {
    const result = before?.call(this, value, canvas, ...rest);
    if (canvas) chosen(value); // both renderers name the canvas, the reader of API files does not
    else loaded();
    return result;
  };
}
