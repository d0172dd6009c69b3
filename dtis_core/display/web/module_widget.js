// The module board in a notebook.
import {shared} from './controls.js';
import {openModule} from './module_board.js';

export default {
  render: ({model, el}) => shared(model, ['values'],
    (state, changed) => openModule(el, model.get('module'), state, changed)),
};
