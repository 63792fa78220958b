// A few words at the bottom of the page, read aloud too: what was done, or what went wrong.

const [LASTS, ERROR_LASTS] = [5000, 15_000]; // milliseconds; a click ends it, too

let quiet = 0;

export function say(words, { error = false, stays = false } = {}) {
  const place = document.getElementById("said");
  place.className = `toast${error ? " wrong" : ""}`;
  place.setAttribute("role", error ? "alert" : "status");
  place.textContent = words;
  place.onclick = clear;
  clearTimeout(quiet);
  if (!stays) quiet = setTimeout(clear, error ? ERROR_LASTS : LASTS);

  function clear() {
    place.className = "";
    place.textContent = "";
  }
}

export async function copy(text, words = "Copied.") {
  try {
    await navigator.clipboard.writeText(text);
    say(words);
  } catch {
    say("The browser refused to copy; the command is on the page of the experiment.", { error: true });
  }
}
