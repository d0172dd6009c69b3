// Controls that the boards share: labelled sliders, and a state that a kernel follows.
import {element} from './drawing.js';

export const told = (x, digits = 2) => {
  // A number as text, with a real minus and no minus zero.
  const text = Math.abs(x).toFixed(digits);
  return x < 0 && Number(text) ? `−${text}` : text;
};

export function sliderFor(label, low, high, step, act) {
  // Return {row, set}: a labelled slider with its value beside it, and what moves it without `act`.
  const shown = element('span', {'aria-hidden': 'true'}); // the slider says it
  const input = element('input', {type: 'range', min: low, max: high, step,
    oninput: () => act(Number(input.value))});
  const row = element('label', {class: 'dtis-slider'}, element('span', {}, label), input, shown);
  const set = value => {
    input.value = value;
    input.setAttribute('aria-valuetext', shown.textContent = told(value));
  };
  return {row, set};
}

export function shared(model, names, open) {
  // Open a board in a notebook: `open(state, changed)` returns {show(state)}. The kernel has the
  // state's traits, by these names. Returns what ends it.
  let mine = {};
  const state = () => Object.fromEntries(names.map(name => [name, model.get(name)]));
  const board = open(state(), next => {
    mine = next;
    model.set(next);
    model.save_changes();
  });
  const follow = () => {
    if (names.some(name => model.get(name) !== mine[name])) board.show(state());
  };
  for (const name of names) model.on(`change:${name}`, follow);
  return () => names.forEach(name => model.off(`change:${name}`, follow));
}
