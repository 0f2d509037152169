// The pages of 'taskwatch ui': the timeline of a file, with what is live.
import {App} from '../timeline/app.js';
import {Model} from '../timeline/model.js';
import {ask} from './call.js';
import {Modules} from './modules.js';
import {Stream} from './stream.js';
import {Tree} from './tree.js';
import {Where} from './where.js';

const get = (id) => document.getElementById(id);
const views = ['timeline', 'processes', 'modules'];

async function start() {
  const about = await ask('/api/about');
  const empty = new Model();
  empty.settle();
  const app = new App(empty, false, about.live && 'this machine, as the daemon sees it');
  window.taskwatch = app;
  if (about.live) get('totals').setAttribute('aria-live', 'off'); // it changes all the time
  const modules = about.live ? new Modules(about) : null;
  get('modules-link').hidden = !about.live;
  let view = '';

  const show = (model, fresh) => {
    const {keep, from} = app.view;
    model.settle(about.live && keep === 'end' && !fresh ? from : undefined);
    if (fresh) app.use(model);
    else app.update();
    if (view === 'processes') tree.show(model);
  };
  const tree = new Tree(about.live, (i) => {
    location.hash = '#timeline';
    change();
    app.select(i, false);
  });
  const stream = new Stream(about.live, show, (text, again) => {
    get('state').textContent = (about.file ? `${about.file}: ` : '') + text;
    get('again').hidden = !again;
  });
  app.where = new Where(about, (expr) => {
    stream.where = expr;
    stream.start();
  });
  get('again').addEventListener('click', () => stream.start());

  const change = () => {
    const name = location.hash.slice(1);
    view = views.includes(name) && (name !== 'modules' || about.live) ? name : 'timeline';
    for (const v of views) {
      get(`${v}-view`).hidden = v !== view;
      const link = document.querySelector(`nav a[href="#${v}"]`);
      if (v === view) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    get('where').hidden = view === 'modules';
    modules?.watch(view === 'modules');
    tree.watch(view === 'processes', () => app.model, () => stream.where);
    if (view === 'processes') tree.show(app.model);
  };
  addEventListener('hashchange', change);
  app.stream = stream;
  app.modules = modules;
  change();
  stream.start();
}

start().catch((err) => {
  get('title').textContent = `this page cannot be shown: ${err.message}`;
});
