// Elements of a page.

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

// refill gives the body of a table other rows. The focus stays on the row with
// the same data-key.
export function refill(body, rows) {
  const focused = body.contains(document.activeElement) ? document.activeElement.closest('tr').dataset.key : undefined;
  body.replaceChildren(...rows);
  if (focused === undefined) return;
  const row = rows.find((r) => r.dataset.key === focused);
  if (row) row.querySelector('button')?.focus({preventScroll: true});
}
