// Scenes drawn in the browser: Eq. (3), a sprite under its transformations, and Eq. (2), the layers
// under an occlusion matrix. What `dtis_core/model` does, for one image and without gradient.
//
// A `scene` is what `dtis_core/display/stage_data.py` describes: sizes, the two sequences of modules,
// sprites, the background, and each object as it was found. `edits` are how objects differ from that,
// as in an edited scene's JSON: {objects: [{layer, sprite, colour, shift, scale, angle, bend}], order}.
// Arrays are flat; letters are those of `dtis_core/model/composition.py`.
import {parametersOf, spriteOf} from './changes.js';
import {appearance, clamp, transformed} from './transformations.js';

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
