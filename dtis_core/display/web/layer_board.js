// Layers under the hand: drag them, bring them closer, and set who hides whom pair by pair.
//
// `openLayers(root, layers, state, changed)` draws into an element and calls `changed(state)` after
// each edit; see layers.js for the two. The returned `show(state)` follows a state set elsewhere.
import {sliderFor, told} from './controls.js';
import {element, outline, paint, shape} from './drawing.js';
import {composedLayers, inWords, meanSquare, openedLayers, pairsOf, swapped, withPair}
  from './layers.js';

const BOARD_HELP = 'Drag a layer to move it. Arrow keys move the chosen layer by a pixel, with Shift ' +
  'by five; Page Up brings it closer, Page Down farther.';

export function openLayers(root, layers, start, changed = () => {}) {
  const scene = openedLayers(layers), [H, W] = scene.size, C = scene.channels;
  const L = scene.layers.length, every = [...Array(L).keys()];
  let state = start, made = null, chosen = L - 1, drag = null, frame = 0;

  // What there is

  const picture = element('canvas', {class: 'dtis-picture', tabindex: 0, role: 'application',
    'aria-label': 'picture of all layers', title: BOARD_HELP});
  const around = shape('svg',
    {viewBox: `0 0 ${W} ${H}`, class: 'dtis-handles', 'aria-hidden': 'true'});
  const place = element('div', {class: 'dtis-place'}, picture, around);
  const button = (text, act, attributes = {}) =>
    element('button', {type: 'button', onclick: act, ...attributes}, text);
  const status = element('p', {class: 'dtis-status', role: 'status'});
  const cards = every.map(l => {
    const canvas = element('canvas', {'aria-hidden': 'true'}), share = element('span');
    const pick = button(canvas, () => choose(l), {class: 'dtis-pick', 'aria-pressed': 'false'});
    const card = element('div', {class: 'dtis-seen', role: 'group', 'aria-label': `layer ${l + 1}`},
      pick, share,
      button('closer', () => deeper(l, 1), {'aria-label': `layer ${l + 1} closer`}),
      button('farther', () => deeper(l, -1), {'aria-label': `layer ${l + 1} farther`}));
    return {canvas, share, pick, card};
  });
  const cells = every.map(j => every.map(l => (j === l ? element('span', {}, '0')
    : button('', () => toggle(j, l), {tabindex: -1, onfocus: () => reach(cells[j][l])}))));
  const heads = (role, word) => every.map(l => element('span', {role}, `${word} ${l + 1}`));
  const [above, beside] = [heads('columnheader', 'hides'), heads('rowheader', 'layer')];
  const table = element('div', {class: 'dtis-delta', role: 'grid', style: `--columns: ${L + 1}`,
    'aria-label': 'occlusion matrix: row hides column', onkeydown: walk},
  element('div', {role: 'row'}, element('span', {role: 'columnheader'}, 'δ'), ...above),
  ...cells.map((row, j) => element('div', {role: 'row'}, beside[j],
    ...row.map(cell => element('span', {role: 'gridcell'}, cell)))));
  const sliders = pairsOf(L).map(([j, l]) => ({j, l, ...sliderFor(`${j + 1} hides ${l + 1}`,
    0, 1, 0.05, share => become({occlusion: withPair(state.occlusion, j, l, share)}))}));
  const opacity = sliderFor('opacity', 0, 1, 0.05, value => become({opacity: value}));
  root.replaceChildren(element('div', {class: 'dtis-bench', role: 'group',
    'aria-label': 'layers, and who hides whom', 'data-lm-suppress-shortcuts': 'true'},
  element('div', {class: 'dtis-left'}, place, status,
    button('Start over', () => become(start))),
  element('div', {class: 'dtis-right'}, table, ...sliders.map(one => one.row), opacity.row,
    element('p', {}, 'What is seen of each layer:'),
    element('div', {class: 'dtis-shares'}, ...cards.map(one => one.card)))));

  // Drawing

  function draw() {
    frame = 0;
    made = composedLayers(scene, state);
    paint(picture, made.image, scene.size, C);
    const path = outline(made.layers[chosen].alpha.map(a => a / (state.opacity || 1)), scene.size);
    around.replaceChildren(shape('path', {d: path, class: 'dtis-outline'}),
      shape('path', {d: path, class: 'dtis-outline dtis-dashes'}));
    cards.forEach(({canvas, share, pick}, l) => {
      const seen = made.seen[l], mean = seen.reduce((a, b) => a + b, 0) / seen.length;
      const text = `${(100 * mean).toFixed(1)} %`;
      paint(canvas, made.layers[l].colour, scene.size, C, seen);
      share.textContent = text;
      pick.setAttribute('aria-label', `choose layer ${l + 1}, seen in ${text} of the image`);
      pick.setAttribute('aria-pressed', String(l === chosen));
    });
    fill();
    const error = scene.target
      ? ` Squared error: ${(1000 * meanSquare(made.image, scene.target)).toFixed(2)}e-3.` : '';
    status.textContent = inWords(state.occlusion) + error;
  }

  function fill() {
    // The matrix and its sliders; entries that another one changed light up for a moment.
    for (const [j, l] of every.flatMap(j => every.map(l => [j, l]))) {
      const cell = cells[j][l], share = state.occlusion[j][l];
      const text = share % 1 ? told(share) : String(share);
      if (j === l || cell.textContent === text) continue;
      if (cell.textContent) cell.animate({boxShadow: ['0 0 0 6px var(--accent)', '0 0 0 0 var(--accent)']}, 900);
      cell.textContent = text;
      cell.style.setProperty('--share', `${100 * share}%`);
      cell.classList.toggle('dtis-full', share > 0.5);
      cell.setAttribute('aria-pressed', String(share > 0.5));
      cell.setAttribute('aria-label', `layer ${j + 1} hides layer ${l + 1}: ${text}`);
    }
    for (const {j, l, set} of sliders) set(state.occlusion[j][l]);
    opacity.set(state.opacity);
  }

  // One picture for each frame of the screen, however many events there were.
  const later = () => { frame ||= requestAnimationFrame(draw); };

  // Edits

  function become(part) {
    state = {...state, ...part};
    later();
    changed(state);
  }

  function choose(l) {
    chosen = l;
    later();
  }

  function deeper(l, by) {
    chosen = l;
    become({occlusion: swapped(state.occlusion, l, by)});
  }

  const toggle = (j, l) =>
    become({occlusion: withPair(state.occlusion, j, l, state.occlusion[j][l] > 0.5 ? 0 : 1)});

  function move(l, [right, down]) {
    // No farther than until it has left the image.
    const within = (by, side) => Math.min(side, Math.max(-side, Math.round(by)));
    const to = [within(right, W), within(down, H)];
    if (String(to) !== String(state.shifts[l])) become({shifts: state.shifts.with(l, to)});
  }

  // The hand

  function at(event) {
    const area = picture.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width * W,
      (event.clientY - area.top) / area.height * H];
  }

  function under([x, y]) {
    // The layer seen most at a pixel; where none is seen, the first that lies there; or none.
    const i = Math.floor(y) * W + Math.floor(x), shares = made.seen.map(seen => seen[i] ?? 0);
    const most = Math.max(...shares);
    return most > 0.1 ? shares.indexOf(most) : made.layers.findIndex(layer => layer.alpha[i] > 0.1);
  }

  picture.addEventListener('pointerdown', event => {
    const from = at(event), l = event.button ? -1 : under(from);
    picture.focus({preventScroll: true});
    if (l < 0) return;
    event.preventDefault();
    picture.setPointerCapture(event.pointerId);
    choose(l);
    drag = {from, shift: state.shifts[l]};
  });
  picture.addEventListener('pointermove', event => {
    if (!drag) return;
    const [x, y] = at(event), {from, shift} = drag;
    move(chosen, [shift[0] + x - from[0], shift[1] + y - from[1]]);
  });
  for (const name of ['pointerup', 'pointercancel'])
    picture.addEventListener(name, () => { drag = null; });

  picture.addEventListener('keydown', event => {
    const far = event.shiftKey ? 5 : 1, [x, y] = state.shifts[chosen];
    const keys = {
      ArrowLeft: () => move(chosen, [x - far, y]), ArrowRight: () => move(chosen, [x + far, y]),
      ArrowUp: () => move(chosen, [x, y - far]), ArrowDown: () => move(chosen, [x, y + far]),
      PageUp: () => deeper(chosen, 1), PageDown: () => deeper(chosen, -1),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  });

  function reach(cell) {
    // The matrix has one stop of the Tab key: the entry that had the focus last.
    for (const one of cells.flat()) if (one.tabIndex === 0) one.tabIndex = -1;
    cell.tabIndex = 0;
  }

  function walk(event) {
    // Arrow keys go from entry to entry, and over the diagonal.
    const [down, right] = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1],
      ArrowRight: [0, 1]}[event.key] ?? [0, 0];
    if (!(down || right) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    let j = cells.findIndex(row => row.includes(event.target)), l = cells[j].indexOf(event.target);
    do [j, l] = [j + down, l + right]; while (j === l);
    cells[j]?.[l]?.focus();
  }

  if (L > 1) reach(cells[1][0]);
  draw();
  return {
    show(next) {
      state = next;
      later();
    },
  };
}
