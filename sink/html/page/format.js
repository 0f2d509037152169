// How numbers and texts are shown.

// duration shows microseconds.
export function duration(us) {
  if (us < 0 || us === undefined) return '–';
  if (us < 1000) return `${trim(us, us < 10 ? 1 : 0)} µs`;
  if (us < 1e6) return `${trim(us / 1e3, us < 1e4 ? 2 : 1)} ms`;
  if (us < 6e7) return `${trim(us / 1e6, 2)} s`;
  const s = Math.round(us / 1e6);
  const two = (n) => String(n).padStart(2, '0');
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)} min` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)} h`;
}

function trim(n, digits) {
  return n.toFixed(digits).replace(/\.0+$/, '');
}

// roundStep returns a round number of microseconds, and not less than so many: in
// the decimal system up to ten seconds, and then as clocks and calendars count.
export function roundStep(least) {
  const decimal = (n) => {
    const power = 10 ** Math.floor(Math.log10(n));
    return power * [1, 2, 5, 10].find((k) => k * power >= n);
  };
  if (least <= 1e7) return decimal(least);
  const clock = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const step = clock.find((s) => s * 1e6 >= least);
  return step ? step * 1e6 : decimal(least / 864e8) * 864e8;
}

// moment shows microseconds so that moments which are a step apart differ.
export function moment(us, step) {
  const digits = (unit) => Math.max(0, Math.ceil(Math.log10(unit / step) - 1e-9));
  if (us === 0) return '0';
  if (us < 1e3) return `${us.toFixed(digits(1))} µs`;
  if (us < 1e6) return `${(us / 1e3).toFixed(digits(1e3))} ms`;
  const n = digits(1e6);
  if (us < 6e7) return `${(us / 1e6).toFixed(n)} s`;
  const all = Math.round(us / 10 ** (6 - n)); // in the unit of the last digit
  const minutes = Math.floor(all / (60 * 10 ** n));
  const s = ((all % (60 * 10 ** n)) / 10 ** n).toFixed(n).padStart(n ? n + 3 : 2, '0');
  const two = (k) => String(k).padStart(2, '0');
  return minutes < 60 ? `${minutes}:${s} min` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${s} h`;
}

// bytes shows an amount of memory or I/O.
export function bytes(n) {
  if (n < 0 || n === undefined) return '–';
  let unit = 0;
  while (n >= 1024 && unit < 4) {
    n /= 1024;
    unit++;
  }
  return `${n.toFixed(unit && n < 100 ? 1 : 0)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

// quoted returns a command line that a shell understands. A terminal into which
// it is pasted gets no control characters: they are escaped, as bash, zsh and ksh
// read it.
export function quoted(argv) {
  return argv.map((a) => {
    if (/^(?!=)[\w@%+=:,./-]+$/.test(a)) return a; // zsh takes =x for the path of x
    if (visible(a) === a) return `'${a.replaceAll("'", "'\\''")}'`;
    return `$'${visible(a.replace(/['\\]/g, '\\$&'))}'`;
  }).join(' ');
}

// visible shows characters that have no shape, or that change how others
// stand, by their numbers, and bytes that are no valid UTF-8 in octal: they come
// as U+EF80 to U+EFFF.
export function visible(text) {
  if (/^[ -~]*$/.test(text)) return text;
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, (c) => {
    const code = c.codePointAt(0);
    if (c === '\n') return '\\n';
    if (c === '\t') return '\\t';
    if (c === '\r') return '\\r';
    if (code >= 0xef80 && code <= 0xefff) return '\\' + (code & 0xff).toString(8);
    return code > 0xffff ? '\\U' + code.toString(16).padStart(8, '0') : '\\u' + code.toString(16).padStart(4, '0');
  });
}

// base returns the last part of a path.
export function base(path) {
  return visible(path.slice(path.lastIndexOf('/') + 1) || path);
}

// hue gives a program its colour.
export function hue(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  h ^= h >>> 15;
  return ((h >>> 0) * 137.508) % 360;
}
