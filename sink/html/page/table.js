// The table of what was found.
import {get, make, refill} from './element.js';
import {base, bytes, duration} from './format.js';

const columns = [
  {name: 'start', key: (m, i) => m.t0[i], show: (m, i) => duration(m.t0[i]), number: true},
  {name: 'wall', key: (m, i) => m.wall(i), show: (m, i) => duration(m.wall(i)), number: true, down: true},
  {name: 'CPU', key: (m, i) => m.cpu(i), show: (m, i) => duration(m.cpu(i)), number: true, down: true},
  {name: 'max RSS', key: (m, i) => m.rss[i], show: (m, i) => (m.details(i).maxrss_at_most ? '< ' : '') + bytes(m.rss[i]), number: true, down: true},
  {name: 'pid', key: (m, i) => m.pid[i], show: (m, i) => String(m.pid[i]), number: true},
  {name: 'status', key: (m, i) => m.status(i), show: (m, i) => m.status(i)},
  {name: 'program', key: (m, i) => base(m.path(i)), show: (m, i) => base(m.path(i))},
  {name: 'command', key: (m, i) => m.command(i), command: true},
];

export class Table {
  shown = 100;
  sort = {column: columns[1], down: true};

  constructor(app) {
    this.app = app;
    get('more').addEventListener('click', () => {
      this.shown *= 4;
      this.show();
    });
    this.#head();
  }

  #head() {
    const heads = columns.map((c) => make('th', {scope: 'col', class: c.number ? 'n' : undefined}, make('button', {onclick: () => {
      this.sort = {column: c, down: this.sort.column === c ? !this.sort.down : !!c.down};
      order();
      this.show();
    }})));
    // The buttons stay, and so does the focus.
    const order = () => columns.forEach((c, k) => {
      const {column, down} = this.sort;
      heads[k].firstChild.textContent = c.name + (column !== c ? '' : down ? ' ▾' : ' ▴');
      if (column === c) heads[k].setAttribute('aria-sort', down ? 'descending' : 'ascending');
      else heads[k].removeAttribute('aria-sort');
    });
    order();
    get('table').tHead.rows[0].replaceChildren(...heads);
  }

  // show shows what was found, as it is sorted.
  show() {
    const {app} = this;
    const m = app.model;
    const {column, down} = this.sort;
    const keys = [];
    for (const i of app.found) keys[i] = column.key(m, i);
    const sign = down ? -1 : 1;
    const sorted = [...app.found].sort((a, b) => (keys[a] < keys[b] ? -sign : keys[a] > keys[b] ? sign : a - b));
    const rows = sorted.slice(0, this.shown).map((i) =>
      make('tr', {'data-slice': i, 'data-key': i, class: i === app.view.selected ? 'chosen' : undefined, onclick: () => app.select(i, false)},
        ...columns.map((c) => c.command
          ? make('th', {scope: 'row', class: 'cut'}, make('button', {}, m.command(i).slice(0, 400)))
          : make('td', {class: (c.number ? 'n' : '') + (c.name === 'status' && m.failed(i) ? ' bad' : '')}, c.show(m, i)))));
    refill(get('table').tBodies[0], rows);
    get('listnote').textContent = `each program of a process has a line; ${Math.min(this.shown, sorted.length)} of ${sorted.length}`;
    get('more').hidden = this.shown >= sorted.length;
  }

  // choose marks the line of a slice, if it has one.
  choose(i) {
    for (const row of get('table').tBodies[0].rows) row.classList.toggle('chosen', Number(row.dataset.slice) === i);
  }
}
