// Requests to the server. Every POST carries the page's token, beside the cookie.

export const page = JSON.parse(document.getElementById("page-data")?.textContent || "{}");

export const projectUrl = (path = "") => `/p/${encodeURIComponent(page.project)}${path}`;
export const dataUrl = (path = "") => `/api${projectUrl(path)}`;

export async function getJson(url) {
  const answer = await fetch(url, { headers: { accept: "application/json" } });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `${answer.status} ${answer.statusText}`);
  return body;
}

// Returns the server's words for what was done; throws its words for why not.
export async function act(action, body) {
  const answer = await fetch(dataUrl(`/actions/${action}`), {
    method: "POST",
    headers: { "content-type": "application/json", "x-studio-token": page.token },
    body: JSON.stringify(body),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error ?? `${answer.status} ${answer.statusText}`);
  return said.ok;
}
