// Requests to the server. Every POST carries the page's token, beside the cookie.

export const page = JSON.parse(document.getElementById("page-data")?.textContent || "{}");

export const projectUrl = (path = "") => `/p/${encodeURIComponent(page.project)}${path}`;
export const dataUrl = (path = "") => `/api/projects/${encodeURIComponent(page.project)}${path}`;
export const experimentsUrl = (path = "") => dataUrl(`/experiments${path}`);
export const tableUrl = (version = "") => experimentsUrl(`?layout=columns&changed_since=${encodeURIComponent(version)}`);

// The server is away: the header says so, and what could not be fetched comes when it is back.
export class Away extends Error {}

export async function getJson(url) {
  return (await answered(url, { headers: { accept: "application/json" } })).json();
}

// Returns the server's words for what was done; throws its words for why not.
export async function act(action, body) {
  return (await (await post(dataUrl(`/actions/${action}`), body)).json()).message;
}

// A file of the experiments with these numbers, in this order, as a Blob.
export async function rowsAsCsv(numbers) {
  return (await post(experimentsUrl(".csv"), { numbers })).blob();
}

// Where TensorBoard answers; it is started where it does not run.
export async function tensorboardAddress() {
  return (await (await post(projectUrl("/tensorboard"), {})).json()).address;
}

function post(url, body) {
  const headers = { "content-type": "application/json", "x-studio-token": page.token };
  return answered(url, { method: "POST", headers, body: JSON.stringify(body) });
}

async function answered(url, options) {
  const answer = await fetch(url, options).catch(() => {
    throw new Away("The dashboard does not answer. Is studio ui still running?");
  });
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw new Error(error?.message ?? `${answer.status} ${answer.statusText}`);
}
