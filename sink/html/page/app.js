// The page around the timeline.
import {base, duration, visible} from './format.js';
import {get, make, refill} from './element.js';
import {View} from './draw.js';
import {Details} from './details.js';
import {Table} from './table.js';
import {Input} from './input.js';

// unquoted returns a text that may stand as JSON.
function unquoted(text) {
  try {
    return text[0] === '"' ? JSON.parse(text) : text;
  } catch {
    return text;
  }
}

// App is the page. A live one is of what happens on a machine now: it has a
// title of its own, and shows what comes with update.
export class App {
  constructor(model, cut, live) {
    this.model = model;
    this.cut = cut;
    this.live = live;
    this.theme(matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
    this.view = new View(get('canvas'), model);
    this.details = new Details(this);
    this.table = new Table(this);
    this.#totals();
    this.#answer();
    this.#tools();
    new Input(this);
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
    if (view.selected >= 0 && this.model.ended[view.selected] !== this.details.ended) this.details.show(view.selected);
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
    get('title').textContent = name.slice(0, 2000); // two lines are shown
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
    const share = (100 * took) / m.end;
    text.textContent = `took ${duration(took)} of ${duration(m.end)} (${share < 1 ? 'below 1' : Math.round(share)} %)`;
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
    let before = '';
    addEventListener('beforeprint', () => {
      before = document.documentElement.dataset.theme;
      this.theme('light');
      view.print(true);
    });
    addEventListener('afterprint', () => {
      this.theme(before);
      view.print(false);
    });
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
    this.table.show();
  }

  // step goes to the next one found, or back.
  step(by) {
    const {found} = this;
    if (!found.length) return;
    const at = found.indexOf(this.view.selected);
    this.select(found[at < 0 ? (by > 0 ? 0 : found.length - 1) : (at + by + found.length) % found.length], false);
  }

  select(i, zoom) {
    const {view, model: m} = this;
    view.selected = i;
    this.table.choose(i);
    get('details').hidden = i < 0;
    if (i >= 0 && m.lane[i].row < 0) m.settle(); // its lane has nothing in what is shown
    if (i >= 0) this.details.show(i);
    requestAnimationFrame(() => {
      if (i >= 0) view.reveal(i, zoom);
      view.draw();
    });
  }

  copy(i) {
    return this.details.copy(i);
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
}
