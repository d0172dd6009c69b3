// Changes of an object, as in `dtis_core/scenes/change.py`: of the parameters that it was found with.
import {DEPTH, clamp, inverse, isMap, matrixOf, own, product} from './transformations.js';

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

export function changedModule(scene, module, values, change) {
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
