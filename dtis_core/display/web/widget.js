// The stage in a notebook: its host is the kernel, which keeps the scene and its past.
import {mount} from './stage.js';

export default {
  render({model, el}) {
    let stage = null, mine = null;
    const host = {
      get description() { return model.get('description'); },
      get edits() { return model.get('edits'); },
      get before() { return model.get('before'); },
      edited(edits, step) {
        mine = edits;
        model.set({edits, step});
        model.save_changes();
      },
      chose(number) {
        model.set('chosen', number);
        model.save_changes();
      },
      undo: () => model.send({does: 'undo'}),
      redo: () => model.send({does: 'redo'}),
    };
    const start = () => {
      stage = mount(el, host, model.get('side'));
      stage.choose(model.get('chosen'));
    };
    const follow = () => { if (model.get('edits') !== mine) stage.show(model.get('edits')); };
    const choose = () => stage.choose(model.get('chosen'));
    model.on('change:description', start);
    model.on('change:edits', follow);
    model.on('change:chosen', choose);
    start();
    return () => {
      model.off('change:description', start);
      model.off('change:edits', follow);
      model.off('change:chosen', choose);
    };
  },
};
