// A flip book: prepared frames, one at a time, by a slider, buttons, keys or a grid of all pictures.
//
// A book, as `dtis_core/display/flipbook.py` packs it, is {label, sheet, frames, orders}. The sheet
// {url, size: [h, w], columns} holds all pictures, by number; a frame is {name, text, pictures:
// [{title, picture}], rows: [{title, cards: [{title, picture, value, bar, marked}]}]}. Where there
// are `orders`, two names, the frames can be turned about, and their first pictures are a grid.
// No list's element is used, for pages of notebooks have a style of their own for these.
import {element} from './drawing.js';

const BEAT = 1200; // milliseconds for which a frame stays while the book plays

export function openBook(root, {label, sheet, frames, orders}) {
  const last = frames.length - 1, all = new Image();
  let at = 0, beat = 0, order = 0;
  frames = [...frames];

  // What there is

  const button = (text, act, attributes = {}) =>
    element('button', {type: 'button', onclick: act, ...attributes}, text);
  const slider = element('input', {type: 'range', min: 0, max: last, value: 0, 'aria-label': label,
    oninput: () => turnBy(Number(slider.value) - at)});
  const name = element('span', {'aria-hidden': 'true'});
  const play = button('Play', () => (beat ? stop() : start()));
  const text = element('p', {class: 'dtis-text', role: 'status'});
  const large = element('div', {class: 'dtis-large'}), rows = element('div');
  const grid = orders
    && element('div', {class: 'dtis-all', role: 'group', 'aria-label': `${label}: all`});
  const ways = (orders ?? []).map((title, way) => button(title, () => arrange(way)));
  const book = element('div', {class: 'dtis-book', role: 'group', 'aria-label': label,
    'data-lm-suppress-shortcuts': 'true', onkeydown: key},
  element('div', {class: 'dtis-turn'}, button('Previous', () => turnBy(-1)),
    button('Next', () => turnBy(1)), play, slider, name, ...ways),
  text, large, rows, grid ?? '');

  // Drawing

  function picture(number, attributes = {'aria-hidden': 'true'}) {
    const [h, w] = sheet.size, canvas = element('canvas', {width: w, height: h, ...attributes});
    const x = number % sheet.columns * w, y = Math.floor(number / sheet.columns) * h;
    canvas.getContext('2d').drawImage(all, x, y, w, h, 0, 0, w, h);
    return canvas;
  }

  const figure = one => element('figure', {},
    picture(one.picture, {role: 'img', 'aria-label': one.title}),
    element('figcaption', {'aria-hidden': 'true'}, one.title));

  function card({title, picture: number, value, bar, marked}) {
    const parts = bar.map(share => element('div', {style: `height: ${100 * share}%`}));
    return element('div', {class: 'dtis-card', role: 'listitem', 'aria-current': marked && 'true'},
      ...(bar.length ? [element('div', {class: 'dtis-bar', 'aria-hidden': 'true'}, ...parts)] : []),
      picture(number), element('span', {}, title), element('span', {}, value));
  }

  const row = ({title, cards}) => element('div', {}, element('p', {}, title),
    element('div', {class: 'dtis-cards', role: 'list', 'aria-label': title}, ...cards.map(card)));

  function show() {
    const frame = frames[at];
    slider.value = at;
    slider.setAttribute('aria-valuetext', frame.name);
    name.textContent = `${at + 1} of ${last + 1}: ${frame.name}`;
    text.textContent = frame.text;
    large.replaceChildren(...frame.pictures.map(figure));
    rows.replaceChildren(...frame.rows.map(row));
    if (grid) mark();
  }

  function mark() {
    // One of the grid's buttons is the frame's, and the only one that Tab goes to.
    const focused = grid.contains(document.activeElement);
    [...grid.children].forEach((one, place) => {
      one.setAttribute('aria-current', String(place === at));
      one.tabIndex = place === at ? 0 : -1;
    });
    const own = grid.children[at], below = own.offsetTop + own.offsetHeight - grid.clientHeight;
    grid.scrollTop = Math.min(own.offsetTop, Math.max(below, grid.scrollTop));
    if (focused) own.focus({preventScroll: true});
  }

  // Turning

  function turnTo(place) {
    at = Math.min(last, Math.max(0, place));
    show();
  }

  function turnBy(steps) {
    stop();
    turnTo(at + steps);
  }

  function arrange(way) {
    stop();
    if (way !== order) {
      order = way;
      frames.reverse();
      grid.append(...[...grid.children].reverse());
    }
    ways.forEach((one, other) => one.setAttribute('aria-pressed', String(other === order)));
    turnTo(0);
  }

  function start() {
    if (at === last) turnTo(0);
    beat = setInterval(() => (at < last ? turnTo(at + 1) : stop()), BEAT);
    play.textContent = 'Pause';
    text.setAttribute('aria-live', 'off');
  }

  function stop() {
    clearInterval(beat);
    beat = 0;
    play.textContent = 'Play';
    text.setAttribute('aria-live', 'polite');
  }

  // How many pictures lie in a row of the grid.
  const across = () =>
    [...grid.children].filter(one => one.offsetTop === grid.firstChild.offsetTop).length;

  function key(event) {
    // The slider's keys, too: JupyterLab would take them for its own.
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const up = event.target === slider ? 1 : grid?.contains(event.target) ? -across() : 0;
    const steps = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: up, ArrowDown: -up,
      Home: -last, End: last}[event.key];
    if (!steps) return;
    event.preventDefault();
    event.stopPropagation();
    turnBy(steps);
  }

  all.src = sheet.url;
  all.decode().then(() => {
    grid?.append(...frames.map(frame => button(picture(frame.pictures[0].picture),
      event => turnBy([...grid.children].indexOf(event.currentTarget) - at),
      {'aria-label': frame.name})));
    root.replaceChildren(book);
    arrange(0);
  });
  return stop;
}
