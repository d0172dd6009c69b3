// Scenes drawn in the browser: Eq. (3), a sprite under its transformations, and Eq. (2), the layers
// under an occlusion matrix. What `dtis_core/model` does, for one image and without gradient.
//
// A `scene` is what `dtis_core/display/stage_data.py` describes: sizes, the two sequences of modules,
// sprites, the background, and each object as it was found. `edits` are how objects differ from that,
// as in an edited scene's JSON: {objects: [{layer, sprite, colour, shift, scale, angle, bend}], order}.
// Arrays are flat; letters are those of `dtis_core/model/composition.py`.

const SPLINE_SIDE = 4; // control points of a spline in a row
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
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

function zooms(module, s, canvas, size) {
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

const DEPTH = 0.1; // of a map: points at or behind the horizon are kept far in front
const through = (M, [x, y]) => {
  const depth = Math.max(DEPTH, M[6] * x + M[7] * y + M[8]);
  return [(M[0] * x + M[1] * y + M[2]) / depth, (M[3] * x + M[4] * y + M[5]) / depth];
};
const product = (A, B) =>
  Array.from({length: 9}, (_, i) => [0, 1, 2].reduce(
    (sum, k) => sum + A[3 * Math.floor(i / 3) + k] * B[3 * k + i % 3], 0));
const inverse = ([a, b, c, d, e, f, g, h, i]) => {
  const entries = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g,
    c * d - a * f, d * h - e * g, b * g - a * h, a * e - b * d];
  const determinant = a * entries[0] + b * entries[3] + c * entries[6];
  return entries.map(entry => entry / determinant);
};

function spline(own, weights) {
  // Return how points move under the displacements of the control points.
  const n = SPLINE_SIDE ** 2, terms = new Float64Array(n + 3), line = SPLINE_SIDE - 1;
  const along = new Float64Array(n + 3), down = new Float64Array(n + 3);
  for (let b = 0; b < n + 3; b++)
    for (let c = 0; c < n; c++) {
      along[b] += weights[b * n + c] * own[2 * c];
      down[b] += weights[b * n + c] * own[2 * c + 1];
    }
  return ([x, y]) => {
    for (let c = 0; c < n; c++) {
      const dx = x - (2 * (c % SPLINE_SIDE) / line - 1);
      const dy = y - (2 * Math.floor(c / SPLINE_SIDE) / line - 1), squared = dx * dx + dy * dy;
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
  const side = 7, reach = 3, {h, w} = canvas, whole = h * w, depth = canvas.depth;
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

function appearance(canvas, channels) {
  // Pixels with the pending colour map applied; the mask, last, is as it is.
  const whole = canvas.h * canvas.w, out = Float32Array.from(canvas.pixels);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < whole; i++)
      out[c * whole + i] = canvas.gain[c] * out[c * whole + i] + canvas.bias[c] * canvas.support[i];
  return out;
}

const isMap = module => ['similarity', 'matrix', 'spline'].includes(module.kind);
const own = (module, parameters) => parameters.slice(module.at[0], module.at[1]);

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

// Changes of an object, as in `dtis_core/scenes/change.py`

function positioned(module, values, change) {
  const factor = change.scale ?? 1, [right, down] = change.shift ?? [0, 0];
  const scaled = s => {
    if (module.kind === 'position') return Math.log(Math.max(1e-3, (Math.exp(s) + 1) / factor - 1));
    const share = Math.tanh(s / module.octaves) + Math.log2(factor) / module.octaves;
    return Math.atanh(clamp(share, -0.999, 0.999)) * module.octaves;
  };
  const moved = (t, by) => Math.atanh(clamp(Math.tanh(t) + 2 * by, -0.999, 0.999));
  if (module.size === 2) return [moved(values[0], right), moved(values[1], down)];
  return [scaled(values[0]), moved(values[1], right), moved(values[2], down)];
}

function rearranged(module, values, change) {
  const M = matrixOf(module, values), [right, down] = change.shift ?? [0, 0];
  const back = inverse(M), depth = Math.max(DEPTH, back[8]);
  const centre = [back[2] / depth, back[5] / depth];
  const target = [centre[0] + 2 * right, centre[1] + 2 * down]; // images span 2
  const angle = (change.angle ?? 0) * Math.PI / 180, scale = change.scale ?? 1;
  const cos = Math.cos(angle) / scale, sin = Math.sin(angle) / scale;
  const turn = [cos, sin, centre[0] - cos * target[0] - sin * target[1],
    -sin, cos, centre[1] + sin * target[0] - cos * target[1], 0, 0, 1];
  let N = product(M, turn);
  const norm = Math.max(DEPTH, N[8]);
  N = N.map(entry => entry / norm);
  if (module.kind === 'similarity')
    return [Math.atan2(N[1], N[0]), -Math.log(Math.hypot(N[0], N[1])), -N[2], -N[5]]
      .slice(0, module.size);
  return N.map((entry, i) => entry - (i % 4 === 0 ? 1 : 0)).slice(0, module.size);
}

function changedModule(scene, module, values, change) {
  if (module.kind === 'colour')
    return values.map((_, i) => i < scene.channels ? change.colour[i] - 1 : 0);
  if (module.kind === 'spline') {
    const out = [...values];
    for (const [point, x, y] of change.bend) {
      out[2 * (point - 1)] -= 2 * x;
      out[2 * (point - 1) + 1] -= 2 * y;
    }
    return out;
  }
  return isMap(module) ? rearranged(module, values, change) : positioned(module, values, change);
}

export function spriteOf(scene, object) {
  return object.sprite ?? scene.found[object.layer - 1].sprite;
}

export function parametersOf(scene, object) {
  // The parameters [sprite's, layer's] of an object under its change.
  const found = scene.found[object.layer - 1], k = Math.max(0, spriteOf(scene, object) - 1);
  const parameters = [[...found.layerParameters], [...found.spriteParameters[k]]];
  const wanted = new Map();
  for (const [kind, [sequence, index]] of Object.entries(scene.carriers)) {
    if (object[kind] === undefined) continue;
    const key = `${sequence} ${index}`;
    wanted.set(key, {...wanted.get(key), [kind]: object[kind]});
  }
  for (const [key, change] of wanted) {
    const [sequence, index] = key.split(' ').map(Number);
    const module = scene.sequences[sequence].modules[index], all = parameters[sequence];
    all.splice(module.at[0], module.size,
      ...changedModule(scene, module, own(module, all), change));
  }
  return parameters;
}

export function layerOf(scene, object) {
  // Draw an object by itself: alpha (H, W) and colour (C, H, W), of Eq. (3) with clipped masks.
  const [H, W] = scene.size, C = scene.channels, k = spriteOf(scene, object);
  if (!k) return {alpha: new Float32Array(H * W), colour: new Float32Array(C * H * W)};
  const [h, w] = scene.spriteSize, [layer, sprite] = parametersOf(scene, object);
  let canvas = {h, w, depth: C + 1, pixels: scene.sprites[k - 1],
    support: new Float32Array(h * w).fill(1), gain: Array(C).fill(1), bias: Array(C).fill(0)};
  canvas = transformed(scene, scene.sequences[1], canvas, sprite);
  canvas = transformed(scene, scene.sequences[0], canvas, layer);
  const out = appearance(canvas, C), mask = out.subarray(C * H * W);
  const alpha = Float32Array.from(mask, scene.concrete
    ? (m, i) => canvas.support[i] / (1 + Math.exp(-scene.concrete * (m - 0.5)))
    : m => clamp(m, 0, 1));
  return {alpha, colour: out.subarray(0, C * H * W)};
}

// Who hides whom, as in `dtis_core/scenes/scene.py`

export function occlusionOf(scene, edits) {
  // Return rows [j][l]: 1 where object j hides object l.
  if (edits.order) {
    const rank = edits.objects.map((_, n) => edits.order.indexOf(n + 1));
    return rank.map(one => rank.map(other => one > other ? 1 : 0));
  }
  const matrix = scene.occlusion.map(row => [...row]);
  for (const copy of edits.objects.slice(matrix.length)) {
    const at = copy.layer - 1;
    for (const row of matrix) row.push(row[at]);
    matrix.push([...matrix[at]]);
    matrix.at(-1)[at] = 1;
  }
  return matrix;
}

export function orderOf(occlusion) {
  // The order of depths, farthest first: first who hides fewest, of equals the first.
  const hides = occlusion.map(row => row.reduce((a, b) => a + b, 0));
  return hides.map((_, n) => n + 1).sort((a, b) => hides[a - 1] - hides[b - 1] || a - b);
}

export function withDepth(scene, edits, number, depth) {
  // Return the order in which an object has `depth` others behind it.
  const hides = occlusionOf(scene, edits).map(row => row.map((v, l) => l === number - 1 ? 0 : v));
  const others = orderOf(hides).filter(n => n !== number);
  return [...others.slice(0, depth), number, ...others.slice(depth)];
}

export function composed(scene, layers, occlusion) {
  // Eq. (2): each layer's appearance, weighted by what is seen of it. Returns the image (C, H, W) and
  // what is seen of each object (H, W).
  const whole = scene.size[0] * scene.size[1], C = scene.channels;
  const image = new Float32Array(C * whole), left = new Float32Array(whole).fill(1);
  const seen = layers.map(({alpha}, l) => {
    const visible = Float32Array.from(alpha);
    occlusion.forEach((row, j) => {
      if (row[l]) for (let i = 0; i < whole; i++) visible[i] *= 1 - row[l] * layers[j].alpha[i];
    });
    return visible;
  });
  layers.forEach(({alpha, colour}, l) => {
    for (let i = 0; i < whole; i++) {
      left[i] *= 1 - alpha[i];
      for (let c = 0; c < C; c++) image[c * whole + i] += seen[l][i] * colour[c * whole + i];
    }
  });
  if (scene.background)
    for (let c = 0; c < C; c++)
      for (let i = 0; i < whole; i++)
        image[c * whole + i] += left[i] * scene.background[c * whole + i];
  return {image: image.map(v => clamp(v, 0, 1)), seen};
}

// What Python sends

export function values({data, bits, range: [low, high]}) {
  // Numbers that were sent as so many bits each, base64.
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const steps = bits === 8 ? bytes : new Uint16Array(bytes.buffer);
  const unit = (high - low) / (2 ** bits - 1);
  return Float32Array.from(steps, step => low + step * unit);
}

export function opened(description) {
  // Return a scene to draw from what was sent.
  const {sprites, background} = description, C = description.channels;
  const [h, w] = description.spriteSize, one = (C + 1) * h * w, all = values(sprites);
  const each = Array.from({length: all.length / one}, (_, k) => all.subarray(k * one, (k + 1) * one));
  return {...description, sprites: each, background: background && values(background)};
}
