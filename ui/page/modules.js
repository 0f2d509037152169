// The modules of the daemon.
import {make, refill} from '../timeline/element.js';
import {duration, visible} from '../timeline/format.js';
import {base64, call} from './call.js';

const get = (id) => document.getElementById(id);
const number = (text) => Number(text || 0).toLocaleString();
const cells = (...list) => list.map((c) => (c instanceof Node ? c : make('td', {}, visible(String(c ?? '')))));
const n = (text, bad) => make('td', {class: bad ? 'n bad' : 'n'}, text);

// lookAgain is how often the daemon is asked while its modules are in sight.
const lookAgain = 2000;

export class Modules {
  chosen = '';

  constructor(about) {
    get('load-stock').append(...about.stock.map((m) => make('option', {value: m.name}, `${m.name}: ${m.summary}`)));
    get('load-stock').addEventListener('change', () => this.#form());
    this.#form();
    get('load').addEventListener('submit', (e) => {
      e.preventDefault();
      this.#load();
    });
    get('unload-no').addEventListener('click', () => get('unload').close());
    get('unload-yes').addEventListener('click', () => this.#unload());
  }

  // watch asks the daemon again and again, until it is told to stop.
  watch(on) {
    clearInterval(this.timer);
    if (!on) return;
    this.timer = setInterval(() => document.hidden || this.update(), lookAgain);
    this.update();
  }

  async update() {
    try {
      const [status, list] = await Promise.all([call('Status'), call('List')]);
      this.#status(status);
      this.#list(list.modules || [], status.mayLoad);
      if (this.chosen && (list.modules || []).some((m) => m.name === this.chosen)) await this.#details();
      else get('module').hidden = true;
      get('modules-error').hidden = true;
    } catch (err) {
      get('modules-error').textContent = visible(err.message);
      get('modules-error').hidden = false;
    }
    this.ready = true;
  }

  #status(s) {
    const parts = [`taskwatch ${s.version || ''}, pid ${s.pid}, source ${s.source}: ${s.scope}`];
    if (s.noKernelModules) parts.push(`no modules for the kernel: ${s.noKernelModules}`);
    if (s.lost && s.lost !== '0') parts.push(`${number(s.lost)} events were lost by the source`);
    get('daemon').textContent = visible(parts.join('; '));
    get('load').hidden = !s.mayLoad;
    get('read-only').hidden = !!s.mayLoad;
    get('read-only').textContent = 'You may read what the daemon has. Root, and the user that the daemon runs as, may load and unload modules.';
  }

  #list(list, mayLoad) {
    get('no-modules').hidden = list.length > 0;
    get('modules').hidden = !list.length;
    refill(get('modules').tBodies[0], list.map((m) => {
      const c = m.calls || {};
      const timed = c.timed && Number(c.calls || 0) > 0;
      const name = make('button', {class: 'link', 'aria-expanded': String(m.name === this.chosen), onclick: () => this.choose(m.name)}, m.name);
      const state = m.reason ? `${m.state}: ${m.reason}` : m.state;
      const off = m.state !== 'live' ? '' : undefined;
      const unload = make('button', {disabled: off, 'aria-label': `unload ${m.name}`, onclick: () => this.#confirm(m)}, 'unload');
      return make('tr', {'data-key': m.name, class: m.name === this.chosen ? 'chosen' : undefined},
        make('th', {scope: 'row'}, name), ...cells(mayLoad ? make('td', {}, unload) : '', m.kind, state, (m.events || []).join(', ')),
        n(c.timed ? number(c.calls) : '–'), n(number(c.errors), c.errors), n(number(c.vetoes), c.vetoes), n(number(m.drops), m.drops),
        n(timed ? duration(Number(c.mean_ns || 0) / 1000) : '–'), n(timed ? duration(Number(c.p99_ns || 0) / 1000) : '–'),
        ...cells(m.tier || '–'));
    }));
  }

  choose(name) {
    this.chosen = this.chosen === name ? '' : name;
    this.update();
  }

  async #details() {
    const {chosen: name} = this;
    const [info, globals, stats] = await Promise.all([call('Info', {name}), call('Globals', {name}).catch((err) => ({error: err.message})), call('Stats', {name})]);
    if (name !== this.chosen) return;
    get('module-name').textContent = name;
    get('module-about').textContent = visible(info.description || '');
    const facts = [['author', info.author], ['version', info.version], ['licence', info.license], ['may deny', (info.veto || []).join(', ')],
      ['powers', (info.module.powers || []).join(', ')], ['signed by', info.module.signer], ['loaded', new Date(info.loaded).toLocaleString()], ['came by', info.module.origin], ['SHA-256', info.sha256]];
    get('module-facts').replaceChildren(...facts.filter(([, v]) => v).flatMap(([k, v]) => [make('dt', {}, k), make('dd', {}, visible(v))]));
    const table = (id, list, row) => {
      get(id).parentNode.hidden = !list.length;
      refill(get(id).tBodies[0], list.map((x) => make('tr', {}, ...row(x))));
    };
    const head = (text) => make('th', {scope: 'row'}, visible(text));
    table('params', info.params || [], (p) => [head(p.name), ...cells(p.value, p.default, p.type, p.description)]);
    const variables = globals.error ? [{name: 'they cannot be shown', value: globals.error}] : globals.globals || [];
    table('globals', variables, (g) => [head(g.name), ...cells((g.value || '').slice(0, 2000), g.type)]);
    table('watchers', stats.watchers || [], ({watcher: w, calls: c = {}}) => [head(w.event), ...cells(w.function), n(c.timed ? number(c.calls) : '–'), n(number(c.errors)), n(number(c.vetoes))]);
    get('module').hidden = false;
  }

  #confirm(m) {
    this.unloading = m.name;
    get('unload-name').textContent = `Unload ${m.name}?`;
    get('unload-text').textContent = `Its watchers of ${(m.events || []).join(', ')} are called no more${m.tier ? ', what it denies is allowed again' : ''}, and its variables are gone.`;
    get('unload-error').hidden = true;
    get('unload').showModal();
  }

  async #unload() {
    get('unload-yes').disabled = true;
    try {
      await call('Unload', {name: this.unloading});
      get('unload').close();
    } catch (err) {
      get('unload-error').textContent = visible(err.message);
      get('unload-error').hidden = false;
    }
    get('unload-yes').disabled = false;
    this.update();
  }

  // #form hides what a stock module needs not.
  #form() {
    const stock = get('load-stock').value !== '';
    for (const id of ['load-file', 'load-signature']) {
      get(id).hidden = stock;
      document.querySelector(`label[for=${id}]`).hidden = stock;
    }
    get('load-name').placeholder = stock ? get('load-stock').value : 'that of the file';
  }

  async #load() {
    get('load-error').hidden = true;
    get('load-button').disabled = true;
    get('load-state').textContent = 'loading';
    let done = '';
    try {
      done = await this.#send();
      get('load').reset();
      this.#form();
      this.chosen = done;
    } catch (err) {
      get('load-error').textContent = visible(err.message);
      get('load-error').hidden = false;
    }
    get('load-button').disabled = false;
    get('load-state').textContent = done && `${done} is loaded`;
    this.update();
  }

  async #send() {
    const stock = get('load-stock').value;
    const [file] = get('load-file').files;
    const [signature] = get('load-signature').files;
    if (!stock && !file) throw new Error('choose a module: a stock module, or a file .o or .wasm');
    const name = get('load-name').value.trim() || stock || file.name.replace(/\.[^.]*$/, '');
    const params = {};
    for (const line of get('load-params').value.split('\n').map((l) => l.trim()).filter(Boolean)) {
      const at = line.indexOf('=');
      if (at < 1) throw new Error(`parameter "${line}": write key=value`);
      params[line.slice(0, at)] = line.slice(at + 1);
    }
    const message = {name, params, allowObserveOnly: get('load-observe').checked, allowBestEffort: get('load-effort').checked};
    if (stock) message.file = await base64(await (await fetch(`/api/stock/${encodeURIComponent(stock)}`)).blob());
    else {
      message.file = await base64(file);
      if (signature) message.signature = await base64(signature);
    }
    await call('Load', message);
    return name;
  }
}
