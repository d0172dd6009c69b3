// Layers given as they are, without sprites: placed by whole pixels, composed by Eq. (2).
//
// `layers` are what `dtis_core/display/layer_board.py` sends; a state is {occlusion, shifts, opacity}:
// rows [j][l], 1 where layer j hides layer l; [right, down] of each layer, in pixels; 0 to 1.
import {composed, orderOf, values} from './composition.js';

export function openedLayers({size, channels, alphas, colours, background, target}) {
  const whole = size[0] * size[1], each = values(alphas), all = values(colours), C = channels;
  const layers = Array.from({length: each.length / whole}, (_, l) => ({
    alpha: each.subarray(l * whole, (l + 1) * whole),
    colour: all.subarray(l * C * whole, (l + 1) * C * whole),
  }));
  return {size, channels, layers, background: background && values(background),
    target: target && values(target)};
}

function movedBy(part, [right, down], [H, W]) {
  // An image (c, H, W) moved by whole pixels: what leaves it is lost, and zeros come in.
  const out = new Float32Array(part.length), whole = H * W;
  for (let i = 0; i < part.length; i++) {
    const y = Math.floor(i % whole / W) - down, x = i % W - right;
    if (y >= 0 && y < H && x >= 0 && x < W) out[i] = part[i - i % whole + y * W + x];
  }
  return out;
}

export function composedLayers(scene, {occlusion, shifts, opacity}) {
  // Return the image (C, H, W), what is seen of each layer (H, W), and the layers where they lie.
  const layers = scene.layers.map(({alpha, colour}, l) => ({
    alpha: movedBy(alpha, shifts[l], scene.size).map(a => a * opacity),
    colour: movedBy(colour, shifts[l], scene.size),
  }));
  return {...composed(scene, layers, occlusion), layers};
}

export const meanSquare = (image, target) =>
  image.reduce((sum, v, i) => sum + (v - target[i]) ** 2, 0) / image.length;

// Who hides whom

export const pairsOf = L =>
  Array.from({length: L}, (_, j) => Array.from({length: j}, (_, l) => [j, l])).flat();

export function withPair(occlusion, j, l, share) {
  // Layer j hides layer l by a share, and is hidden by the rest of it.
  const next = occlusion.map(row => [...row]);
  [next[j][l], next[l][j]] = [share, 1 - share];
  return next;
}

export function inOrder(order) {
  // The matrix of an order, which names the layers from 1, the farthest first.
  const rank = order.map((_, l) => order.indexOf(l + 1));
  return rank.map(one => rank.map(other => (one > other ? 1 : 0)));
}

export function swapped(occlusion, l, by) {
  // The matrix of the order in which layer l is `by` places closer than it seems to be now.
  const order = orderOf(occlusion), at = order.indexOf(l + 1), others = order.toSpliced(at, 1);
  const place = Math.min(order.length - 1, Math.max(0, at + by));
  return inOrder(others.toSpliced(place, 0, l + 1));
}

export function inWords(occlusion) {
  const pairs = pairsOf(occlusion.length).map(([j, l]) => [j, l, occlusion[j][l]]);
  if (pairs.some(([, , share]) => share > 0 && share < 1))
    return 'Undecided: where two layers overlap, both show through.';
  const order = orderOf(occlusion);
  const ranks = order.map(n => occlusion[n - 1].reduce((a, b) => a + b, 0));
  if (ranks.every((hides, rank) => hides === rank))
    return `An order, the farthest first: ${order.join(' < ')}.`;
  const said = pairs.map(([j, l, share]) =>
    (share ? `${j + 1} hides ${l + 1}` : `${l + 1} hides ${j + 1}`));
  return `No order: ${said.join(', ')}.`;
}
