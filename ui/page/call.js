// How the page asks the process that serves it.

// ask returns the answer of JSON to a GET.
export async function ask(path) {
  const res = await fetch(path);
  if (!res.ok) throw new Error((await res.text()).trim());
  return res.json();
}

// call calls a procedure of the daemon. Its error has the daemon's words.
export async function call(procedure, message = {}) {
  const res = await fetch(`/api/daemon/${procedure}`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(message)});
  const text = await res.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(text.trim() || res.statusText);
  }
  if (!res.ok) throw new Error(answer.message || answer.code || res.statusText);
  return answer;
}

// base64 returns the bytes of a file or an answer.
export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
