// Elements of a page.

export const get = (id) => document.getElementById(id);

// make returns an element. All text is set as text: nothing is ever parsed.
export function make(tag, attributes, ...content) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
    else if (value !== undefined) e.setAttribute(name, value);
  }
  e.append(...content);
  return e;
}

// refill gives the body of a table other rows. Of a row with the same data-key
// only the cells change that differ, so that a click is not lost between press
// and release; what its listeners use is in its data, too. The focus stays on that
// row.
export function refill(body, rows) {
  const focused = body.contains(document.activeElement) ? document.activeElement.closest('tr').dataset.key : undefined;
  const old = [...body.rows];
  rows.forEach((row, k) => {
    const was = old[k];
    if (!was) body.append(row);
    else if (was.dataset.key !== row.dataset.key || was.dataset.slice !== row.dataset.slice || was.cells.length !== row.cells.length) was.replaceWith(row);
    else {
      was.className = row.className;
      [...row.cells].forEach((cell, j) => was.cells[j].isEqualNode(cell) || was.cells[j].replaceWith(cell));
    }
  });
  for (const row of old.slice(rows.length)) row.remove();
  if (focused === undefined || body.contains(document.activeElement)) return;
  const row = [...body.rows].find((r) => r.dataset.key === focused);
  if (row) row.querySelector('button')?.focus({preventScroll: true});
}
