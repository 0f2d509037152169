// What is known of a program of a process.
import {get, make} from './element.js';
import {bytes, duration, quoted, visible} from './format.js';

// most bounds what is shown of what one process can have any number of.
const most = 200;

// rest says that there are more.
function rest(count) {
  return count > most ? [make('p', {class: 'dim'}, `${most} of ${count} are shown`)] : [];
}

// ids shows real, effective, saved and file system id, or the one that all are.
function ids(v) {
  return Array.isArray(v) ? v.join(', ') : v;
}

export class Details {
  ended = -1; // how it had ended when it was shown

  constructor(app) {
    this.app = app;
  }

  show(i) {
    const {app} = this;
    const m = app.model;
    this.ended = m.ended[i];
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
    if (m.rss[i] >= 0) add('max RSS', (d.maxrss_at_most ? 'at most ' : '') + bytes(m.rss[i]));
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
        make('button', {id: 'copy', onclick: () => this.copy(i)}, 'copy command'), button('zoom', () => app.select(i, true)),
        button('parent', () => app.select(parent, false), parent < 0), button(`children: ${kids.length}`, () => app.select(kids[0], false), !kids.length)),
      make('pre', {}, m.command(i) + (d.argv_cut ? ' … (cut)' : '')),
      make('dl', {}, ...list),
    ];
    const programs = [];
    for (let k = p; k >= 0; k = m.next[k]) programs.push(k);
    if (programs.length > 1) {
      const from = Math.max(0, Math.min(programs.indexOf(i) - most / 2, programs.length - most));
      const row = programs.slice(from, from + most).map((k) => button(`${m.label(k).slice(0, 60)} ${duration(m.wall(k))}`, () => app.select(k, false), k === i));
      parts.push(make('h2', {}, `programs of this process: ${programs.length}`), make('div', {class: 'row'}, ...row, ...rest(programs.length)));
    }
    const instants = (m.instantsOf.get(i) || []).filter((x) => x.category !== 'exit');
    for (const x of instants.slice(0, most)) {
      parts.push(make('h2', {class: x.category === 'failure' ? 'bad' : undefined}, `${x.category} at ${duration(x.t)}: ${visible(x.name)}`), make('pre', {}, ...Object.entries(x.args).map(([k, v]) => `${k}: ${Array.isArray(v) ? quoted(v) : visible(String(v))}\n`)));
    }
    parts.push(...rest(instants.length));
    if (threads.length) parts.push(make('h2', {}, 'threads'), make('pre', {}, threads.slice(0, most).map((t) => `${t.tid} ${visible(JSON.parse(t.json).comm)}: ${duration(t.to - t.from)}, CPU ${duration(t.cpu)}`).join('\n')), ...rest(threads.length));
    get('details').replaceChildren(...parts);
  }

  async copy(i) {
    const {model, view} = this.app;
    const text = model.copied(i);
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
    if (view.selected !== i) return;
    const cut = model.details(i).argv_cut ? ' what is known of it' : '';
    get('copy').textContent = done ? `copied${cut}` : 'not copied: the browser forbids it';
  }
}
