// The processes that live, below those that made them.
import {make, refill} from '../timeline/element.js';
import {duration, quoted, visible} from '../timeline/format.js';
import {ask} from './call.js';

const get = (id) => document.getElementById(id);

// maxRows is what a table can have and be of use.
const maxRows = 2000;

// lookAgain is how often the machine is looked at while its processes are in
// sight.
const lookAgain = 2000;

// ofModel returns the live processes of a model, by pid.
function ofModel(model) {
  const live = new Map();
  for (let i = 0; i < model.size; i++) {
    if (model.ended[i] >= 0) {
      if (model.ended[i] !== 2) live.delete(model.pid[i]);
      continue;
    }
    const up = model.parent[model.root[i]];
    const {uid} = model.details(i);
    live.set(model.pid[i], {
      pid: model.pid[i], ppid: up < 0 ? 0 : model.pid[up], uid: Array.isArray(uid) ? uid[0] : uid, slice: i,
      runs: model.until(i) - model.t0[model.root[i]], command: model.command(i), chosen: !model.marks || model.marks.has(i),
    });
  }
  return live;
}

// Tree is the table of processes. go shows a slice in the timeline.
export class Tree {
  #seen = null; // processes of the machine that live, by pid
  #size = 0; // of the model when they were asked for

  constructor(live, go) {
    this.live = live;
    this.go = go;
  }

  // watch asks for the processes again and again, until it is told to stop.
  watch(on, model, where) {
    clearInterval(this.timer);
    if (!on || !this.live) return;
    const look = () => document.hidden || this.#look(model(), where());
    this.timer = setInterval(() => look(), lookAgain);
    look();
  }

  async #look(model, where) {
    const size = model.size;
    try {
      const {processes} = await ask(`/api/processes?where=${encodeURIComponent(where)}`);
      this.#seen = new Map(processes.map((p) => [p.pid, p]));
      this.#size = size;
      this.partly = '';
    } catch (err) {
      this.#seen = null;
      this.partly = err.message;
    }
    this.show(model);
  }

  // #all returns the live processes: those of the machine, and those of which the
  // model has heard since. Where one may not see others (hidepid), the model knows
  // more.
  #all(model) {
    const known = ofModel(model);
    if (!this.#seen) return known;
    const ended = new Map();
    for (let i = 0; i < model.size; i++) ended.set(model.pid[i], model.ended[i] >= 0 && model.ended[i] !== 2);
    const all = new Map();
    for (const [pid, p] of this.#seen) {
      if (ended.get(pid)) continue;
      const k = known.get(pid);
      const command = visible(p.argv ? quoted(p.argv) : p.name) + (p.cut ? ' …' : '');
      all.set(pid, {pid, ppid: p.ppid, uid: p.uid, runs: p.runs_us, command: k ? k.command : command, slice: k ? k.slice : -1, chosen: k ? k.chosen || p.chosen : p.chosen});
    }
    for (const [pid, k] of known) {
      if (!all.has(pid) && (k.slice >= this.#size || !this.#seen.has(1))) all.set(pid, k);
    }
    return all;
  }

  show(model) {
    const all = this.#all(model);
    const below = new Map([[0, []]]);
    for (const p of all.values()) {
      const key = all.has(p.ppid) && p.ppid !== p.pid ? p.ppid : 0;
      if (!below.has(key)) below.set(key, []);
      below.get(key).push(p);
    }
    const list = [];
    // Without recursion: processes may be nested deeper than calls can be.
    const left = below.get(0).map((p) => ({p, depth: 0})).reverse();
    while (left.length) {
      const {p, depth} = left.pop();
      list.push({...p, depth});
      const kids = below.get(p.pid) || [];
      for (let k = kids.length - 1; k >= 0; k--) left.push({p: kids[k], depth: depth + 1});
    }
    const some = this.#seen ? 'processes live' : 'of those that have done something since this view began';
    get('tree-note').textContent = list.length
      ? `${list.length} ${some}${list.length > maxRows ? `; the first ${maxRows} are shown` : ''}${this.partly ? ` (${visible(this.partly)})` : ''}`
      : 'None of the processes that this view knows is alive.';
    refill(get('tree').tBodies[0], list.slice(0, maxRows).map((p) => {
      const text = p.command.slice(0, 400);
      const command = p.slice >= 0 ? make('button', {class: 'link', title: 'show it in the timeline', onclick: () => this.go(p.slice)}, text) : make('span', {class: 'mono'}, text);
      const cell = make('th', {scope: 'row'}, command);
      cell.style.setProperty('--depth', Math.min(p.depth, 24));
      return make('tr', {'data-key': p.pid, 'data-slice': p.slice, class: p.chosen ? undefined : 'dim'},
        make('td', {class: 'n'}, String(p.pid)), make('td', {class: 'n'}, duration(p.runs)),
        make('td', {class: 'n'}, p.uid === undefined ? '–' : String(p.uid)), cell);
    }));
  }
}
