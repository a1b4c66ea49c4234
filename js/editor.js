/** What the editors of this folder share: a canvas, its place in the node, the results of a run. */

const MARGIN = 10; // which the canvas renderer leaves around an element

/** A black stage whose canvas fills it; `draw(context, width, height)` works in CSS pixels. */
export function makeStage(draw) {
  const stage = document.createElement("div");
  stage.style.cssText =
    "position:relative;flex:1 1 0;min-height:0;overflow:hidden;border-radius:8px;background:#000";
  const canvas = document.createElement("canvas");
  canvas.style.cssText = "position:absolute;inset:0;width:100%;height:100%;touch-action:none";
  stage.append(canvas);
  let isWaiting = false;
  const paint = () => {
    isWaiting = false;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    const sharp = Math.max(2, window.devicePixelRatio); // the graph may be zoomed in
    canvas.width = width * sharp;
    canvas.height = height * sharp;
    const context = canvas.getContext("2d");
    context.scale(sharp, sharp);
    draw(context, width, height);
  };
  const redraw = () => {
    if (!isWaiting) requestAnimationFrame(paint);
    isWaiting = true;
  };
  new ResizeObserver(redraw).observe(canvas);
  return { stage, canvas, redraw };
}

/** Writes a line that can be read on any picture: in the corner, or in the middle of the stage. */
export function write(context, text, middle = null) {
  context.font = "12px sans-serif";
  context.textAlign = middle ? "center" : "left";
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = "#000";
  context.fillStyle = "#ddd";
  const place = middle ?? [10, 18];
  context.strokeText(text, ...place);
  context.fillText(text, ...place);
}

/** Where on the canvas a pointer is, in CSS pixels; the graph around it may be zoomed. */
export function placeOf(canvas, event) {
  const { left, top, width } = canvas.getBoundingClientRect();
  const zoom = width / canvas.clientWidth;
  return [(event.clientX - left) / zoom, (event.clientY - top) / zoom];
}

/**
 * Buttons inside the canvas: not seen, but reached by the keyboard and read aloud.
 *
 * `onFocus(i)` is called with the number of the button, and with -1 when it is left.
 */
export function addButtons(canvas, names, { onFocus, onPress = () => {}, onKey = () => {} }) {
  const buttons = names.map((name, i) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.onfocus = () => onFocus(i);
    button.onblur = () => onFocus(-1);
    button.onclick = () => onPress(i);
    button.onkeydown = (event) => {
      event.stopPropagation(); // not a shortcut of the graph
      onKey(i, event);
    };
    return button;
  });
  canvas.append(...buttons);
  return buttons;
}

/**
 * Puts an element below the node's widgets.
 *
 * It is last and not saved, so that the saved values of the other widgets keep their places.
 */
export function addElement(app, node, name, element, minHeight) {
  element.style.cssText = `display:flex;flex-direction:column;gap:6px;width:100%;height:100%;
    min-height:${minHeight}px`; // Vue nodes go by this, the canvas by getMinHeight
  const options = {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => minHeight + 2 * MARGIN,
  };
  const widget = node.addDOMWidget(name, name, element, options);
  widget.serialize = false;
  element.addEventListener("wheel", (event) => {
    if (!window.LiteGraph.vueNodesMode) app.canvas.processMouseWheel(event);
  });
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width, 320), Math.max(node.size[1], height)]);
}

/** Adds an element and calls `refresh()` whenever there may be new results. */
export function addEditor(app, node, name, element, { minHeight, refresh }) {
  addElement(app, node, name, element, minHeight);
  node.echomimicRefresh = refresh;
  for (const event of ["onExecuted", "onConfigure"]) {
    const before = node[event];
    node[event] = function (...values) {
      before?.apply(this, values);
      refresh();
    };
  }
}

/** What the node's last run handed over under `key`, or undefined. */
export function outputOf(app, node, key) {
  const isInside = node.graph && node.graph.isRootGraph === false; // in a subgraph
  return app.nodeOutputs?.[isInside ? `${node.graph.id}:${node.id}` : node.id]?.[key]?.[0];
}

/** Refreshes the editors of all nodes of a kind: results came back with a tab or from history. */
export function refreshAll(app, kind) {
  const root = app.rootGraph ?? app.graph;
  for (const graph of [root, ...(root?.subgraphs?.values() ?? [])])
    for (const node of graph?.nodes ?? []) if (node.comfyClass === kind) node.echomimicRefresh?.();
}
