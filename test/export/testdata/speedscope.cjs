// Runs the importer of speedscope on a file, outside of a page, and prints what
// it has understood: profiles with their frames, as JSON.
const fs = require("fs"), path = require("path"), vm = require("vm");

// The release is one script, whose modules are functions of its own. What draws
// the page comes last, and is left out; the importer is handed out instead.
const dir = path.join("node_modules", "speedscope", "dist", "release");
const script = fs.readdirSync(dir).find((name) => /^speedscope-.*\.js$/.test(name));
let source = fs.readFileSync(path.join(dir, script), "utf8");
const quote = (s) => s.replace(/\$/g, "\\$");
const importer = /([\w$]+)=\{\};[\w$]+\(\1,\{[^}]*importProfileGroupFromText/.exec(source)[1];
const init = new RegExp("\\(\\(\\)=>\\(([\\w$]+)\\(\\)," + quote(importer) + "\\)\\)").exec(source)[1];
source = source.slice(0, source.lastIndexOf("console.log(`speedscope")) + `globalThis.importer=(${init}(),${importer})})();`;

const anything = () => new Proxy(function () {}, {
  get: (_, key) => (key === Symbol.toPrimitive ? () => "" : anything()),
  set: () => true, apply: () => anything(), construct: () => anything(),
});
const complain = (...words) => process.stderr.write(words.join(" ") + "\n");
const page = {
  console: { log() {}, warn: complain, error: complain }, TextDecoder, TextEncoder, setTimeout, Promise, performance, URL,
  navigator: { userAgent: "", platform: "" }, location: { hash: "", protocol: "http:" }, document: anything(),
  localStorage: { getItem: () => null }, requestAnimationFrame() {}, addEventListener() {},
  matchMedia: () => ({ matches: false, addListener() {}, addEventListener() {} }),
};
page.window = page.self = page;
vm.createContext(page);
vm.runInContext(source, page);

const name = process.argv[2];
page.importer.importProfileGroupFromText(name, fs.readFileSync(name, "utf8")).then((group) => {
  const profiles = group.profiles.map((p) => {
    const frames = [], open = [];
    p.forEachCall(
      (node, at) => open.push(frames.push({ name: node.frame.name, start: at }) - 1),
      (_, at) => { frames[open.pop()].end = at; },
    );
    return { name: p.getName(), weight: p.getTotalWeight(), frames };
  });
  process.stdout.write(JSON.stringify(profiles));
}).catch((err) => { complain(err.stack); process.exit(1); });
