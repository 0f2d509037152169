// The page around the timeline.
import {base, bytes, duration, quoted, visible} from './format.js';
import {make, refill} from './element.js';
import {View} from './draw.js';

const get = (id) => document.getElementById(id);

// ids shows real, effective, saved and file system id, or the one that all are.
function ids(v) {
  return Array.isArray(v) ? v.join(', ') : v;
}

// unquoted returns a text that may stand as JSON.
function unquoted(text) {
  try {
    return text[0] === '"' ? JSON.parse(text) : text;
  } catch {
    return text;
  }
}

const columns = [
  {name: 'start', key: (m, i) => m.t0[i], show: (m, i) => duration(m.t0[i]), number: true},
  {name: 'wall', key: (m, i) => m.wall(i), show: (m, i) => duration(m.wall(i)), number: true, down: true},
  {name: 'CPU', key: (m, i) => m.cpu(i), show: (m, i) => duration(m.cpu(i)), number: true, down: true},
  {name: 'max RSS', key: (m, i) => m.rss[i], show: (m, i) => bytes(m.rss[i]), number: true, down: true},
  {name: 'pid', key: (m, i) => m.pid[i], show: (m, i) => String(m.pid[i]), number: true},
  {name: 'status', key: (m, i) => m.status(i), show: (m, i) => m.status(i)},
  {name: 'program', key: (m, i) => base(m.path(i)), show: (m, i) => base(m.path(i))},
  {name: 'command', key: (m, i) => m.command(i), command: true},
];

// App is the page. A live one is of what happens on a machine now: it has a
// title of its own, and shows what comes with update.
export class App {
  constructor(model, cut, live) {
    this.model = model;
    this.cut = cut;
    this.live = live;
    this.sort = {column: columns[1], down: true};
    this.shown = 100;
    this.theme(matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
    this.view = new View(get('canvas'), model);
    this.tip = make('div', {id: 'tip', hidden: ''});
    document.body.append(this.tip);
    this.#totals();
    this.#answer();
    this.#tools();
    this.#pointer();
    this.#keys();
    this.#head();
    if (live) this.follow();
    else this.view.fit();
    this.view.paint();
    this.shownAt = performance.now();
    setTimeout(() => {
      this.find(); // fills the table
      this.ready = true;
    });
    new ResizeObserver(() => this.view.draw()).observe(get('canvas'));
  }

  theme(name) {
    document.documentElement.dataset.theme = name;
    if (this.view) this.view.restyle();
  }

  // use shows another model.
  use(model) {
    this.model = model;
    this.view.use(model);
    this.select(-1);
    this.update();
  }

  // update shows what has been added to the model, which is settled.
  update() {
    const {view} = this;
    view.advance();
    this.#totals();
    this.#answer();
    this.find();
    if (view.selected >= 0 && this.model.ended[view.selected] !== this.detailed) this.#details(view.selected);
  }

  // follow stays with the last minute, or what the view shows, until it is moved.
  follow() {
    this.view.follow(this.view.keep === 'end' ? '' : 'end');
    this.#pressed();
  }

  #pressed() {
    get('follow').setAttribute('aria-pressed', String(this.view.keep === 'end'));
  }

  #totals() {
    const m = this.model;
    const name = this.live || (m.size ? m.command(0) : 'nothing happened');
    get('title').textContent = name;
    document.title = `taskwatch: ${name.slice(0, 80)}`;
    let cpu = 0;
    for (let i = 0; i < m.size; i++) cpu += Math.max(0, m.cpu(i));
    const work = m.strips[1];
    const list = [
      [this.live ? 'shown' : 'wall', duration(m.end)],
      ['CPU', m.noCPU ? 'unknown' : duration(cpu)],
      ['at work', `${work.average(0, m.end).toFixed(1)} on average, ${work.max} at most`],
      ['processes', String(m.processes)],
      ['failed', String(m.failures)],
    ];
    if (m.where) list.push(['chosen by', visible(m.where)]);
    if (m.header.time) list.push(['began', new Date(m.header.time).toLocaleString()]);
    get('totals').replaceChildren(...list.flatMap(([k, v]) => [make('span', {class: k === 'failed' && m.failures ? 'bad' : undefined}, `${k} `, make('b', {}, v)), ' ']));
    const warnings = [];
    if (this.cut) warnings.push('This file was cut off: it shows what had been written.');
    if (m.losses.length) warnings.push(`Events were lost (${m.lost()}): what is shown is not complete. Red lines in the timeline show where.`);
    get('warning').textContent = warnings.join(' ');
    get('warning').hidden = !warnings.length;
  }

  // #answer shows what the time went into.
  #answer() {
    const m = this.model;
    const bar = (part) => {
      const e = make('div', {class: 'bar'});
      e.style.width = `${Math.max(0, Math.min(100, part * 100))}%`;
      return make('td', {'aria-hidden': 'true'}, e);
    };
    const n = (text, bad) => make('td', {class: bad ? 'n bad' : 'n'}, text);
    const steps = m.critical.filter((c) => c.to > c.from);
    const longest = [...steps].sort((a, b) => b.to - b.from - (a.to - a.from)).slice(0, 10);
    const most = longest.length ? longest[0].to - longest[0].from : 1;
    const rest = steps.length - longest.length;
    // What has no end has none: there are too many beginnings.
    get('path').hidden = !steps.length;
    get('path').parentNode.hidden = Boolean(this.live) && !steps.length;
    refill(get('path').tBodies[0],
      steps.filter((c) => longest.includes(c)).map((c) => {
        const go = () => c.slice >= 0 && this.select(c.slice, true);
        const text = c.slice >= 0 ? m.command(c.slice) : '(what was before)';
        const short = c.slice >= 0 ? [make('b', {}, m.short(c.slice)), make('span', {class: 'dim'}, `  ${text.slice(0, 400)}`)] : [text];
        return make('tr', {'data-key': `${c.from}`, 'data-slice': c.slice, onclick: go, class: c === longest.find((x) => x.slice >= 0) ? 'longest' : undefined}, n(duration(c.from)), n(duration(c.to - c.from)), bar((c.to - c.from) / most), make('th', {scope: 'row', class: 'cut'}, make('button', {title: text.slice(0, 2000)}, ...short)));
      }),
    );
    // Of what grows, the path comes now and then: an old one says nothing.
    const old = !steps.length || steps[steps.length - 1].to < 0.9 * m.end;
    this.#slowest(old ? undefined : longest.find((x) => x.slice >= 0));
    const none = !m.size ? 'nothing happened' : m.end === 0 ? 'no time has passed' : 'the processes do not all descend from one';
    get('pathnote').textContent = !steps.length ? `none: ${none}` : rest ? `the ten longest steps; ${rest} shorter ones take ${duration(m.end - longest.reduce((sum, c) => sum + c.to - c.from, 0))}` : '';
    const by = m.noCPU ? 'wall' : 'cpu';
    get('dearnote').textContent = !m.size ? '' : m.noCPU ? 'by wall time: CPU time is unknown' : 'by CPU time';
    const dear = [...m.programs].sort((a, b) => b[by] - a[by]).slice(0, 10);
    refill(get('dear').tBodies[0],
      dear.map((p) => {
        const go = () => {
          const path = m.names[p.name];
          get('search').value = `program:${/[\s"\\]/.test(path) ? JSON.stringify(path) : path}`;
          this.find();
          this.select(p.longest, false);
        };
        return make('tr', {'data-key': m.names[p.name], 'data-slice': p.longest, onclick: go}, n(m.noCPU ? '–' : duration(p.cpu)), n(duration(p.wall)), n(String(p.runs)), n(String(p.failed), p.failed > 0), bar(p[by] / (dear[0][by] || 1)), make('th', {scope: 'row', class: 'cut'}, make('button', {title: m.names[p.name]}, make('b', {}, base(m.names[p.name])), make('span', {class: 'dim'}, `  ${visible(m.names[p.name])}`))));
      }),
    );
  }

  // #slowest names the step that took longest, or none.
  #slowest(step) {
    const m = this.model;
    get('slowest').hidden = !step;
    this.view.marked = step ? step.slice : -1;
    if (!step) return;
    const [button, text] = get('slowest').children;
    button.textContent = m.short(step.slice).slice(0, 200);
    button.dataset.slice = step.slice;
    const took = step.to - step.from;
    text.textContent = `took ${duration(took)} of ${duration(m.end)} (${Math.round((100 * took) / m.end)} %)`;
  }

  #tools() {
    const view = this.view;
    let timer = 0;
    get('search').addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.find(), 120);
    });
    get('filter').addEventListener('change', () => this.find());
    get('in').addEventListener('click', () => view.zoom(0.6, view.width / 2));
    get('out').addEventListener('click', () => view.zoom(1 / 0.6, view.width / 2));
    get('fit').addEventListener('click', () => view.fit());
    get('slowest').children[0].addEventListener('click', (e) => this.select(Number(e.target.dataset.slice), true));
    get('threads').addEventListener('click', () => this.threads());
    get('follow').addEventListener('click', () => this.follow());
    get('follow').hidden = get('followkey').hidden = !this.live;
    view.onkeep = () => this.#pressed();
    get('theme').addEventListener('click', () => this.theme(view.dark ? 'light' : 'dark'));
    get('helpbutton').addEventListener('click', () => get('help').showModal());
    get('more').addEventListener('click', () => {
      this.shown *= 4;
      this.#rows();
    });
    let before = '';
    addEventListener('beforeprint', () => {
      before = document.documentElement.dataset.theme;
      this.theme('light');
      view.paint();
    });
    addEventListener('afterprint', () => this.theme(before));
  }

  threads() {
    this.view.showThreads = !this.view.showThreads;
    get('threads').setAttribute('aria-pressed', String(this.view.showThreads));
    this.view.draw();
  }

  // find looks for what the search and the filter ask for. All words must be
  // there; program:PATH asks for one program, also as program:"PATH", and pid:N for
  // one process.
  find() {
    const m = this.model;
    const words = get('search').value.toLowerCase().match(/program:"(?:[^"\\]|\\.)*"|\S+/g) || [];
    const filter = get('filter').value;
    const all = !words.length && filter === 'all' && !m.marks;
    const found = [];
    const matches = new Uint8Array(m.size);
    const names = m.names.map((n) => n.toLowerCase());
    const long = m.end / 100;
    // Words are looked for in the lines first, where strings stand as JSON.
    const tests = words.map((word) => {
      if (word.startsWith('program:')) {
        const path = unquoted(word.slice(8));
        return (i) => names[m.name[i]] === path;
      }
      if (word.startsWith('pid:')) return (i) => m.pid[i] === Number(word.slice(4));
      const json = JSON.stringify(word).slice(1, -1).replace(/[<>&]/g, (c) => '\\u00' + c.charCodeAt(0).toString(16));
      const lower = (text) => text.toLowerCase();
      return (i) => names[m.name[i]].includes(word) || String(m.pid[i]) === word ||
        ((lower(m.first[i]).includes(json) || lower(m.last[i]).includes(json)) && m.texts(i).some((text) => lower(text).includes(word)));
    });
    for (let i = 0; i < m.size; i++) {
      if (m.marks && !m.marks.has(i)) continue;
      if (filter === 'failed' && !m.failed(i)) continue;
      if (filter === 'path' && !m.onPath.has(i)) continue;
      if (filter === 'long' && m.wall(i) < long) continue;
      if (!tests.every((test) => test(i))) continue;
      matches[i] = 1;
      found.push(i);
    }
    this.found = found;
    this.view.matches = all ? null : matches;
    get('found').textContent = all ? '' : `${found.length} of ${m.size}`;
    this.view.draw();
    this.#rows();
  }

  // step goes to the next one found, or back.
  step(by) {
    const {found} = this;
    if (!found.length) return;
    const at = found.indexOf(this.view.selected);
    this.select(found[at < 0 ? (by > 0 ? 0 : found.length - 1) : (at + by + found.length) % found.length], false);
  }

  #head() {
    const heads = columns.map((c) => make('th', {scope: 'col', class: c.number ? 'n' : undefined}, make('button', {onclick: () => {
      this.sort = {column: c, down: this.sort.column === c ? !this.sort.down : !!c.down};
      order();
      this.#rows();
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

  #rows() {
    const m = this.model;
    const {column, down} = this.sort;
    const keys = [];
    for (const i of this.found) keys[i] = column.key(m, i);
    const sign = down ? -1 : 1;
    const sorted = [...this.found].sort((a, b) => (keys[a] < keys[b] ? -sign : keys[a] > keys[b] ? sign : a - b));
    const rows = sorted.slice(0, this.shown).map((i) =>
      make('tr', {'data-slice': i, 'data-key': i, class: i === this.view.selected ? 'chosen' : undefined, onclick: () => this.select(i, false)},
        ...columns.map((c) => c.command
          ? make('th', {scope: 'row', class: 'cut'}, make('button', {}, m.command(i).slice(0, 400)))
          : make('td', {class: (c.number ? 'n' : '') + (c.name === 'status' && m.failed(i) ? ' bad' : '')}, c.show(m, i)))));
    refill(get('table').tBodies[0], rows);
    get('listnote').textContent = `each program of a process has a line; ${Math.min(this.shown, sorted.length)} of ${sorted.length}`;
    get('more').hidden = this.shown >= sorted.length;
  }

  select(i, zoom) {
    const {view, model: m} = this;
    view.selected = i;
    for (const row of get('table').tBodies[0].rows) row.classList.toggle('chosen', Number(row.dataset.slice) === i);
    get('details').hidden = i < 0;
    if (i >= 0 && m.lane[i].row < 0) m.settle(); // its lane has nothing in what is shown
    if (i >= 0) this.#details(i);
    requestAnimationFrame(() => {
      if (i >= 0) view.reveal(i, zoom);
      view.draw();
    });
  }

  #details(i) {
    const m = this.model;
    this.detailed = m.ended[i];
    const d = m.details(i);
    const list = [];
    const add = (name, value, bad) => value !== undefined && value !== '' && list.push(make('dt', {}, name), make('dd', {class: bad ? 'bad' : undefined}, String(value)));
    add('pid', m.pid[i]);
    add('parent', d.ppid);
    add('program', visible(m.path(i)));
    add('status', m.status(i) + (d.core ? ', core dumped' : ''), m.failed(i));
    add('began', duration(m.t0[i]));
    add('wall', duration(m.wall(i)));
    if (m.cpu(i) >= 0) add('CPU', `${duration(m.user[i])} user, ${duration(m.sys[i])} system`);
    if (m.rss[i] >= 0) add('max RSS', bytes(m.rss[i]));
    if (d.read_bytes || d.write_bytes) add('I/O', `${bytes(d.read_bytes || 0)} read, ${bytes(d.write_bytes || 0)} written`);
    if (d.minflt || d.majflt) add('page faults', `${d.minflt || 0}, ${d.majflt || 0} with I/O`);
    if (d.nvcsw || d.nivcsw) add('switches', `${d.nvcsw || 0}, ${d.nivcsw || 0} involuntary`);
    add('directory', d.cwd && visible(d.cwd));
    add('uid', ids(d.uid));
    add('gid', ids(d.gid));
    add('container', d.container && visible((d.container_name ? d.container_name + ', ' : '') + d.container));
    add('image', d.container_image && visible(d.container_image));
    add('labels', d.container_labels && Object.entries(d.container_labels).map(([k, v]) => visible(`${k}=${v}`)).join('\n'));
    add('cgroup', d.cgroup && visible(d.cgroup));
    const threads = m.threads.get(i) || [];
    if (threads.length) add('threads', threads.length);
    const p = m.root[i];
    const parent = m.parent[p];
    const kids = m.children.get(p) || [];
    const button = (text, go, off) => make('button', off ? {disabled: ''} : {onclick: go}, text);
    const parts = [
      make('h2', {}, m.short(i).slice(0, 200)),
      make('div', {class: 'row'},
        make('button', {id: 'copy', onclick: () => this.copy(i)}, 'copy command'), button('zoom', () => this.select(i, true)),
        button('parent', () => this.select(parent, false), parent < 0), button(`children: ${kids.length}`, () => this.select(kids[0], false), !kids.length)),
      make('pre', {}, m.command(i) + (d.argv_cut ? ' … (cut)' : '')),
      make('dl', {}, ...list),
    ];
    const programs = [];
    for (let k = p; k >= 0; k = m.next[k]) programs.push(k);
    if (programs.length > 1) {
      parts.push(make('h2', {}, 'programs of this process'), make('div', {class: 'row'}, ...programs.map((k) => button(`${m.label(k).slice(0, 60)} ${duration(m.wall(k))}`, () => this.select(k, false), k === i))));
    }
    for (const x of m.instantsOf.get(i) || []) {
      if (x.category === 'exit') continue;
      parts.push(make('h2', {class: x.category === 'failure' ? 'bad' : undefined}, `${x.category} at ${duration(x.t)}: ${visible(x.name)}`), make('pre', {}, ...Object.entries(x.args).map(([k, v]) => `${k}: ${Array.isArray(v) ? quoted(v) : visible(String(v))}\n`)));
    }
    if (threads.length) parts.push(make('h2', {}, 'threads'), make('pre', {}, threads.slice(0, 200).map((t) => `${t.tid} ${visible(JSON.parse(t.json).comm)}: ${duration(t.to - t.from)}, CPU ${duration(t.cpu)}`).join('\n')));
    get('details').replaceChildren(...parts);
  }

  async copy(i) {
    const text = this.model.copied(i);
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const focused = document.activeElement;
      const area = make('textarea', {}, text);
      document.body.append(area);
      area.select();
      done = document.execCommand('copy');
      area.remove();
      focused.focus({preventScroll: true});
    }
    if (this.view.selected !== i) return;
    const cut = this.model.details(i).argv_cut ? ' what is known of it' : '';
    get('copy').textContent = done ? `copied${cut}` : 'not copied: the browser forbids it';
  }

  #pointer() {
    const {view} = this;
    const canvas = view.canvas;
    const down = new Map();
    let moved = 0;
    canvas.addEventListener('pointerdown', (e) => {
      canvas.setPointerCapture(e.pointerId);
      down.set(e.pointerId, {x: e.offsetX, y: e.offsetY});
      if (down.size === 1) moved = 0;
    });
    canvas.addEventListener('pointermove', (e) => {
      const at = down.get(e.pointerId);
      if (!at) {
        this.#hover(e);
        return;
      }
      const dx = e.offsetX - at.x;
      const dy = e.offsetY - at.y;
      moved += Math.abs(dx) + Math.abs(dy);
      if (down.size === 2) {
        const other = [...down].find(([id]) => id !== e.pointerId)[1];
        const apart = (x, y) => Math.max(10, Math.hypot(x - other.x, y - other.y));
        view.zoom(apart(at.x, at.y) / apart(e.offsetX, e.offsetY), other.x);
      } else if (moved > 3) {
        view.pan(-dx, -dy);
      }
      at.x = e.offsetX;
      at.y = e.offsetY;
    });
    const up = (e) => {
      const click = down.size === 1 && moved <= 3 && e.type === 'pointerup';
      down.delete(e.pointerId);
      if (click) this.select(view.at(e.offsetX, e.offsetY), false);
    };
    canvas.addEventListener('pointerup', up);
    canvas.addEventListener('pointercancel', up);
    canvas.addEventListener('pointerleave', () => {
      this.tip.hidden = true;
      view.hover = -1;
      view.draw();
    });
    canvas.addEventListener('dblclick', (e) => {
      const i = view.at(e.offsetX, e.offsetY);
      if (i >= 0) this.select(i, true);
    });
    canvas.addEventListener('wheel', (e) => {
      e.preventDefault();
      if (e.shiftKey) view.pan(0, e.deltaY || e.deltaX);
      else if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) view.pan(e.deltaX, 0);
      else view.zoom(Math.exp(Math.max(-0.5, Math.min(0.5, e.deltaY * 0.002))), e.offsetX);
    }, {passive: false});
  }

  #hover(e) {
    const {view, model: m} = this;
    const i = view.at(e.offsetX, e.offsetY);
    if (i !== view.hover) {
      view.hover = i;
      view.draw();
    }
    this.tip.hidden = i < 0;
    if (i < 0) return;
    this.tip.textContent = `${duration(m.wall(i))}  ${m.command(i).slice(0, 200)}`;
    this.tip.style.left = `${Math.min(e.clientX + 12, innerWidth - 260)}px`;
    this.tip.style.top = `${e.clientY + 16}px`;
  }

  // relative selects a process near the selected one.
  relative(which) {
    const {model: m, view} = this;
    const p = view.selected < 0 ? -1 : m.root[view.selected];
    if (p < 0) return;
    const parent = m.parent[p];
    let to;
    if (which === 'parent') to = parent;
    else if (which === 'child') to = (m.children.get(p) || [])[0];
    else {
      const all = parent < 0 ? [] : m.children.get(m.root[parent]);
      to = all[all.indexOf(p) + which];
    }
    if (to >= 0) this.select(to, false);
  }

  #keys() {
    const {view} = this;
    const keys = {
      ArrowLeft: () => view.pan(-view.width / 8, 0),
      ArrowRight: () => view.pan(view.width / 8, 0),
      ArrowUp: () => view.pan(0, -54),
      ArrowDown: () => view.pan(0, 54),
      '+': () => view.zoom(0.7, view.width / 2),
      '=': () => view.zoom(0.7, view.width / 2),
      '-': () => view.zoom(1 / 0.7, view.width / 2),
      0: () => view.fit(),
      '/': () => get('search').focus(),
      n: () => this.step(1),
      N: () => this.step(-1),
      p: () => this.relative('parent'),
      c: () => this.relative('child'),
      '[': () => this.relative(-1),
      ']': () => this.relative(1),
      z: () => view.selected >= 0 && this.select(view.selected, true),
      y: () => view.selected >= 0 && this.copy(view.selected),
      t: () => this.threads(),
      f: () => this.live && this.follow(),
      '?': () => get('help').showModal(),
      Escape: () => this.select(-1),
    };
    addEventListener('keydown', (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]') || !view.canvas.offsetParent) return;
      const typing = ['INPUT', 'SELECT', 'TEXTAREA'].includes(e.target.tagName);
      if (e.target === get('search')) {
        if (e.key === 'Escape') {
          get('search').value = '';
          this.find();
          view.canvas.focus();
        } else if (e.key === 'Enter') {
          this.find(); // what was typed just now counts
          this.step(e.shiftKey ? -1 : 1);
        }
      }
      if (typing || !keys[e.key]) return;
      if (e.key.startsWith('Arrow') && e.target !== view.canvas && e.target !== document.body) return;
      e.preventDefault();
      keys[e.key]();
    });
  }
}
