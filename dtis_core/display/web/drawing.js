// Pixels and elements for the stage: pictures on canvases, an object's outline, its bounding box.

export function element(name, attributes = {}, ...children) {
  // Texts are set as text: no name of a run or data set becomes markup.
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

export function shape(name, attributes = {}) {
  // An element of a drawing, SVG.
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

export function paint(canvas, values, [H, W], channels, alpha) {
  // Draw values (C, H, W) in [0, 1], grey where there is one channel, under an alpha (H, W).
  // The array rounds and clips.
  if (canvas.width !== W || canvas.height !== H) [canvas.width, canvas.height] = [W, H];
  const whole = H * W, image = new ImageData(W, H), pixels = image.data;
  for (let i = 0; i < whole; i++) {
    for (let c = 0; c < 3; c++)
      pixels[4 * i + c] = 255 * values[Math.min(c, channels - 1) * whole + i];
    pixels[4 * i + 3] = alpha ? 255 * alpha[i] : 255;
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}

export function outline(alpha, [H, W]) {
  // The SVG path along the pixels' edges that part what is more than half opaque from the rest.
  const inside = (y, x) => y >= 0 && y < H && x >= 0 && x < W && alpha[y * W + x] > 0.5;
  const path = [];
  for (let y = 0; y <= H; y++)
    for (let x = 0; x <= W; x++) {
      if (inside(y, x) !== inside(y - 1, x)) path.push(`M${x} ${y}h1`);
      if (inside(y, x) !== inside(y, x - 1)) path.push(`M${x} ${y}v1`);
    }
  return path.join('');
}

export function box(alpha, [H, W]) {
  // What is more than half opaque lies in [left, top, right, bottom], in pixels; null if nothing is.
  let [left, top, right, bottom] = [W, H, 0, 0];
  for (let i = 0; i < H * W; i++) {
    if (alpha[i] <= 0.5) continue;
    const y = Math.floor(i / W), x = i % W;
    [left, top] = [Math.min(left, x), Math.min(top, y)];
    [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  return right > left ? [left, top, right, bottom] : null;
}

export const hex = gains =>
  '#' + gains.map(g => Math.round(255 * Math.min(1, Math.max(0, g))).toString(16).padStart(2, '0'))
    .join('');
export const gainsOf = colour =>
  [1, 3, 5].map(i => Math.round(1000 * parseInt(colour.slice(i, i + 2), 16) / 255) / 1000);
