// The timeline on a canvas.
import {bytes, hue, moment, roundStep} from './format.js';

const axisHeight = 22;
const stripHeight = 34;
const rowHeight = 18;
const minSpan = 1; // microseconds
const paper = {width: 720, height: 480, ratio: 3}; // what is printed, and then scaled

export class View {
  from = 0;
  to = 1;
  top = 0; // scrolled, in pixels
  selected = -1;
  hover = -1;
  marked = -1; // the slowest step
  matches = null; // Uint8Array, or null where all do
  showThreads = false;
  printing = false;
  keep = ''; // what is shown of what grows: 'all', the 'end', or what was chosen
  onkeep = () => {}; // keep has changed
  frames = 0;
  #waiting = false;
  #widths = new Map(); // of names

  constructor(canvas, model) {
    this.canvas = canvas;
    this.model = model;
    this.ctx = canvas.getContext('2d', {alpha: false});
    this.measure();
    this.restyle();
  }

  // restyle takes over the colours of the page.
  restyle() {
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue('--' + name).trim();
    this.dark = colour('scheme') === 'dark';
    this.colours = {};
    for (const name of ['bg', 'fg', 'dim', 'line', 'accent', 'bad', 'panel', 'cpu', 'work', 'memory']) this.colours[name] = colour(name);
    this.fills = [];
    this.draw();
  }

  fill(name) {
    if (!this.fills[name]) {
      const h = hue(this.model.names[name]);
      // All hues are equally light, so that the text on each can be read.
      this.fills[name] = this.dark ? `oklch(45% 0.1 ${h})` : `oklch(83% 0.09 ${h})`;
    }
    return this.fills[name];
  }

  get head() {
    return axisHeight + 3 * (stripHeight + 4) + 4;
  }
  // measure takes over the size of the canvas: to ask for it is dear.
  measure() {
    this.width = this.printing ? paper.width : this.canvas.clientWidth || 1;
    this.height = this.printing ? paper.height : this.canvas.clientHeight || 1;
  }
  // print paints for paper, or for the screen again.
  print(on) {
    this.printing = on;
    this.paint();
  }

  x(t) {
    return ((t - this.from) / (this.to - this.from)) * this.width;
  }
  time(x) {
    return this.from + (x / this.width) * (this.to - this.from);
  }
  y(i) {
    return this.head + this.model.lane[i].row * rowHeight - this.top;
  }

  show(from, to) {
    const all = Math.max(this.model.end, minSpan);
    const span = Math.min(Math.max(to - from, minSpan), all * 1.1);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - span / 2, -0.05 * all), 1.05 * all - span);
    this.to = this.from + span;
    this.draw();
  }
  use(model) {
    this.model = model;
    this.fills = [];
    this.matches = null;
    this.selected = this.hover = this.marked = -1;
  }
  // advance shows more, as the model has grown.
  advance() {
    if (this.keep === 'all') this.show(0, this.model.end * 1.0001 || minSpan);
    else if (this.keep === 'end') this.show(this.model.end - this.span, this.model.end);
    this.scroll(this.top);
  }
  follow(keep) {
    this.keep = keep;
    this.span = 6e7;
    this.advance();
    this.onkeep();
  }
  #leave() {
    this.keep = '';
    this.onkeep();
  }
  fit() {
    this.top = 0;
    this.follow('all');
  }
  zoom(by, x) {
    if (this.keep === 'end') {
      this.span = Math.min(Math.max(minSpan, (this.to - this.from) * by), Math.max(this.model.end, minSpan));
      this.show(this.model.end - this.span, this.model.end);
      return;
    }
    this.#leave();
    const t = this.time(x);
    this.show(t - (t - this.from) * by, t + (this.to - t) * by);
  }
  pan(dx, dy) {
    if (dx) this.#leave();
    const t = (dx / this.width) * (this.to - this.from);
    this.scroll(this.top + dy);
    this.show(this.from + t, this.to + t);
  }
  scroll(top) {
    const most = this.model.rows.length * rowHeight - (this.height - this.head) + rowHeight;
    this.top = Math.max(0, Math.min(top, most));
    this.draw();
  }
  // reveal brings a slice into sight.
  reveal(i, zoom) {
    const m = this.model;
    this.measure(); // it may have been hidden
    if (zoom || m.until(i) < this.from || m.t0[i] > this.to) this.#leave();
    if (zoom) {
      const pad = Math.max(m.wall(i) * 0.5, 20);
      this.show(m.t0[i] - pad, m.until(i) + pad);
    } else if (m.until(i) < this.from || m.t0[i] > this.to) {
      const half = (this.to - this.from) / 2;
      this.show(m.t0[i] - half, m.t0[i] + half);
    }
    const y = this.y(i);
    if (y < this.head || y > this.height - 2 * rowHeight) this.scroll(m.lane[i].row * rowHeight - (this.height - this.head) / 2);
  }

  // at returns the slice under a point, or -1; near ones count where they are thin.
  at(x, y) {
    if (y < this.head) return -1;
    const lane = this.model.rows[Math.floor((y - this.head + this.top) / rowHeight)];
    if (!lane) return -1;
    const from = this.time(x - 3);
    const to = this.time(x + 3);
    const t = this.time(x);
    let best = -1;
    let near = Infinity;
    for (let k = this.#first(lane.slices, from); k < lane.slices.length; k++) {
      const i = lane.slices[k];
      if (this.model.t0[i] > to) break;
      const off = Math.max(this.model.t0[i] - t, t - this.model.until(i), 0);
      if (off < near || (off === near && this.model.wall(i) > this.model.wall(best))) {
        best = i;
        near = off;
      }
    }
    return best;
  }

  // #first returns the place of the first slice that ends after t.
  #first(slices, t) {
    let low = 0;
    let high = slices.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.model.t1[slices[mid]] < t) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  draw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.paint();
    });
  }

  paint() {
    const {ctx, canvas} = this;
    this.measure();
    const ratio = this.printing ? paper.ratio : window.devicePixelRatio || 1;
    const w = this.width;
    const h = this.height;
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio);
      canvas.height = Math.round(h * ratio);
    }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.fillStyle = this.colours.bg;
    ctx.fillRect(0, 0, w, h);
    if (this.model.rows) {
      this.#grid(w, h);
      this.#lanes(w, h);
      this.#path();
      this.#relations();
      this.#heads(w);
      this.#losses(h);
    }
    this.frames++;
  }

  // #ticks returns the times that the axis shows, and how far apart they are.
  #ticks() {
    const step = roundStep((this.to - this.from) / Math.max(2, this.width / 110));
    const list = [];
    for (let k = Math.max(0, Math.ceil(this.from / step)); k * step <= this.to; k++) list.push(k * step);
    return {step, list};
  }

  #grid(w, h) {
    const {ctx} = this;
    ctx.fillStyle = this.colours.line;
    for (const t of this.#ticks().list) ctx.fillRect(Math.round(this.x(t)), axisHeight, 1, h);
  }

  // #losses marks where items were lost.
  #losses(h) {
    const {ctx} = this;
    ctx.fillStyle = this.colours.bad;
    let drawn = -1;
    for (const {t} of this.model.losses) {
      const x = Math.round(this.x(t));
      if (x <= drawn || x > this.width) continue;
      ctx.fillRect(x, axisHeight, 2, h - axisHeight);
      drawn = x + 1;
    }
  }

  #heads(w) {
    const {ctx} = this;
    ctx.fillStyle = this.colours.bg;
    ctx.fillRect(0, 0, w, this.head - 1);
    ctx.font = '11px system-ui, sans-serif';
    ctx.textBaseline = 'middle';
    const {step, list} = this.#ticks();
    for (const t of list) {
      const x = Math.round(this.x(t));
      ctx.fillStyle = this.colours.line;
      ctx.fillRect(x, 4, 1, this.head - 5);
      ctx.fillStyle = this.colours.dim;
      ctx.fillText(moment(t, step), x + 4, axisHeight / 2);
    }
    // What each says of its greatest value: the CPU time of a program is spread, so
    // what it is at one moment says nothing, and the mean of a pixel is taken.
    const many = (v) => `${v} process${v === 1 ? '' : 'es'}`;
    const kinds = [
      ['CPU', this.colours.cpu, (steps, mean) => `${mean < 0.05 ? 'less than 0.1' : `up to ${mean.toFixed(1)}`} busy`],
      ['at work', this.colours.work, (steps) => `up to ${many(steps.most(this.from, this.to))}`],
      ['memory', this.colours.memory, (steps) => `up to ${bytes(steps.most(this.from, this.to))}`],
    ];
    kinds.forEach(([name, colour, show], k) => {
      const steps = this.model.strips[k];
      const y = axisHeight + k * (stripHeight + 4);
      const values = [];
      let most = 0;
      for (let x = 0; x < w; x++) {
        const v = steps.average(this.time(x), this.time(x + 1));
        values.push(v);
        if (v > most) most = v;
      }
      ctx.fillStyle = colour;
      ctx.beginPath();
      ctx.moveTo(0, y + stripHeight);
      values.forEach((v, x) => ctx.lineTo(x, y + stripHeight - (most ? (v / most) * (stripHeight - 2) : 0)));
      ctx.lineTo(w, y + stripHeight);
      ctx.fill();
      ctx.fillStyle = this.colours.line;
      ctx.fillRect(0, y + stripHeight, w, 1);
      this.#tag(`${name}: ${most ? show(steps, most) : 'unknown'}`, 6, y + 9);
    });
  }

  #tag(text, x, y) {
    const {ctx} = this;
    const width = ctx.measureText(text).width;
    ctx.globalAlpha = 0.8;
    ctx.fillStyle = this.colours.bg;
    ctx.fillRect(x - 3, y - 8, width + 6, 16);
    ctx.globalAlpha = 1;
    ctx.fillStyle = this.colours.fg;
    ctx.fillText(text, x, y);
  }

  #lanes(w, h) {
    const m = this.model;
    const first = Math.max(0, Math.floor(this.top / rowHeight));
    const last = Math.min(m.rows.length, first + Math.ceil((h - this.head) / rowHeight) + 1);
    const {ctx} = this;
    ctx.font = '11px system-ui, sans-serif';
    ctx.textBaseline = 'middle';
    const scale = w / (this.to - this.from);
    for (let r = first; r < last; r++) {
      const {slices} = m.rows[r];
      const y = this.head + r * rowHeight - this.top;
      let drawn = -1; // the last pixel that has something
      for (let k = this.#first(slices, this.from); k < slices.length; k++) {
        const i = slices[k];
        if (m.t0[i] > this.to) break;
        const x0 = (m.t0[i] - this.from) * scale;
        const x1 = (m.until(i) - this.from) * scale;
        if (x1 - x0 >= 3) {
          this.#slice(i, y, w);
          drawn = Math.floor(x1) - 1;
        } else if (x1 >= drawn + 1 || m.failed(i) || (this.matches && this.matches[i])) {
          // What is thin has whole pixels, and no more than one.
          drawn = Math.max(drawn + 1, Math.floor(x0));
          if (this.matches) ctx.globalAlpha = this.matches[i] ? 1 : 0.15;
          ctx.fillStyle = m.failed(i) ? this.colours.bad : m.how[i] === 1 ? this.colours.line : this.fill(m.name[i]);
          ctx.fillRect(drawn, y + 1, Math.max(1, Math.round(x1) - drawn), rowHeight - 3);
          if (i === this.selected || i === this.hover || i === this.marked) this.#slice(i, y, w);
        } else if (k + 16 < slices.length && (m.until(slices[k + 16]) - this.from) * scale < drawn + 1) {
          k = this.#first(slices, this.from + (drawn + 1) / scale) - 1; // the rest of a pixel that is full
        }
      }
      ctx.globalAlpha = 1;
    }
  }

  #slice(i, y, w) {
    const {ctx, model: m} = this;
    const x0 = Math.max(-2, this.x(m.t0[i]));
    const x1 = Math.min(w + 2, this.x(m.until(i)));
    const width = Math.max(1, x1 - x0);
    const alpha = this.matches && !this.matches[i] ? 0.15 : 1;
    ctx.globalAlpha = alpha;
    ctx.fillStyle = m.how[i] === 1 ? this.colours.line : this.fill(m.name[i]);
    ctx.fillRect(x0, y + 1, width > 3 ? width - 0.5 : width, rowHeight - 3);
    if (m.failed(i)) {
      ctx.fillStyle = this.colours.bad;
      ctx.fillRect(x0, y + 1, width, 2);
      ctx.fillRect(Math.max(x0, x1 - 3), y + 1, Math.min(3, width), rowHeight - 3);
    }
    if (width > 26) {
      ctx.fillStyle = this.colours.fg;
      ctx.fillText(this.#fitting(m.short(i), width - 8), x0 + 4, y + rowHeight / 2, width - 8);
    }
    const chosen = this.selected >= 0 && m.root[i] === m.root[this.selected];
    if (chosen || i === this.hover || i === this.marked) {
      ctx.globalAlpha = 1;
      ctx.strokeStyle = chosen || i === this.hover ? this.colours.fg : this.colours.accent;
      ctx.lineWidth = i === this.selected || i === this.marked ? 2 : 1;
      ctx.strokeRect(x0 + 0.5, y + 1.5, Math.max(1, width - 1), rowHeight - 4);
      ctx.globalAlpha = alpha;
    }
    if (this.showThreads && m.threads.has(i)) this.#threads(m.threads.get(i), y);
    if (m.instantsOf.has(i)) this.#instants(m.instantsOf.get(i), y);
    ctx.globalAlpha = 1;
  }

  // #threads draws a line for each thread, in five rows of pixels: there is no room
  // for more. What is drawn there already is not drawn again.
  #threads(threads, y) {
    const {ctx} = this;
    ctx.fillStyle = this.colours.fg;
    const drawn = Array.from({length: 5}, () => [0, 0]); // from and to
    threads.forEach((t, n) => {
      const row = drawn[n % 5];
      const x0 = Math.max(0, this.x(t.from));
      const x1 = Math.max(x0 + 1, Math.min(this.width, this.x(t.to)));
      if (x0 > this.width || this.x(t.to) < 0 || (x0 >= row[0] && x1 <= row[1])) return;
      ctx.fillRect(x0, y + rowHeight - 4 - (n % 5) * 3, x1 - x0, 1);
      if (x0 > row[1] || x1 < row[0]) [row[0], row[1]] = [x0, x1];
      else [row[0], row[1]] = [Math.min(x0, row[0]), Math.max(x1, row[1])];
    });
  }

  // #instants draws a triangle for each instant, which come in the order of time.
  // Of those at one pixel the first one is drawn, and the first failure.
  #instants(instants, y) {
    const {ctx} = this;
    let low = 0;
    let high = instants.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (instants[mid].t < this.from) low = mid + 1;
      else high = mid;
    }
    const drawn = {failure: -1, other: -1};
    for (let k = low; k < instants.length && instants[k].t <= this.to; k++) {
      const {t, category} = instants[k];
      const kind = category === 'failure' ? 'failure' : 'other';
      const x = this.x(t);
      if (category === 'exit' || Math.floor(x) === drawn[kind]) continue;
      drawn[kind] = Math.floor(x);
      ctx.fillStyle = kind === 'failure' ? this.colours.bad : this.colours.fg;
      ctx.beginPath();
      ctx.moveTo(x, y + 1);
      ctx.lineTo(x + 4, y + 6);
      ctx.lineTo(x - 4, y + 6);
      ctx.fill();
    }
  }

  // #fitting returns as much of a text as takes about that room, with a mark where
  // it is cut. To measure a text is dear, so its width is kept.
  #fitting(text, room) {
    if (text.length > 1000) text = text.slice(0, 1000);
    let width = this.#widths.get(text);
    if (width === undefined) {
      if (this.#widths.size > 20000) this.#widths.clear();
      width = this.ctx.measureText(text).width;
      this.#widths.set(text, width);
    }
    if (width <= room) return text;
    const n = Math.floor((text.length * Math.max(0, room - 8)) / width);
    return text.slice(0, n).replace(/[\ud800-\udbff]$/, '') + '…';
  }

  // #path draws the critical path below the bars that it goes through. What
  // falls on the same pixel is drawn once; lines from one step to the next are
  // left out where they would cover everything.
  #path() {
    const {ctx, model: m} = this;
    const path = m.critical;
    ctx.fillStyle = this.colours.accent;
    let low = 0;
    let high = path.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (path[mid].to < this.from) low = mid + 1;
      else high = mid;
    }
    let drawn = -Infinity;
    let link = -Infinity;
    let before = -1;
    for (let k = low; k < path.length && path[k].from <= this.to; k++) {
      const c = path[k];
      if (c.slice < 0) {
        before = -1;
        continue;
      }
      const x1 = Math.min(this.width, this.x(c.to));
      if (x1 - drawn < 1) continue;
      const y = this.y(c.slice) + rowHeight - 2;
      const x0 = Math.max(0, this.x(c.from));
      ctx.fillRect(x0, y, Math.max(1, x1 - x0), 2);
      drawn = x1;
      if (before >= 0 && before !== y && x0 - link > 6) {
        ctx.fillRect(x0, Math.min(before, y), 1, Math.abs(before - y));
        link = x0;
      }
      before = y;
    }
  }

  // #relations draws lines from the selected process to those that it made.
  #relations() {
    const {ctx, model: m} = this;
    if (this.selected < 0) return;
    const p = m.root[this.selected];
    const link = (parent, child) => {
      if (m.lane[parent].row < 0 || m.lane[child].row < 0) return;
      const x = this.x(m.t0[child]);
      ctx.moveTo(x, this.y(parent) + rowHeight - 2);
      ctx.lineTo(x, this.y(child) + 1);
    };
    ctx.strokeStyle = this.colours.fg;
    ctx.lineWidth = 1;
    ctx.beginPath();
    if (m.parent[p] >= 0) link(m.parent[p], p);
    for (const c of (m.children.get(p) || []).slice(0, 500)) link(p, c);
    ctx.stroke();
  }
}
