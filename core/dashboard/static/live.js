// The stream of changes: `change` events, the state of the link in the header, and its loss.

const RETRY = 2000; // milliseconds. A browser's own tries would ask from the version of the first one, and end after an HTTP error
const TURN = 3000; // milliseconds
const AWAY = 5000; // milliseconds that a hidden page keeps its stream: over HTTP/1.1 a browser has six connections to a host, for all tabs

// `url(version)` gives the address that goes on after a version; `take(data)` takes an event. Returns {again}: the stream is
// opened anew a little later, for whoever could not take an event to its end.
export function follow({ url, version, take, gone, link }) {
  let source = null;
  let last = new Date();
  let timer = 0;

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function open() {
    close();
    source = new EventSource(url(version()));
    source.addEventListener("open", () => link("live", last));
    source.addEventListener("change", (event) => {
      last = new Date();
      take(JSON.parse(event.data));
    });
    source.addEventListener("gone", () => {
      source.close();
      gone?.();
    });
    source.addEventListener("turn", () => {
      close(); // another window has the connection now; this one takes its turn a moment later
      if (!document.hidden) timer = setTimeout(open, TURN);
    });
    source.addEventListener("error", again);
    if (document.hidden) timer = setTimeout(close, AWAY);
  }

  function again() {
    close();
    link("lost", last);
    if (!document.hidden) timer = setTimeout(open, RETRY); // else it opens when the page is seen
  }

  open();
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(close, AWAY);
    else if (!source) open();
  });
  addEventListener("pagehide", close); // a page in the back-forward cache holds no connection
  addEventListener("pageshow", (event) => event.persisted && !source && open());
  return { again };
}

// The dot and the words in the header. `words` says what stands there while the link holds.
export function showLink(element, state, last, words) {
  if (!element) return;
  element.classList.toggle("lost", state === "lost");
  element.classList.toggle("rest", state !== "lost" && words !== "Live" && words !== "running");
  element.dataset.state = words;
  const text = state === "lost" ? `Reconnecting, last update ${last.toLocaleTimeString("en-GB")}` : words;
  if (element.textContent.trim() !== text) element.replaceChildren(document.createElement("i"), text);
}
