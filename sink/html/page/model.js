// What happened, as the lines tell it: see the package comment in doc.go.
import {base, quoted, visible} from './format.js';

// numbers reads what stands behind the letter of a line, up to an end, at the
// places 1, 2 and so on.
function numbers(line, end) {
  const list = [0];
  let value = 0;
  let unit = 0;
  let sign = 1;
  for (let k = 2; k <= end; k++) {
    const c = k < end ? line.charCodeAt(k) : 32;
    if (c === 32) {
      list.push(unit ? (sign * value) / unit : sign * value);
      value = 0;
      unit = 0;
      sign = 1;
    } else if (c === 45) sign = -1;
    else if (c === 46) unit = 1;
    else {
      value = value * 10 + c - 48;
      unit *= 10;
    }
  }
  return list;
}

export class Model {
  header = {};
  names = [];
  lanes = new Map();
  top = [];
  // One entry for each slice.
  t0 = [];
  t1 = []; // Infinity while it runs
  lane = [];
  parent = [];
  pid = [];
  name = [];
  how = [];
  ended = []; // how it ended; -1 while it runs
  user = [];
  sys = [];
  rss = [];
  root = []; // the first slice of its process
  next = []; // the slice after an exec, or -1
  first = []; // JSON of the beginning
  last = []; // JSON of the end
  threads = new Map();
  instants = [];
  instantsOf = new Map();
  critical = [];
  waits = ''; // why nothing comes at the moment
  marks = null; // the slices that are marked, where some are to be
  where = ''; // what they are marked by
  order = []; // of the ends
  shorts = new Map();
  losses = []; // where items were lost
  end = 0;
  processes = 0;
  failures = 0;
  atWork = {t: [], v: []};
  // Of live processes: how many live children they have; -1 of other slices.
  #kids = [];
  #working = 0;
  #rest = '';

  // add takes text, which may end within a line.
  add(text) {
    text = this.#rest + text;
    let from = 0;
    for (;;) {
      const to = text.indexOf('\n', from);
      if (to < 0) break;
      this.line(text.slice(from, to));
      from = to + 1;
    }
    this.#rest = text.slice(from);
  }

  line(line) {
    const tab = line.indexOf('\t');
    const n = numbers(line, tab < 0 ? line.length : tab);
    const json = tab < 0 ? '' : line.slice(tab + 1);
    switch (line[0]) {
      case 'H':
        this.header = JSON.parse(json);
        break;
      case 'N':
        this.names.push(JSON.parse(json));
        break;
      case 'L': {
        const lane = {id: n[1], parent: this.lanes.get(n[2]), kids: [], slices: []};
        this.lanes.set(lane.id, lane);
        (lane.parent ? lane.parent.kids : this.top).push(lane);
        break;
      }
      case 'B':
        this.#begin(n, json);
        break;
      case 'E':
        this.#ends(n, json);
        break;
      case 'T':
        if (!this.threads.has(n[1])) this.threads.set(n[1], []);
        this.threads.get(n[1]).push({from: n[2], to: n[3], cpu: n[4], tid: n[5], json});
        break;
      case 'I': {
        const instant = {slice: n[1], t: n[2], ...JSON.parse(json)};
        this.instants.push(instant);
        if (!this.instantsOf.has(n[1])) this.instantsOf.set(n[1], []);
        this.instantsOf.get(n[1]).push(instant);
        break;
      }
      case 'F':
        this.where = JSON.parse(json);
        this.marks = new Set();
        break;
      case 'M':
        this.marks.add(n[1]);
        break;
      case 'A':
        this.end = Math.max(this.end, n[1]);
        break;
      case 'P':
        this.critical = [];
        break;
      case 'W':
        this.waits = JSON.parse(json);
        break;
      case 'Z':
        this.over = JSON.parse(json);
        break;
      case 'C':
        this.critical.push({from: n[1], to: n[2], pid: n[3], slice: -1});
        break;
    }
  }

  #begin(n, json) {
    const i = this.t0.length;
    const lane = this.lanes.get(n[1]);
    const how = n[6];
    const before = how === 2 ? lane.slices[lane.slices.length - 1] : -1;
    this.t0.push(n[2]);
    this.t1.push(Infinity);
    this.lane.push(lane);
    this.parent.push(before >= 0 ? this.parent[before] : n[3]);
    this.pid.push(n[4]);
    this.name.push(n[5]);
    this.how.push(how);
    this.ended.push(-1);
    this.user.push(-1);
    this.sys.push(-1);
    this.rss.push(-1);
    this.root.push(before >= 0 ? this.root[before] : i);
    this.next.push(-1);
    this.first.push(json);
    this.last.push('');
    lane.slices.push(i);
    this.end = Math.max(this.end, n[2]);
    if (before >= 0) {
      this.next[before] = i;
      this.#kids.push(-1);
      return;
    }
    this.processes++;
    this.#kids.push(0);
    const maker = n[3] < 0 ? -1 : this.root[n[3]];
    const kids = maker < 0 ? -1 : this.#kids[maker];
    if (kids >= 0) this.#kids[maker]++;
    if (kids !== 0) this.#work(n[2], 1);
  }

  #ends(n, json) {
    const i = n[1];
    this.t1[i] = n[2];
    this.user[i] = n[3];
    this.sys[i] = n[4];
    this.rss[i] = n[5];
    this.ended[i] = n[6];
    this.last[i] = json;
    this.order.push(i);
    this.end = Math.max(this.end, n[2]);
    if (n[6] === 2) return;
    if (n[6] === 1) this.failures++;
    const p = this.root[i];
    if (this.#kids[p] === 0) this.#work(n[2], -1);
    this.#kids[p] = -1;
    const maker = this.parent[i] < 0 ? -1 : this.root[this.parent[i]];
    if (maker < 0 || this.#kids[maker] < 0) return;
    if (--this.#kids[maker] === 0) this.#work(n[2], 1);
  }

  #work(t, by) {
    this.#working += by;
    this.atWork.t.push(t);
    this.atWork.v.push(this.#working);
  }

  get size() {
    return this.t0.length;
  }

  until(i) {
    return Math.min(this.t1[i], this.end);
  }
  wall(i) {
    return this.until(i) - this.t0[i];
  }
  cpu(i) {
    return this.user[i] < 0 ? -1 : this.user[i] + this.sys[i];
  }
  failed(i) {
    return this.ended[i] === 1;
  }
  status(i) {
    return this.ended[i] < 0 ? 'running' : this.ended[i] === 2 ? 'exec' : JSON.parse(this.last[i]).status || '';
  }
  path(i) {
    return this.names[this.name[i]];
  }
  label(i) {
    return (this.how[i] === 1 ? 'fork of ' : '') + base(this.path(i));
  }
  details(i) {
    return {...JSON.parse(this.first[i] || '{}'), ...JSON.parse(this.last[i] || '{}')};
  }
  // texts returns what a search looks into, without the names of what it is.
  texts(i) {
    const d = this.details(i);
    const labels = Object.entries(d.container_labels || {}).map(([k, v]) => `${k}=${v}`);
    return [...(d.argv || []), d.cwd, d.cgroup, d.container, d.container_name, d.container_image, d.status, ...labels].filter(Boolean);
  }
  // copied returns the command line for a shell.
  copied(i) {
    const d = JSON.parse(this.first[i] || '{}');
    return d.argv ? quoted(d.argv) : this.path(i);
  }
  command(i) {
    return (this.how[i] === 1 ? 'fork of ' : '') + visible(this.copied(i));
  }

  // short names a program and the files that it is about, those of its
  // arguments that look like paths and are neither options nor temporary, nor what
  // compilers are to include or where they note dependencies: many commands begin
  // alike.
  short(i) {
    let text = this.shorts.get(i);
    if (text === undefined) {
      const argv = JSON.parse(this.first[i] || '{}').argv || [];
      const files = [];
      for (let k = 1; k < argv.length; k++) {
        const a = argv[k];
        if (/^-(include|imacros|M[A-Z]+)$/.test(argv[k - 1])) continue;
        if (files.length < 3 && a.length < 200 && !/^([-+]|\/tmp\/)/.test(a) && /^[^\s=]*[\w)]\.[A-Za-z]\w{0,5}$/.test(a) && !files.includes(base(a))) files.push(base(a));
      }
      // gcc is easier to read than x86_64-linux-gnu-gcc-12.
      const called = base(argv[0] || '');
      const name = this.how[i] !== 1 && called && this.label(i).includes(called) ? called : this.label(i);
      text = [name, ...(this.how[i] === 1 ? [] : files)].join(' ');
      this.shorts.set(i, text);
    }
    return text;
  }

  // lost says how many items were lost, or "".
  lost() {
    const counts = this.losses.map((x) => /^\d+/.exec(x.name));
    const sum = counts.reduce((n, c) => n + Number(c || 0), 0);
    if (!counts.length) return '';
    return sum && counts.every(Boolean) ? String(sum) : sum ? `more than ${sum}` : 'some';
  }

  // settle works out what needs all lines. Lanes that have nothing after a time
  // get no row.
  settle(since = -Infinity) {
    this.losses = this.instants.filter((x) => x.category === 'loss');
    const last = new Map(); // slices by pid, with the one before of the same pid
    const before = new Int32Array(this.size);
    for (let i = 0; i < this.size; i++) {
      before[i] = last.get(this.pid[i]) ?? -1;
      last.set(this.pid[i], i);
    }
    this.onPath = new Set();
    for (const c of this.critical) {
      const middle = (c.from + c.to) / 2;
      let i = last.get(c.pid) ?? -1;
      while (i >= 0 && !(this.t0[i] <= middle && middle <= this.t1[i])) i = before[i];
      c.slice = i;
      if (c.slice >= 0) this.onPath.add(c.slice);
    }
    this.rows = [];
    // Without recursion: processes may be nested deeper than calls can be.
    const left = this.top.map((lane) => ({lane})).reverse();
    while (left.length) {
      const {lane, seen} = left.pop();
      if (seen) { // all below it
        const last = lane.slices[lane.slices.length - 1];
        if (lane.row === this.rows.length - 1 && !(this.t1[last] >= since)) {
          this.rows.pop();
          lane.row = -1;
        }
        continue;
      }
      lane.row = this.rows.length;
      this.rows.push(lane);
      left.push({lane, seen: true});
      for (let k = lane.kids.length - 1; k >= 0; k--) left.push({lane: lane.kids[k]});
    }
    this.children = new Map();
    for (let i = 0; i < this.size; i++) {
      if (this.root[i] !== i || this.parent[i] < 0) continue;
      const maker = this.root[this.parent[i]];
      if (!this.children.has(maker)) this.children.set(maker, []);
      this.children.get(maker).push(i);
    }
    this.strips = [this.#rates((i) => (this.wall(i) > 0 ? this.cpu(i) / this.wall(i) : 0)), new Steps(this.atWork.t, this.atWork.v, this.end), this.#rates((i) => this.rss[i])];
    this.programs = this.#programs();
  }

  // #rates adds up, over time, a number that each slice has while it lasts. Both
  // beginnings and ends are in the order of time.
  #rates(of) {
    const t = [];
    const v = [];
    let sum = 0;
    const change = (at, by) => {
      if (!(by !== 0)) return;
      sum += by;
      if (t[t.length - 1] === at) v[v.length - 1] = sum;
      else {
        t.push(at);
        v.push(sum);
      }
    };
    let begun = 0;
    for (const i of this.order) {
      while (begun < this.size && this.t0[begun] <= this.t1[i]) change(this.t0[begun], Math.max(0, of(begun++)));
      change(this.t1[i], -Math.max(0, of(i)));
    }
    while (begun < this.size) change(this.t0[begun], Math.max(0, of(begun++)));
    return new Steps(t, v, this.end);
  }

  #programs() {
    const all = new Map();
    this.noCPU = true;
    for (let i = 0; i < this.size; i++) {
      let p = all.get(this.name[i]);
      if (!p) {
        p = {name: this.name[i], runs: 0, failed: 0, wall: 0, cpu: 0, rss: -1, longest: i};
        all.set(this.name[i], p);
      }
      if (this.how[i] !== 1) p.runs++;
      if (this.failed(i)) p.failed++;
      p.wall += this.wall(i);
      if (this.cpu(i) >= 0) {
        this.noCPU = false;
        p.cpu += this.cpu(i);
      }
      p.rss = Math.max(p.rss, this.rss[i]);
      if (this.wall(i) > this.wall(p.longest)) p.longest = i;
    }
    return [...all.values()];
  }
}

// Steps is a number that changes at some times.
export class Steps {
  constructor(t, v, end) {
    this.t = t;
    this.v = v;
    this.end = end;
    this.sum = new Float64Array(t.length + 1);
    this.max = 0;
    for (let i = 0; i < t.length; i++) {
      this.sum[i + 1] = this.sum[i] + v[i] * ((i + 1 < t.length ? t[i + 1] : end) - t[i]);
      if (v[i] > this.max) this.max = v[i];
    }
  }
  // #after returns the place of the first change after a time.
  #after(at) {
    let low = 0;
    let high = this.t.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.t[mid] <= at) low = mid + 1;
      else high = mid;
    }
    return low;
  }
  #until(at) {
    const k = this.#after(at);
    return k === 0 ? 0 : this.sum[k - 1] + this.v[k - 1] * (Math.min(at, this.end) - this.t[k - 1]);
  }
  average(from, to) {
    return to > from ? Math.max(0, (this.#until(to) - this.#until(from)) / (to - from)) : 0;
  }
  most(from, to) {
    let most = 0;
    for (let k = Math.max(0, this.#after(from) - 1); k < this.t.length && this.t[k] <= to; k++) most = Math.max(most, this.v[k]);
    return most;
  }
}
