// What has the page of a file show its data.
import {Model} from './model.js';
import {App} from './app.js';

function decoded(text) {
  const raw = atob(text);
  const data = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) data[i] = raw.charCodeAt(i);
  return data;
}

async function load() {
  const model = new Model();
  // A file that was cut off is shown as far as it goes.
  let text = document.getElementById('data').textContent.trim();
  text = text.slice(0, text.length - (text.length % 4));
  const reader = new Blob([decoded(text)]).stream().pipeThrough(new DecompressionStream('gzip')).pipeThrough(new TextDecoderStream()).getReader();
  let cut = false;
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) break;
      model.add(value);
    }
  } catch {
    cut = true;
  }
  document.getElementById('data').remove();
  model.settle();
  window.taskwatch = new App(model, cut);
}

document.addEventListener('DOMContentLoaded', () => {
  load().catch((err) => {
    document.getElementById('title').textContent = `this timeline cannot be shown: ${err}`;
  });
});
