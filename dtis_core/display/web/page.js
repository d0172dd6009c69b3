// The stage on a page without a kernel: scenes lie in the page, and each keeps its own past here.
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

export function play(scenes, root, menu, note) {
  // Show one of the scenes {title, note, ...} at a time, chosen from a menu.
  const hosts = scenes.map(remembering);
  const open = at => {
    hosts[at].stage = mount(root, hosts[at]);
    note.textContent = scenes[at].note;
    [...menu.children].forEach((one, i) => one.setAttribute('aria-pressed', String(i === at)));
  };
  scenes.forEach((scene, at) => {
    const button = document.createElement('button');
    [button.type, button.textContent] = ['button', scene.title];
    button.addEventListener('click', () => open(at));
    menu.append(button);
  });
  open(0);
}
