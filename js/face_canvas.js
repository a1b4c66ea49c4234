/** The face as the editors of this folder show it: where it lies, how it is drawn, what is hit. */

const UNIT = 10000; // points arrive as integers in 1/10000 of the picture's width and height
const OFF = "rgb(96, 96, 104)";
const AREAS = ["left_eye", "right_eye", "left_brow", "right_brow", "mouth"]; // can be hit inside

/** x and y of a point, as shares of the picture. */
function pointAt(data, frame, index) {
  const points = data.points[frame];
  return [points[2 * index] / UNIT, points[2 * index + 1] / UNIT];
}

/** The box [left, top, right, bottom] around all that is drawn in any frame, with a margin. */
export function faceBox(data, margin = 0.08) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  data.points.forEach((points, frame) => {
    for (let index = 0; index < points.length / 2; index++) {
      const [x, y] = pointAt(data, frame, index);
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x);
      box[3] = Math.max(box[3], y);
    }
  });
  const [x, y] = [margin * (box[2] - box[0]), margin * (box[3] - box[1])];
  return [box[0] - x, box[1] - y, box[2] + x, box[3] + y];
}

/** How a box of shares of a picture of `size` lies in the middle of a canvas: both directions. */
export function fit([left, top, right, bottom], [pictureWidth, pictureHeight], width, height) {
  const scale = Math.min(
    width / ((right - left) * pictureWidth),
    height / ((bottom - top) * pictureHeight),
  );
  const [sx, sy] = [scale * pictureWidth, scale * pictureHeight];
  const [x0, y0] = [(width - sx * (left + right)) / 2, (height - sy * (top + bottom)) / 2];
  return {
    rect: [x0, y0, sx, sy],
    put: ([x, y]) => [x0 + sx * x, y0 + sy * y],
    take: ([x, y]) => [(x - x0) / sx, (y - y0) / sy],
  };
}

/** Every line of a part as points of the canvas; a square is a line of one point. */
function shapes(data, frame, view, part) {
  const put = (index) => view.put(pointAt(data, frame, index));
  const lines = (data.lines[part] ?? []).map(({ colour, points }) => [colour, points.map(put)]);
  const squares = (data.squares[part] ?? []).map(({ colour, point }) => [colour, [put(point)]]);
  return [...lines, ...squares];
}

/** Draws a part in its colours, or grey where it is off; thicker where `hot`. */
export function drawPart(context, data, frame, view, part, { on = true, hot = false } = {}) {
  const thickness = (on ? 2 : 1.25) + (hot ? 1.5 : 0);
  for (const [colour, points] of shapes(data, frame, view, part)) {
    context.strokeStyle = context.fillStyle = on ? `rgb(${colour})` : OFF;
    context.lineWidth = thickness;
    context.lineJoin = context.lineCap = "round";
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(x, y));
    if (points.length > 1) context.stroke();
    else drawSquare(context, points[0], 3 + thickness, on);
  }
}

function drawSquare(context, [x, y], side, filled) {
  context.rect(x - side / 2 - 0.5, y - side / 2 - 0.5, side + 1, side + 1);
  if (filled) context.fill();
  else context.stroke();
}

/** Draws a ring that can be dragged, and seen on any picture. */
export function drawHandle(context, [x, y], isHeld) {
  context.beginPath();
  context.arc(x, y, isHeld ? 9 : 6, 0, 2 * Math.PI);
  for (const [width, colour] of [[4, "#000"], [2, isHeld ? "#5bf" : "#fff"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
}

/** The part nearest to a place of the canvas within `reach` pixels, else one it lies inside. */
export function partAt(data, frame, view, parts, place, reach = 12) {
  let nearest = null;
  let inside = null;
  for (const part of parts) {
    const lines = shapes(data, frame, view, part).map(([, points]) => points);
    for (const points of lines) {
      const distance = distanceToLine(points, place);
      if (distance <= reach) [nearest, reach] = [part, distance];
    }
    if (AREAS.includes(part) && isInBox(lines.flat(), place)) inside = part;
  }
  return nearest ?? inside;
}

function isInBox(points, place) {
  return [0, 1].every((axis) => {
    const values = points.map((point) => point[axis]);
    return Math.min(...values) <= place[axis] && place[axis] <= Math.max(...values);
  });
}

function distanceToLine(points, [x, y]) {
  let best = Infinity;
  points.forEach(([x1, y1], i) => {
    const [x0, y0] = points[Math.max(i - 1, 0)];
    const [dx, dy] = [x1 - x0, y1 - y0];
    const along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1);
    const t = Math.min(1, Math.max(0, along));
    best = Math.min(best, Math.hypot(x - x0 - t * dx, y - y0 - t * dy));
  });
  return best;
}
