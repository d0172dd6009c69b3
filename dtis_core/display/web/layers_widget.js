// The layer board in a notebook.
import {shared} from './controls.js';
import {openLayers} from './layer_board.js';

export default {
  render: ({model, el}) => shared(model, ['occlusion', 'shifts', 'opacity'],
    (state, changed) => openLayers(el, model.get('layers'), state, changed)),
};
