/** A scrubber through the frames of a track, with a play button. */

/** `{element, index(), play(), load(shown, fps)}`; calls `changed()` when another frame is to be seen. */
export function makePlayer(changed) {
  let shown = [0]; // numbers of the frames that can be seen
  let fps = 25;
  let started = null; // when playing began, so that frames keep the track's own pace

  const element = document.createElement("div");
  element.style.cssText =
    "display:none;align-items:center;gap:8px;padding:0 2px;" +
    "color:var(--input-text,#ddd);font:12px sans-serif";
  const button = document.createElement("button");
  button.style.cssText =
    "width:28px;height:24px;border:1px solid var(--border-color,#666);border-radius:6px;" +
    "background:var(--comfy-input-bg,#222);color:inherit;cursor:pointer;padding:0;font-size:11px";
  const range = document.createElement("input");
  Object.assign(range, { type: "range", min: 0, value: 0, step: 1 });
  range.setAttribute("aria-label", "Frame of the track");
  range.style.cssText = "flex:1;min-width:0;accent-color:currentColor;cursor:pointer";
  const label = document.createElement("output");
  label.style.cssText = "white-space:nowrap;font-variant-numeric:tabular-nums";
  element.append(button, range, label);

  const index = () => Number(range.value);
  const duration = () => (shown.at(-1) + 1) / fps; // seconds
  const placeOf = (frame) => Math.max(0, shown.findLastIndex((number) => number <= frame));
  const show = () => {
    const frame = shown[index()];
    const time = `${(frame / fps).toFixed(2)} s`;
    label.textContent = `${frame} / ${shown.at(-1)} · ${time}`;
    range.setAttribute("aria-valuetext", `frame ${frame}, ${time}`);
    changed();
  };
  const setPlaying = (from) => {
    started = from;
    button.textContent = from === null ? "▶" : "❚❚";
    button.setAttribute("aria-label", from === null ? "Play" : "Pause");
    if (from !== null) requestAnimationFrame(step);
  };
  const step = (now) => {
    if (started === null) return;
    if (!element.isConnected) return setPlaying(null); // the node is gone
    range.value = placeOf((((now - started) / 1000) % duration()) * fps);
    show();
    requestAnimationFrame(step);
  };
  const play = () => setPlaying(performance.now() - (1000 * shown[index()]) / fps);

  button.onclick = () => (started === null ? play() : setPlaying(null));
  range.oninput = () => {
    setPlaying(null);
    show();
  };
  element.onkeydown = (event) => event.stopPropagation(); // not a shortcut of the graph
  setPlaying(null);
  return {
    element,
    index,
    play,
    /** Other frames, perhaps of a longer clip: goes on where it is. */
    load(frames, rate) {
      const now = performance.now();
      const at = started === null ? shown[index()] / fps : ((now - started) / 1000) % duration();
      [shown, fps] = [frames, rate];
      range.max = shown.length - 1;
      range.value = placeOf(at * fps);
      if (started !== null) started = now - 1000 * at;
      element.style.display = shown.length > 1 ? "flex" : "none";
      show();
    },
  };
}
