// The stage: a scene's picture whose objects a hand can take, with their layers and the sprites.
//
// `mount(root, host, width)` draws into an element, the picture as many CSS pixels wide. The host keeps the scene and its past: it has
// `description`, `edits`, `before` (the image that was decomposed), `edited(edits, step)`, `undo()`
// and `redo()`; edits of one step, such as all moves of a drag, are undone together. The returned
// `show(edits)` follows the host, and `choose(number)` its choice of an object.
import {spriteOf} from './changes.js';
import {composed, layerOf, occlusionOf, opened, orderOf, values, withDepth} from './composition.js';
import {box, element, gainsOf, hex, outline, paint, shape} from './drawing.js';

const LULL = 80; // milliseconds without an edit, after which all that is beside the picture follows
const HELP = 'Drag an object to move it. Arrow keys move by a pixel, with Shift by five; + and − ' +
  'scale, [ and ] turn, Page Up and Page Down bring to front and back, Delete removes, Ctrl+D ' +
  'copies, Ctrl+Z undoes, Ctrl+Shift+Z does again.';
const round = (x, digits = 4) => Number(x.toFixed(digits));

export function mount(root, host, width = 360) {
  const scene = opened(host.description), [H, W] = scene.size, C = scene.channels;
  const can = kind => kind in scene.carriers;
  const image = host.before && values(host.before);
  let edits = host.edits, chosen = 0, zoom = 1, before = false, step = 0, drag = null, frame = 0;
  let layers = [], seen = [], occlusion = [], soon = 0;
  const hidden = new Map(); // objects whose eye is shut: the sprite that each had, if it was set

  // What there is

  const picture = element('canvas', {class: 'dtis-picture', tabindex: 0, role: 'application',
    'aria-label': 'edited picture', title: HELP});
  const handles = shape('svg',
    {viewBox: `0 0 ${W} ${H}`, class: 'dtis-handles', 'aria-hidden': 'true'});
  const board = element('div', {class: 'dtis-board'}, picture, handles);
  const status = element('p', {class: 'dtis-status', role: 'status'});
  const button = (text, title, act, attributes = {}) =>
    element('button', {type: 'button', title, onclick: act, ...attributes}, text);
  const tools = {
    undo: button('Undo', 'Take back the last edit (Ctrl+Z)', () => host.undo()),
    redo: button('Redo', 'Do again what was taken back (Ctrl+Shift+Z)', () => host.redo()),
    copy: button('Copy', 'Add a copy of this object beside it (Ctrl+D)', copy),
    remove: button('Remove', 'Remove this object (Delete)', remove),
    colour: element('input', {type: 'color', title: 'What its sprite is multiplied by',
      'aria-label': 'colour', oninput: () => change({colour: gainsOf(tools.colour.value)}, 'colour'),
      onchange: () => step++}),
    before: button('Before', 'Show the image as it was', () => compare(!before),
      {'aria-pressed': 'false'}),
    smaller: button('−', 'Zoom out', () => enlarge(zoom / 1.25), {'aria-label': 'zoom out'}),
    larger: button('+', 'Zoom in', () => enlarge(zoom * 1.25), {'aria-label': 'zoom in'}),
  };
  if (!can('colour') || C !== 3) delete tools.colour;
  if (!image) delete tools.before;
  const list = element('ul', {class: 'dtis-layers', 'aria-label': 'layers, the nearest first'});
  const gallery = element('div', {class: 'dtis-gallery', role: 'group', 'aria-label': 'sprites'});
  const side = element('div', {class: 'dtis-side'}, list, gallery);
  root.replaceChildren(element('div', {class: 'dtis-stage', 'data-lm-suppress-shortcuts': 'true'},
    element('div', {class: 'dtis-main'}, board,
      element('div', {class: 'dtis-tools'}, ...Object.values(tools)), status), side));
  scene.sprites.forEach((pixels, k) => {
    const small = element('canvas'), [h, w] = scene.spriteSize;
    paint(small, pixels, scene.spriteSize, C, pixels.subarray(C * h * w));
    gallery.append(button(small, `Show sprite ${k + 1}`, () => change({sprite: k + 1}, step++),
      {'aria-label': `sprite ${k + 1}`}));
  });

  // Drawing

  const object = () => edits.objects[chosen - 1];
  const there = number => spriteOf(scene, edits.objects[number - 1]) > 0;

  function draw() {
    frame = 0;
    layers = edits.objects.map((one, n) => {
      const key = JSON.stringify(one);
      return key === layers[n]?.key ? layers[n] : {...layerOf(scene, one), key};
    });
    occlusion = occlusionOf(scene, edits);
    const made = composed(scene, layers, occlusion);
    seen = made.seen;
    paint(picture, before ? image : made.image, scene.size, C);
    drawHandles();
  }

  function later() {
    // One picture for each frame of the screen, however many events there were.
    frame ||= requestAnimationFrame(draw);
  }

  const mark = (name, attributes) => handles.append(shape(name, attributes));

  function drawHandles() {
    handles.replaceChildren();
    const layer = chosen && !before && layers[chosen - 1]; // a copy is drawn with the next frame
    const around = layer && there(chosen) && box(layer.alpha, scene.size);
    if (!around) return;
    const [left, top, right, bottom] = around, size = 5 * W / Math.max(1, board.clientWidth);
    const path = outline(layer.alpha, scene.size);
    mark('path', {d: path, class: 'dtis-outline'});
    mark('path', {d: path, class: 'dtis-outline dtis-dashes'});
    if (can('scale'))
      mark('rect', {x: Math.min(right, W - size) - size, y: Math.min(bottom, H - size) - size,
        width: 2 * size, height: 2 * size, class: 'dtis-handle', 'data-does': 'scale'});
    if (can('angle'))
      mark('circle', {cx: (left + right) / 2, cy: Math.max(size, top - 2 * size), r: size,
        class: 'dtis-handle', 'data-does': 'angle'});
  }

  function describe() {
    // Bring the list and the tools up to date, and say which object is chosen.
    const nearest = orderOf(occlusionOf(scene, edits)).reverse();
    const focused = list.contains(document.activeElement)
      && document.activeElement.closest('li')?.dataset.number;
    list.replaceChildren(...nearest.map(number => row(number)));
    if (focused) list.querySelector(`[data-number="${focused}"] .dtis-pick`)?.focus();
    for (const name of ['copy', 'remove', 'colour'])
      if (tools[name]) tools[name].disabled = !chosen || (name !== 'copy' && !there(chosen));
    tools.copy.disabled ||= edits.objects.length >= scene.most;
    if (chosen && tools.colour) tools.colour.value = hex(gains());
    gallery.querySelectorAll('button').forEach((one, k) => {
      one.disabled = !chosen;
      one.setAttribute('aria-pressed', Boolean(chosen) && spriteOf(scene, object()) === k + 1);
    });
    status.textContent = chosen ? name(chosen) : 'Drag an object, or choose a layer.';
  }

  const name = number => {
    const one = edits.objects[number - 1], k = spriteOf(scene, one);
    const from = number > scene.found.length ? `, copy of ${one.layer}` : '';
    return `object ${number}${from}: ${k ? `sprite ${k}` : 'empty'}`;
  };

  function row(number) {
    const small = element('canvas'), layer = layers[number - 1];
    if (layer) paint(small, layer.colour, scene.size, C, layer.alpha);
    const open = there(number), empty = !open && !hidden.has(number);
    return element('li', {'data-number': number, draggable: 'true',
      class: number === chosen ? 'dtis-chosen' : '',
      ondragstart: event => event.dataTransfer.setData('text/plain', number),
      ondragover: event => event.preventDefault(),
      ondrop: event => moveTo(Number(event.dataTransfer.getData('text/plain')), number, event)},
    button(small, name(number), () => choose(number),
      {class: 'dtis-pick', 'aria-label': name(number), 'aria-pressed': number === chosen}),
    button(empty ? 'empty' : open ? 'hide' : 'show', open ? 'Hide it for now' : 'Show it again', () => blink(number),
      {class: 'dtis-eye', disabled: empty,
        'aria-label': `${open || empty ? 'hide' : 'show'} object ${number}`}));
  }

  function gains() {
    if (object().colour) return object().colour;
    const [sequence, index] = scene.carriers.colour, found = scene.found[object().layer - 1];
    const k = Math.max(0, spriteOf(scene, object()) - 1);
    const own = [found.layerParameters, found.spriteParameters[k]][sequence];
    const start = scene.sequences[sequence].modules[index].at[0];
    return own.slice(start, start + C).map(g => 1 + g);
  }

  // Edits

  function become(next, of) {
    edits = next;
    later();
    clearTimeout(soon);
    soon = setTimeout(describe, LULL);
    host.edited(edits, String(of));
  }

  function change(fields, of, number = chosen) {
    // Set fields of one object's change; undefined takes one back.
    if (!number) return;
    const objects = [...edits.objects], one = {...objects[number - 1], ...fields};
    for (const key of Object.keys(one)) if (one[key] === undefined) delete one[key];
    if (one.sprite === scene.found[one.layer - 1].sprite) delete one.sprite;
    objects[number - 1] = one;
    become({...edits, objects}, `${of} ${number} ${step}`);
  }

  function remove() {
    change({sprite: 0}, `remove ${step++}`);
  }

  function blink(number) {
    if (there(number)) {
      hidden.set(number, edits.objects[number - 1].sprite);
      change({sprite: 0}, `hide ${step++}`, number);
    } else if (hidden.has(number)) {
      const sprite = hidden.get(number);
      hidden.delete(number);
      change({sprite}, `show ${step++}`, number);
    }
  }

  function copy() {
    if (!chosen || edits.objects.length >= scene.most) return;
    const beside = can('shift') ? {shift: shifted(0.06, 0.06)} : {}, number = edits.objects.length + 1;
    let {order} = edits;
    if (order || chosen > scene.found.length) {
      order = [...(order ?? orderOf(occlusion))];
      order.splice(order.indexOf(chosen) + 1, 0, number);
    }
    become({objects: [...edits.objects, {...object(), ...beside}], order}, `copy ${step++}`);
    choose(number);
  }

  function setDepth(number, depth, of) {
    const last = edits.objects.length - 1;
    if (depth < 0 || depth > last) return;
    become({...edits, order: withDepth(scene, edits, number, depth)}, of);
  }

  function deeper(by) {
    if (!chosen) return;
    setDepth(chosen, orderOf(occlusionOf(scene, edits)).indexOf(chosen) + by, `depth ${step++}`);
  }

  function moveTo(number, onto, event) {
    event.preventDefault();
    const order = orderOf(occlusionOf(scene, edits));
    if (order.includes(number)) setDepth(number, order.indexOf(onto), `order ${step++}`);
  }

  const shifted = (right, down, from = object()) => {
    const [x, y] = from.shift ?? [0, 0];
    return [round(x + right), round(y + down)];
  };
  const neutral = (kind, value, none) => ({[kind]: value === none ? undefined : value});

  function choose(number) {
    if (number === chosen) return;
    chosen = number;
    host.chose?.(chosen);
    drawHandles();
    describe();
  }

  function compare(on) {
    before = on && Boolean(image);
    tools.before?.setAttribute('aria-pressed', String(before));
    later();
  }

  function enlarge(to) {
    zoom = Math.min(6, Math.max(0.5, to));
    board.style.width = `${Math.round(zoom * width)}px`;
    later();
  }

  // The hand

  function at(event) {
    const area = picture.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  }

  function under([x, y]) {
    // The object seen most at a place, if one is seen there.
    const i = Math.floor(y * H) * W + Math.floor(x * W);
    const shares = seen.map(visible => visible[i] ?? 0), most = Math.max(0.3, ...shares);
    return shares.indexOf(most) + 1;
  }

  board.addEventListener('pointerdown', event => {
    if (event.button || before) return;
    const place = at(event), does = event.target.dataset?.does ?? 'shift';
    if (does === 'shift') choose(under(place));
    picture.focus({preventScroll: true});
    if (!chosen) return;
    event.preventDefault();
    board.setPointerCapture(event.pointerId);
    const [left, top, right, bottom] = box(layers[chosen - 1].alpha, scene.size) ?? [0, 0, W, H];
    drag = {does, place, from: object(), middle: [(left + right) / 2 / W, (top + bottom) / 2 / H]};
    step++;
  });
  board.addEventListener('pointermove', event => {
    if (!drag || !can(drag.does)) return;
    const place = at(event), {does, from, middle} = drag;
    const [x, y] = [place[0] - middle[0], (place[1] - middle[1]) * H / W];
    const [x0, y0] = [drag.place[0] - middle[0], (drag.place[1] - middle[1]) * H / W];
    if (does === 'shift')
      change({shift: shifted(place[0] - drag.place[0], place[1] - drag.place[1], from)}, 'drag');
    else if (does === 'scale') {
      const factor = Math.hypot(x, y) / Math.max(1e-3, Math.hypot(x0, y0));
      const scale = Math.min(4, Math.max(0.25, (from.scale ?? 1) * factor));
      change(neutral('scale', round(scale, 3), 1), 'drag');
    } else {
      const turn = (Math.atan2(y, x) - Math.atan2(y0, x0)) * 180 / Math.PI;
      const angle = (from.angle ?? 0) + turn;
      change(neutral('angle', round(angle - 360 * Math.round(angle / 360), 1), 0), 'drag');
    }
  });
  for (const name of ['pointerup', 'pointercancel'])
    board.addEventListener(name, () => { drag = null; step++; });
  picture.addEventListener('wheel', event => {
    if (!chosen || event.ctrlKey) return;
    event.preventDefault();
    deeper(event.deltaY < 0 ? 1 : -1);
  }, {passive: false});

  const nudge = (right, down) => can('shift')
    && change({shift: shifted(right / W, down / H)}, 'nudge');
  const grow = by => can('scale') && change(neutral('scale',
    round(Math.min(4, Math.max(0.25, (object().scale ?? 1) * by)), 3), 1), 'grow');
  const turn = by => can('angle')
    && change(neutral('angle', round((object().angle ?? 0) + by, 1), 0), 'turn');
  const keys = {
    ArrowLeft: far => nudge(-far, 0), ArrowRight: far => nudge(far, 0),
    ArrowUp: far => nudge(0, -far), ArrowDown: far => nudge(0, far),
    '+': () => grow(1.05), '=': () => grow(1.05), '-': () => grow(1 / 1.05),
    '[': () => turn(-5), ']': () => turn(5), PageUp: () => deeper(1), PageDown: () => deeper(-1),
    Delete: remove, Backspace: remove, Escape: () => choose(0),
  };
  root.firstChild.addEventListener('keydown', event => {
    const control = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
    let act = null;
    if (control && key === 'z') act = () => event.shiftKey ? host.redo() : host.undo();
    else if (control && key === 'y') act = () => host.redo();
    else if (control && key === 'd') act = copy;
    else if (!control && event.target === picture && chosen) act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(event.shiftKey ? 5 : 1);
  });

  function show(next) {
    edits = next;
    if (chosen > edits.objects.length) choose(0);
    draw();
    describe();
  }

  enlarge(1);
  show(edits);
  return {show, choose};
}
