// Eq. (3) in the browser: a sprite on its way through sequences of transformations, as in
// `dtis_core/model/transformations.py` and `dtis_core/search/transformations.py`.

export const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const centres = n => Float64Array.from({length: n}, (_, i) => (2 * i + 1) / n - 1); // in [-1, 1]

// A sprite on its way: pixels (C + 1, h, w), colours then mask; support (h, w); a pending colour map.

function resampled(canvas, H, W, at) {
  // Read the canvas at the points at(i) = [x, y], one for each pixel of (H, W).
  const {h, w, pixels, support, depth} = canvas;
  const both = new Float32Array((depth + 1) * H * W), whole = H * W, part = h * w;
  for (let i = 0; i < whole; i++) {
    const [x, y] = at(i);
    const row = ((y + 1) * h - 1) / 2, column = ((x + 1) * w - 1) / 2;
    if (!(row > -1 && row < h && column > -1 && column < w)) continue;
    const top = Math.floor(row), left = Math.floor(column), down = row - top, right = column - left;
    for (let corner = 0; corner < 4; corner++) {
      const r = top + (corner >> 1), c = left + (corner & 1);
      if (r < 0 || r >= h || c < 0 || c >= w) continue;
      const weight = (corner >> 1 ? down : 1 - down) * (corner & 1 ? right : 1 - right);
      const place = r * w + c;
      for (let d = 0; d < depth; d++) both[d * whole + i] += weight * pixels[d * part + place];
      both[depth * whole + i] += weight * support[place];
    }
  }
  const split = depth * whole;
  return {...canvas, h: H, w: W, pixels: both.subarray(0, split), support: both.subarray(split)};
}

// Modules, as in `dtis_core/model/transformations.py` and `dtis_core/search/transformations.py`

function coloured(canvas, own, channels) {
  // Gains minus one, then offsets where the module has any.
  const gain = canvas.gain.map((g, c) => g * (1 + own[c]));
  const bias = canvas.bias.map((b, c) => b * (1 + own[c]) + (own[channels + c] ?? 0));
  return {...canvas, gain, bias};
}

export function zooms(module, s, canvas, size) {
  if (module.kind === 'position') return [Math.exp(s) + 1, Math.exp(s) + 1];
  const scale = 2 ** (-module.octaves * Math.tanh(s / module.octaves));
  return [scale * size[0] / canvas.h, scale * size[1] / canvas.w];
}

function placed(module, canvas, own, size) {
  const [s, tx, ty] = module.size === 2 ? [0, ...own] : own;
  const [zoomY, zoomX] = zooms(module, s, canvas, size), [H, W] = size;
  const [x, y] = [Math.tanh(tx), Math.tanh(ty)], rows = centres(H), columns = centres(W);
  return resampled(canvas, H, W,
    i => [zoomX * (columns[i % W] - x), zoomY * (rows[Math.floor(i / W)] - y)]);
}

export function matrixOf(module, own) {
  if (module.kind === 'similarity') {
    const [angle, logScale = 0, x = 0, y = 0] = own, scale = Math.exp(-logScale);
    const cos = scale * Math.cos(angle), sin = scale * Math.sin(angle);
    return [cos, sin, -x, -sin, cos, -y, 0, 0, 1];
  }
  return [1, 0, 0, 0, 1, 0, 0, 0, 1].map((entry, i) => entry + (own[i] ?? 0));
}

export const DEPTH = 0.1; // of a map: points at or behind the horizon are kept far in front
const through = (M, [x, y]) => {
  const depth = Math.max(DEPTH, M[6] * x + M[7] * y + M[8]);
  return [(M[0] * x + M[1] * y + M[2]) / depth, (M[3] * x + M[4] * y + M[5]) / depth];
};
export const product = (A, B) =>
  Array.from({length: 9}, (_, i) => [0, 1, 2].reduce(
    (sum, k) => sum + A[3 * Math.floor(i / 3) + k] * B[3 * k + i % 3], 0));
export const inverse = ([a, b, c, d, e, f, g, h, i]) => {
  const entries = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g,
    c * d - a * f, d * h - e * g, b * g - a * h, a * e - b * d];
  const determinant = a * entries[0] + b * entries[3] + c * entries[6];
  return entries.map(entry => entry / determinant);
};

function spline(own, weights) {
  const side = Math.sqrt(own.length / 2);
  // Return how points move under the displacements of the control points.
  const n = side ** 2, terms = new Float64Array(n + 3), line = side - 1;
  const along = new Float64Array(n + 3), down = new Float64Array(n + 3);
  for (let b = 0; b < n + 3; b++)
    for (let c = 0; c < n; c++) {
      along[b] += weights[b * n + c] * own[2 * c];
      down[b] += weights[b * n + c] * own[2 * c + 1];
    }
  return ([x, y]) => {
    for (let c = 0; c < n; c++) {
      const dx = x - (2 * (c % side) / line - 1);
      const dy = y - (2 * Math.floor(c / side) / line - 1), squared = dx * dx + dy * dy;
      terms[c] = squared * Math.log(Math.max(squared, 1e-12));
    }
    [terms[n], terms[n + 1], terms[n + 2]] = [1, x, y];
    let [right, below] = [x, y];
    for (let b = 0; b < n + 3; b++) {
      right += terms[b] * along[b];
      below += terms[b] * down[b];
    }
    return [right, below];
  };
}

function thickened(canvas, own, channels) {
  // The morphological module: a mean under a kernel, sharpened to the largest or the smallest.
  const side = Math.sqrt(own.length - 1), reach = (side - 1) / 2, {h, w} = canvas, whole = h * w, depth = canvas.depth;
  const pixels = new Float32Array(depth * whole), from = appearance(canvas, channels);
  for (let d = 0; d < depth; d++)
    for (let i = 0; i < whole; i++) {
      const y = Math.floor(i / w), x = i % w;
      let sum = 0, total = 0;
      for (let k = 0; k < side * side; k++) {
        const share = clamp((k === (side * side - 1) / 2 ? 1 : 0) + own[1 + k], 0, 1);
        const r = y + Math.floor(k / side) - reach, c = x + k % side - reach;
        const inside = r >= 0 && r < h && c >= 0 && c < w;
        const value = inside ? from[d * whole + r * w + c] : 0;
        const weight = share * Math.exp(own[0] * value);
        [sum, total] = [sum + weight * value, total + weight];
      }
      pixels[d * whole + i] = sum / Math.max(total, 1e-6);
    }
  return {...canvas, pixels, gain: canvas.gain.map(() => 1), bias: canvas.bias.map(() => 0)};
}

export function appearance(canvas, channels) {
  // Pixels with the pending colour map applied; the mask, last, is as it is.
  const whole = canvas.h * canvas.w, out = Float32Array.from(canvas.pixels);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < whole; i++)
      out[c * whole + i] = canvas.gain[c] * out[c * whole + i] + canvas.bias[c] * canvas.support[i];
  return out;
}

export const isMap = module => ['similarity', 'matrix', 'spline'].includes(module.kind);
export const own = (module, parameters) => parameters.slice(module.at[0], module.at[1]);

export function transformed(scene, sequence, canvas, parameters) {
  // Apply a sequence's modules; neighbouring maps of points are composed and read once.
  const {modules, resizeTo} = sequence;
  for (let start = 0, end; start < modules.length; start = end) {
    end = start + 1;
    if (isMap(modules[start])) while (end < modules.length && isMap(modules[end])) end++;
    const group = modules.slice(start, end), first = group[0];
    const size = resizeTo && group.includes(modules[sequence.lastSpatial])
      ? resizeTo : [canvas.h, canvas.w];
    const values = own(first, parameters);
    if (isMap(first)) canvas = mapped(scene, group, canvas, parameters, size);
    else if (first.kind === 'colour') canvas = coloured(canvas, values, scene.channels);
    else if (first.kind === 'morphological') canvas = thickened(canvas, values, scene.channels);
    else canvas = placed(first, canvas, values, size);
  }
  return canvas;
}

function mapped(scene, group, canvas, parameters, [H, W]) {
  const maps = group.map(module => {
    if (module.kind === 'spline') return spline(own(module, parameters), scene.splineWeights);
    const M = matrixOf(module, own(module, parameters));
    return point => through(M, point);
  }).reverse();
  const rows = centres(H), columns = centres(W);
  return resampled(canvas, H, W, i =>
    maps.reduce((point, map) => map(point), [columns[i % W], rows[Math.floor(i / W)]]));
}
