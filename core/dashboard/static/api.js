// Requests to the server. Every POST carries the page's token, beside the cookie.

export const page = JSON.parse(document.getElementById("page-data")?.textContent || "{}");

export const projectUrl = (path = "") => `/p/${encodeURIComponent(page.project)}${path}`;
export const dataUrl = (path = "") => `/api${projectUrl(path)}`;

export async function getJson(url) {
  return (await answered(url, { headers: { accept: "application/json" } })).json();
}

// Returns the server's words for what was done; throws its words for why not.
export async function act(action, body) {
  return (await (await post(`/actions/${action}`, body)).json()).ok;
}

// A file of the experiments with these numbers, in this order, as a Blob.
export async function rowsAsCsv(numbers) {
  return (await post("/export.csv", { numbers })).blob();
}

function post(path, body) {
  const headers = { "content-type": "application/json", "x-studio-token": page.token };
  return answered(dataUrl(path), { method: "POST", headers, body: JSON.stringify(body) });
}

async function answered(url, options) {
  const answer = await fetch(url, options).catch(() => {
    throw new Error("The dashboard does not answer. Is studio ui still running?");
  });
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw new Error(error ?? `${answer.status} ${answer.statusText}`);
}
