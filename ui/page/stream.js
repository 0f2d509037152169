// The lines of the timeline, as they come.
import {Model} from '../timeline/model.js';

// maxSlices bounds what a page of a machine keeps. Then it begins anew, with what
// the process that serves it still has.
const maxSlices = 100000;

export class Stream {
  where = '';
  model = null;
  #abort = null;

  // live is of a machine; onmodel gets a model when it has changed, and says
  // whether it is new; onstate gets words, and whether to offer another try.
  constructor(live, onmodel, onstate) {
    this.live = live;
    this.onmodel = onmodel;
    this.onstate = onstate;
    document.addEventListener('visibilitychange', () => document.hidden || this.#changed());
  }

  // start reads from the beginning.
  start() {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#read(abort).catch((err) => {
      if (abort.signal.aborted) return;
      const lost = err instanceof TypeError; // fetch cannot reach it
      this.onstate(lost ? "'taskwatch ui' does not answer: it may have ended" : err.message, true);
      if (this.live) setTimeout(() => abort.signal.aborted || this.start(), lost ? 5000 : 2000);
    });
  }

  async #read(abort) {
    const model = new Model();
    if (this.where) model.marks = new Set();
    this.onstate(this.live ? 'connecting' : 'reading', false);
    const res = await fetch(`/api/lines?where=${encodeURIComponent(this.where)}`, {signal: abort.signal});
    if (!res.ok) throw new Error((await res.text()).trim());
    const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
    this.model = model;
    this.fresh = true;
    if (this.live) this.onstate('live', false);
    for (;;) {
      const {done, value} = await reader.read();
      if (done) break;
      model.add(value);
      this.#changed();
      if (this.live && model.size > maxSlices) {
        this.start();
        return;
      }
    }
    if (model.over === undefined) throw new Error('the stream was cut off');
    if (model.over) throw new Error(model.over);
    this.onstate('complete', false);
    this.#show();
  }

  // #changed shows the model soon, and spends a tenth of the time with that.
  #changed() {
    if (this.timer || document.hidden || !this.model) return;
    this.timer = setTimeout(() => this.#show(), Math.max(this.fresh ? 50 : 250, Math.min(10 * (this.cost || 0), 2000)));
  }

  #show() {
    clearTimeout(this.timer);
    this.timer = 0;
    const begun = performance.now();
    const fresh = this.fresh;
    this.fresh = false;
    this.onmodel(this.model, fresh);
    if (this.live && this.model.over === undefined) this.onstate(this.model.waits || 'live', false);
    if (!this.live && this.model.over === undefined) this.onstate('growing: its recorder runs, or was killed', false);
    this.cost = performance.now() - begun;
  }
}
