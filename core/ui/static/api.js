// Requests to the server. Every POST carries the page's token, beside the cookie.

export const page = JSON.parse(document.getElementById("page-data")?.textContent || "{}");

export const projectUrl = (path = "") => `/p/${encodeURIComponent(page.project)}${path}`;
export const dataUrl = (path = "") => `/api${projectUrl(path)}`;

export function getJson(url) {
  return answered(url, { headers: { accept: "application/json" } });
}

// Returns the server's words for what was done; throws its words for why not.
export async function act(action, body) {
  const headers = { "content-type": "application/json", "x-studio-token": page.token };
  return (await answered(dataUrl(`/actions/${action}`), { method: "POST", headers, body: JSON.stringify(body) })).ok;
}

async function answered(url, options) {
  const answer = await fetch(url, options).catch(() => {
    throw new Error("The dashboard does not answer. Is studio ui still running?");
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `${answer.status} ${answer.statusText}`);
  return body;
}
