// What pointers and keys do to the timeline.
import {get, make} from './element.js';
import {duration} from './format.js';

export class Input {
  constructor(app) {
    this.app = app;
    this.tip = make('div', {id: 'tip', hidden: ''});
    document.body.append(this.tip);
    this.#pointer();
    this.#keys();
  }

  #pointer() {
    const {app} = this;
    const {view} = app;
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
      if (click) app.select(view.at(e.offsetX, e.offsetY), false);
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
      if (i >= 0) app.select(i, true);
    });
    canvas.addEventListener('wheel', (e) => {
      e.preventDefault();
      if (e.shiftKey) view.pan(0, e.deltaY || e.deltaX);
      else if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) view.pan(e.deltaX, 0);
      else view.zoom(Math.exp(Math.max(-0.5, Math.min(0.5, e.deltaY * 0.002))), e.offsetX);
    }, {passive: false});
  }

  #hover(e) {
    const {view, model: m} = this.app;
    const i = view.at(e.offsetX, e.offsetY);
    if (i !== view.hover) {
      view.hover = i;
      view.draw();
    }
    this.tip.hidden = i < 0;
    if (i < 0) return;
    this.tip.textContent = `${duration(m.wall(i))}  ${m.command(i).slice(0, 200)}`;
    // Beside the pointer, and not beyond the edge of the window.
    const {width, height} = this.tip.getBoundingClientRect();
    const below = e.clientY + 16;
    this.tip.style.left = `${Math.max(4, Math.min(e.clientX + 12, innerWidth - width - 8))}px`;
    this.tip.style.top = `${below + height > innerHeight ? e.clientY - height - 8 : below}px`;
  }

  #keys() {
    const {app} = this;
    const {view} = app;
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
      n: () => app.step(1),
      N: () => app.step(-1),
      p: () => app.relative('parent'),
      c: () => app.relative('child'),
      '[': () => app.relative(-1),
      ']': () => app.relative(1),
      z: () => view.selected >= 0 && app.select(view.selected, true),
      y: () => view.selected >= 0 && app.copy(view.selected),
      t: () => app.threads(),
      f: () => app.live && app.follow(),
      '?': () => get('help').showModal(),
      Escape: () => app.select(-1),
    };
    addEventListener('keydown', (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]') || !view.canvas.offsetParent) return;
      const typing = ['INPUT', 'SELECT', 'TEXTAREA'].includes(e.target.tagName);
      if (e.target === get('search')) {
        if (e.key === 'Escape') {
          get('search').value = '';
          app.find();
          view.canvas.focus();
        } else if (e.key === 'Enter') {
          app.find(); // what was typed just now counts
          app.step(e.shiftKey ? -1 : 1);
        }
      }
      if (typing || !keys[e.key]) return;
      if (e.key.startsWith('Arrow') && e.target !== view.canvas && e.target !== document.body) return;
      e.preventDefault();
      keys[e.key]();
    });
  }
}
