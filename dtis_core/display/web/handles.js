// What a hand can take hold of in a sprite under one module, and the parameters after it pulled.
//
// Places are [x, y] in [-1, 1] of the output. A module says where its output *reads*, so a handle that
// is fixed to a place of the sprite stands where the output reads that place.
import {changedModule} from './changes.js';
import {DEPTH, clamp, inverse, matrixOf, zooms} from './transformations.js';

const CORNERS = {'upper left': [-1, -1], 'upper right': [1, -1], 'lower left': [-1, 1],
  'lower right': [1, 1]};
const bounded = point => point.map(v => clamp(v, -1e3, 1e3));

function standing(module, parameters, [x, y]) {
  // Where the output of a map reads a place of the sprite.
  const [a, b, c, d, e, f, g, h, i] = inverse(matrixOf(module, parameters));
  const depth = g * x + h * y + i;
  return bounded([(a * x + b * y + c) / depth, (d * x + e * y + f) / depth]);
}

function controlPoints(parameters) {
  // Control points of a spline, about where the sprite's places that lie there have gone.
  const side = Math.sqrt(parameters.length / 2), line = side - 1;
  return Array.from({length: side ** 2}, (_, n) => {
    const [row, column] = [Math.floor(n / side), n % side];
    const from = [2 * column / line - 1, 2 * row / line - 1];
    return {name: `point in row ${row + 1}, column ${column + 1}`, does: 'bend', point: n + 1, from,
      at: [from[0] - parameters[2 * n], from[1] - parameters[2 * n + 1]]};
  });
}

export function handlesOf(scene, module, parameters) {
  // Return [{name, does, at, ...}] of a module under its parameters; none for colours and thickness.
  if (module.kind === 'spline') return controlPoints(parameters);
  if (['placement', 'position'].includes(module.kind)) {
    const [s, tx, ty] = module.size === 2 ? [0, ...parameters] : parameters;
    const {spriteSize: [h, w], size} = scene, [zoomY, zoomX] = zooms(module, s, {h, w}, size);
    const [x, y] = [Math.tanh(tx), Math.tanh(ty)];
    const middle = {name: 'middle', does: 'shift', at: [x, y]};
    if (module.size === 2) return [middle];
    return [middle, {name: 'size', does: 'scale', at: [x + 1 / zoomX, y + 1 / zoomY]}];
  }
  const stand = place => standing(module, parameters, place);
  if (module.kind === 'similarity') {
    const turn = {name: 'angle', does: 'angle', at: stand([0, -1])};
    if (module.size === 1) return [turn];
    return [{name: 'middle', does: 'shift', at: stand([0, 0])}, turn,
      {name: 'size', does: 'scale', at: stand([1, 1])}];
  }
  if (module.kind !== 'matrix') return [];
  // Three corners decide an affine map, four a projective one.
  const corners = Object.entries(CORNERS).slice(0, module.size / 2);
  return corners.map(([name, place]) =>
    ({name: `${name} corner`, does: 'corner', place, at: stand(place)}));
}

export function pulled(scene, module, parameters, handle, to) {
  // Return the parameters that bring a handle to a place, or as near as the module can.
  const {at, does} = handle, by = [to[0] - at[0], to[1] - at[1]];
  const change = fields => changedModule(scene, module, parameters, fields);
  if (does === 'shift') return change({shift: [by[0] / 2, by[1] / 2]}); // images span 2
  if (does === 'bend') return change({bend: [[handle.point, by[0] / 2, by[1] / 2]]});
  if (does === 'corner') return throughCorners(scene, module, parameters, handle, to);
  const [x, y] = handlesOf(scene, module, parameters)[0].does === 'shift'
    ? handlesOf(scene, module, parameters)[0].at : [0, 0];
  const [from, near] = [[at[0] - x, at[1] - y], [to[0] - x, to[1] - y]];
  if (does === 'scale') {
    const along = (near[0] * from[0] + near[1] * from[1]) / (from[0] ** 2 + from[1] ** 2);
    return change({scale: clamp(along, 0.1, 10)});
  }
  const angle = Math.atan2(near[1], near[0]) - Math.atan2(from[1], from[0]);
  return change({angle: angle * 180 / Math.PI});
}

function throughCorners(scene, module, parameters, moving, to) {
  // The map that reads each corner of the sprite where its handle stands: linear equations in the
  // entries. One that flattens the sprite, or has a corner near its horizon, is not taken.
  const handles = handlesOf(scene, module, parameters), n = module.size;
  const rows = handles.flatMap(({name, place: [u, v], at}) => {
    const [x, y] = name === moving.name ? to : at;
    return [[x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]]
      .map(row => [...row.slice(0, n), row[8]]);
  });
  const entries = solved(rows);
  const M = [...entries, ...Array(8 - n).fill(0), 1];
  const far = handles.every(({name, at}) => {
    const [x, y] = name === moving.name ? to : at;
    return M[6] * x + M[7] * y + 1 > 2 * DEPTH;
  });
  const taken = far && M.every(entry => Math.abs(entry) < 20)
    && Math.abs(M[0] * M[4] - M[1] * M[3]) > 0.02;
  return taken ? entries.map((entry, i) => entry - (i % 4 === 0 ? 1 : 0)) : parameters;
}

function solved(rows) {
  // Gauss's elimination on rows [coefficients..., right side], largest pivots first.
  const n = rows.length;
  for (let k = 0; k < n; k++) {
    const below = rows.slice(k).map(row => Math.abs(row[k]));
    const best = k + below.indexOf(Math.max(...below));
    [rows[k], rows[best]] = [rows[best], rows[k]];
    for (let i = 0; i < n; i++) {
      const factor = i === k ? 0 : rows[i][k] / rows[k][k];
      rows[i] = rows[i].map((entry, c) => entry - factor * rows[k][c]);
    }
  }
  return rows.map((row, k) => row[n] / row[k]);
}
