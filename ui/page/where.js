// The filter: a field that completes names, and says what is wrong.
import {make} from '../timeline/element.js';
import {ask} from './call.js';

const get = (id) => document.getElementById(id);

export class Where {
  #at = -1; // of the names that are offered
  #offered = [];

  constructor(about, apply) {
    this.words = [...about.names, ...about.functions.map((name) => ({name, type: 'function', doc: '', call: true}))];
    this.apply = apply;
    const field = get('expr');
    field.addEventListener('input', () => {
      this.#offer();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.check(), 250);
    });
    field.addEventListener('keydown', (e) => this.#key(e));
    field.addEventListener('blur', () => this.#close());
    get('where').addEventListener('submit', (e) => {
      e.preventDefault();
      this.submit(field.value.trim());
    });
    get('clear').addEventListener('click', () => {
      field.value = '';
      this.submit('');
      field.focus();
    });
  }

  async submit(expr) {
    clearTimeout(this.timer);
    if (expr && !(await this.check())) return;
    if (!expr) this.#mistake(null);
    get('clear').hidden = !expr;
    this.apply(expr);
  }

  // check shows what is wrong with what stands in the field.
  async check() {
    const expr = get('expr').value.trim();
    let m = null;
    try {
      m = expr ? await ask(`/api/filter?where=${encodeURIComponent(expr)}`) : null;
    } catch (err) {
      m = {message: err.message, column: 0};
    }
    if (expr === get('expr').value.trim()) this.#mistake(m, expr);
    return !m;
  }

  #mistake(m, expr) {
    get('expr').setAttribute('aria-invalid', String(!!m));
    get('mistake').hidden = !m;
    const lines = [];
    if (m && m.line) lines.push(expr, ' '.repeat(m.column) + '^');
    if (m) lines.push(m.message, ...(m.hint ? [m.hint] : []));
    get('mistake').textContent = lines.join('\n');
  }

  // #offer shows the names that begin like the word before the cursor.
  #offer() {
    const field = get('expr');
    const before = field.value.slice(0, field.selectionStart);
    const quotes = (before.match(/"/g) || []).length;
    const word = (before.match(/[A-Za-z_][\w.]*$/) || [''])[0];
    const after = before.slice(0, before.length - word.length).endsWith(').') || before.endsWith('.');
    const fits = (w) => {
      if (w.name.startsWith(word)) return word;
      const dot = word.lastIndexOf('.');
      return w.call && dot >= 0 && w.name.startsWith(word.slice(dot + 1)) ? word.slice(dot + 1) : null;
    };
    this.#offered = [];
    if ((word || after) && quotes % 2 === 0) {
      for (const w of this.words) {
        const begun = fits(w);
        if (begun !== null && w.name !== word) this.#offered.push({...w, begun});
        if (this.#offered.length === 12) break;
      }
    }
    this.#at = -1;
    get('names').replaceChildren(...this.#offered.map((w, k) =>
      make('li', {id: `name-${k}`, role: 'option', 'aria-selected': 'false', onmousedown: (e) => {
        e.preventDefault(); // the field keeps the focus
        this.#take(k);
      }}, make('code', {}, w.name), make('small', {}, `${w.type} ${w.doc}`))));
    this.#show();
  }

  #show() {
    const open = this.#offered.length > 0;
    get('names').hidden = !open;
    get('expr').setAttribute('aria-expanded', String(open));
    [...get('names').children].forEach((li, k) => li.setAttribute('aria-selected', String(k === this.#at)));
    if (this.#at >= 0) {
      get('expr').setAttribute('aria-activedescendant', `name-${this.#at}`);
      get('names').children[this.#at].scrollIntoView({block: 'nearest'});
    } else get('expr').removeAttribute('aria-activedescendant');
  }

  #close() {
    this.#offered = [];
    this.#at = -1;
    this.#show();
  }

  #take(k) {
    const field = get('expr');
    const {name, begun, call} = this.#offered[k];
    const at = field.selectionStart;
    const text = name + (call ? '(' : '');
    field.setRangeText(text, at - begun.length, at, 'end');
    this.#close();
    field.dispatchEvent(new Event('input'));
    this.#close();
  }

  #key(e) {
    const n = this.#offered.length;
    if (!n) {
      if (e.key === 'ArrowDown') this.#offer();
      return;
    }
    if (e.key === 'ArrowDown') this.#at = (this.#at + 1) % n;
    else if (e.key === 'ArrowUp') this.#at = this.#at <= 0 ? n - 1 : this.#at - 1;
    else if (e.key === 'Escape') this.#close();
    else if (e.key === 'Tab' || (e.key === 'Enter' && this.#at >= 0)) {
      e.preventDefault();
      this.#take(Math.max(0, this.#at));
      return;
    } else return;
    e.preventDefault();
    this.#show();
  }
}
