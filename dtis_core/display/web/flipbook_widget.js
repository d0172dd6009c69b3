// The flip book in a notebook.
import {openBook} from './flipbook.js';

export default {
  render: ({model, el}) => openBook(el, model.get('book')),
};
