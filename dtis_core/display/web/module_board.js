// A sprite under one module, with what a hand can take hold of and a slider for exact numbers.
//
// `openModule(root, module, state, changed)` draws into an element and calls `changed({values})` after
// each edit. `module` is what `dtis_core/display/module_board.py` sends; the returned `show(state)`
// follows values that were set elsewhere.
import {values} from './composition.js';
import {sliderFor, told} from './controls.js';
import {element, outline, paint, shape} from './drawing.js';
import {handlesOf, pulled} from './handles.js';
import {appearance, clamp, transformed} from './transformations.js';

const ROOM = 1.04; // how far from the middle handles are shown at most: just outside the picture
const FINE = 1e4; // parameters are rounded to its inverse, far below what can be seen

export const openedModule = module => ({...module, sprite: values(module.sprite)});

export function transformedSprite(scene, parameters) {
  // Return a sprite under its module: pixels (D, H, W), colours then mask, and its frame (H, W).
  const C = scene.channels, [h, w] = scene.spriteSize;
  const canvas = {h, w, depth: C + 1, pixels: scene.sprite,
    support: new Float32Array(h * w).fill(1), gain: Array(C).fill(1), bias: Array(C).fill(0)};
  const out = transformed(scene, scene.sequence, canvas, parameters);
  return {pixels: appearance(out, C), frame: out.support};
}

export function openModule(root, module, start, changed = () => {}) {
  const {size, channels: C, controls, name} = module, [H, W] = size;
  const scene = openedModule(module), [own] = module.sequence.modules;
  let parameters = start.values, drag = null, frame = 0;

  // What there is

  const picture = element('canvas', {class: 'dtis-picture dtis-clear', role: 'img',
    'aria-label': `sprite under ${name}`});
  const around = shape('svg',
    {viewBox: `-1 -1 2 2`, class: 'dtis-handles', 'aria-hidden': 'true'});
  const place = element('div', {class: 'dtis-place'}, picture, around);
  const status = element('p', {class: 'dtis-status', role: 'status'});
  const grips = handlesOf(scene, own, parameters).map(({name: title, does}, n) => {
    const grip = element('button', {type: 'button', class: `dtis-grip dtis-${does}`,
      'aria-label': `${title}: arrow keys move it`, title,
      onkeydown: event => nudge(n, event)});
    place.append(grip);
    return grip;
  });
  const sliders = controls.map(({name: title, entries, most}) => ({entries,
    ...sliderFor(title, -most, most, most / 100, value =>
      become(parameters.map((one, i) => (entries.includes(i) ? value : one))))}));
  const named = new Set(controls.flatMap(one => one.entries));
  const all = named.size < parameters.length && element('pre', {class: 'dtis-all-values',
    'aria-label': 'all parameters', tabindex: 0});
  const zeros = element('button', {type: 'button', onclick: () => become(start.values.map(() => 0))},
    'All zero');
  root.replaceChildren(element('div', {class: 'dtis-bench', role: 'group', 'aria-label': name,
    'data-lm-suppress-shortcuts': 'true'},
  element('div', {class: 'dtis-left'}, place, status, zeros),
  element('div', {class: 'dtis-right'}, ...sliders.map(one => one.row), all || '')));

  // Drawing

  function draw() {
    frame = 0;
    const {pixels, frame: support} = transformedSprite(scene, parameters);
    paint(picture, pixels, size, C, pixels.subarray(C * H * W));
    const handles = handlesOf(scene, own, parameters);
    around.replaceChildren(...handles.filter(one => one.from).map(({from, at}) =>
      shape('path', {d: `M${from}L${at}`, class: 'dtis-outline dtis-pull'})));
    const edge = shape('path', {d: outline(support, size), class: 'dtis-outline dtis-frame',
      transform: `translate(-1 -1) scale(${2 / W} ${2 / H})`});
    around.append(edge);
    handles.forEach(({at}, n) => {
      const [x, y] = at.map(v => 50 + 50 * clamp(v, -ROOM, ROOM));
      grips[n].style.left = `${x}%`;
      grips[n].style.top = `${y}%`;
    });
    for (const {entries, set} of sliders) set(parameters[entries[0]]);
    if (all) all.textContent = lines().join('\n');
    status.textContent = parameters.some(v => v)
      ? `${parameters.filter(v => v).length} of ${parameters.length} parameters are not zero.`
      : 'All parameters are zero.';
  }

  function lines() {
    // The control points' (x, y) as they lie in their grid; else eight numbers in a line.
    const text = parameters.map(v => told(v).padStart(5)), across = own.kind === 'spline' ? 8 : 7;
    return text.flatMap((_, i) =>
      (i % across ? [] : [text.slice(i, i + across).join(' ')]));
  }

  const later = () => { frame ||= requestAnimationFrame(draw); };

  // Edits

  function become(next) {
    if (!next.every(Number.isFinite)) return;
    parameters = next.map(v => Math.round(FINE * v) / FINE);
    later();
    changed({values: parameters});
  }

  function nudge(n, event) {
    const far = (event.shiftKey ? 10 : 2) / W, handle = handlesOf(scene, own, parameters)[n];
    const [right, down] = {ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far],
      ArrowDown: [0, far]}[event.key] ?? [0, 0];
    if (!(right || down) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    become(pulled(scene, own, parameters, handle, [handle.at[0] + right, handle.at[1] + down]));
  }

  // The hand

  function at(event) {
    const area = picture.getBoundingClientRect();
    return [2 * (event.clientX - area.left) / area.width - 1,
      2 * (event.clientY - area.top) / area.height - 1];
  }

  place.addEventListener('pointerdown', event => {
    // A grip, or anywhere on the picture the one that shifts.
    const handles = handlesOf(scene, own, parameters), grip = grips.indexOf(event.target);
    const n = grip < 0 ? handles.findIndex(one => one.does === 'shift') : grip;
    if (event.button || n < 0) return;
    event.preventDefault();
    grips[n].focus({preventScroll: true});
    place.setPointerCapture(event.pointerId);
    drag = {handle: handles[n], from: at(event), before: parameters};
  });
  place.addEventListener('pointermove', event => {
    if (!drag) return;
    const [x, y] = at(event), {handle, from, before} = drag;
    const to = [handle.at[0] + x - from[0], handle.at[1] + y - from[1]];
    const next = pulled(scene, own, before, handle, to);
    if (next !== before) become(next);
  });
  for (const name of ['pointerup', 'pointercancel'])
    place.addEventListener(name, () => { drag = null; });

  draw();
  return {
    show(next) {
      parameters = next.values;
      later();
    },
  };
}
