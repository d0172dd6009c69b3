// The stage on a page without a kernel: scenes lie in the page, and each keeps its own past here.
import {element} from './drawing.js';
import {mount} from './stage.js';

const STEPS = 200; // edits that can be undone

export function remembering(scene) {
  // Return a host that keeps the past of a scene {description, edits, before}.
  const past = [scene.edits], future = [];
  let last = null;
  const host = {
    ...scene,
    stage: null,
    get edits() { return past.at(-1); },
    edited(edits, step) {
      if (step === last) past.pop();
      past.push(edits);
      if (past.length > STEPS) past.shift();
      [last, future.length] = [step, 0];
    },
    undo() {
      if (past.length > 1) future.push(past.pop());
      host.again();
    },
    redo() {
      if (future.length) past.push(future.pop());
      host.again();
    },
    again() {
      last = null;
      host.stage.show(past.at(-1));
    },
  };
  return host;
}

export function play(scenes, root, menu, note, why) {
  // Show one of the scenes {title, note, links, ...} at a time, chosen from a menu; `why` is the list
  // of its links [words, place].
  const hosts = scenes.map(remembering);
  const open = at => {
    hosts[at].stage = mount(root, hosts[at]);
    note.textContent = scenes[at].note;
    why.replaceChildren(...scenes[at].links.map(([words, place]) =>
      element('li', {}, element('a', {href: place}, words))));
    why.parentElement.hidden = !scenes[at].links.length;
    [...menu.children].forEach((one, i) => one.setAttribute('aria-pressed', String(i === at)));
  };
  scenes.forEach((scene, at) => {
    menu.append(element('button', {type: 'button', onclick: () => open(at)}, scene.title));
  });
  open(0);
}
