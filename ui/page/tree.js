// The processes that live, below those that made them.
import {make, refill} from '../timeline/element.js';
import {duration} from '../timeline/format.js';

const get = (id) => document.getElementById(id);

// maxRows is what a table can have and be of use.
const maxRows = 2000;

// rows returns the slices of live processes, with their depths.
export function rows(model) {
  const live = new Map(); // what a process runs, by its first slice
  for (let i = 0; i < model.size; i++) if (model.ended[i] < 0) live.set(model.root[i], i);
  const below = new Map([[-1, []]]);
  for (const p of live.keys()) {
    const maker = model.parent[p] < 0 ? -1 : model.root[model.parent[p]];
    const key = live.has(maker) ? maker : -1;
    if (!below.has(key)) below.set(key, []);
    below.get(key).push(p);
  }
  const list = [];
  const walk = (p, depth) => {
    for (const child of below.get(p) || []) {
      list.push({slice: live.get(child), depth});
      walk(child, depth + 1);
    }
  };
  walk(-1, 0);
  return list;
}

// showTree fills the table; go shows a slice in the timeline.
export function showTree(model, go) {
  const list = rows(model);
  get('tree-note').textContent = list.length
    ? `${list.length} of those that have done something since this view began${list.length > maxRows ? `; the first ${maxRows} are shown` : ''}`
    : 'None of the processes that this view knows is alive.';
  refill(get('tree').tBodies[0], list.slice(0, maxRows).map(({slice: i, depth}) => {
    const button = make('button', {class: 'link', title: 'show it in the timeline', onclick: () => go(i)}, model.command(i).slice(0, 400));
    const cell = make('td', {}, button);
    cell.style.paddingLeft = `${Math.min(depth, 24) * 16}px`;
    const {uid} = model.details(i);
    return make('tr', {'data-key': i, class: model.marks && !model.marks.has(i) ? 'dim' : undefined},
      make('td', {class: 'n'}, String(model.pid[i])), make('td', {class: 'n'}, duration(model.wall(i))),
      make('td', {class: 'n'}, uid === undefined ? '–' : String(Array.isArray(uid) ? uid[0] : uid)), cell);
  }));
}
