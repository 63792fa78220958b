// The whole log of an experiment, of any size: its end first, earlier parts when asked for, what is new while it runs, search.
//
// Only a window of it is in the page: WINDOW bytes, a few thousand lines, whatever the file's size.

import { getJson } from "./api.js";
import { coloured } from "./ansi.js";
import { delayed, el } from "./dom.js";
import { counted, sizeText } from "./format.js";
import { say } from "./toast.js";

const PIECE = 1 << 16; // bytes a request
const WINDOW = 1 << 18;
const POLL = 1000; // milliseconds between looks at a log that grows: files send no news

export class LogView {
  constructor(section, url) {
    this.url = url;
    this.box = section.querySelector("pre");
    this.box.classList.add("whole");
    this.pieces = []; // {from, next, element}
    this.note = el("span", { class: "note", role: "status" });
    this.earlier = el("button", { type: "button", class: "small", onclick: () => this.before() }, "Earlier");
    this.latest = el("button", { type: "button", class: "small", hidden: true, onclick: () => this.toEnd() }, "Latest");
    this.query = el("input", { type: "search", placeholder: "Search the log", "aria-label": "Search the log", autocomplete: "off" });
    this.found = el("div", { class: "found", hidden: true });
    this.query.addEventListener("input", delayed(() => this.search(), 250));
    const old = section.querySelector("p.note"); // of the server, with the link to the whole file
    section.querySelector("h2").after(el("div", { class: "tbar log-bar" }, this.query, this.earlier, this.latest, this.note, old?.querySelector("a") ?? ""), this.found);
    old?.remove();
    this.state = {};
    this.ready = this.end().catch((error) => (this.note.textContent = error.message)); // the next look tries again
  }

  // The last part of the file, in place of what is shown.
  async end() {
    const piece = await getJson(`${this.url}?tail=${PIECE}`);
    this.clear();
    this.push(piece, true);
  }

  clear() {
    this.cut = false;
    this.pieces = [];
    this.state = {};
    this.box.replaceChildren();
  }

  push(piece, follow) {
    const element = el("span", {}, ...coloured(folded(piece.text), this.state));
    this.box.append(element);
    this.pieces.push({ from: piece.offset, next: piece.next, element });
    while (this.pieces.length > 1 && this.pieces.at(-1).next - this.pieces[0].from > WINDOW) this.pieces.shift().element.remove();
    if (follow) this.box.scrollTop = this.box.scrollHeight;
    this.tell(piece.size);
  }

  tell(size) {
    this.size = size;
    this.box.hidden = size === 0;
    const from = this.pieces[0]?.from ?? 0;
    this.earlier.hidden = from === 0;
    this.latest.hidden = !this.cut && !this.away;
    this.note.textContent = size === 0 ? "Nothing was printed." : from === 0 ? sizeText(size) : `from ${sizeText(from)} of ${sizeText(size)}`;
  }

  async toEnd() {
    this.away = false;
    await this.end().catch((error) => say(error.message, { error: true }));
    if (this.running) this.more();
  }

  async before() {
    const first = this.pieces[0];
    if (!first?.from) return;
    this.earlier.setAttribute("aria-busy", "true");
    await this.prepend(first).catch((error) => say(error.message, { error: true }));
    this.earlier.removeAttribute("aria-busy");
  }

  async prepend(first) {
    const begin = Math.max(0, first.from - PIECE);
    const piece = await getJson(`${this.url}?offset=${begin}&limit=${first.from - begin}`);
    const height = this.box.scrollHeight;
    const element = el("span", {}, ...coloured(folded(piece.text)));
    this.box.prepend(element);
    this.pieces.unshift({ from: piece.offset, next: piece.next, element });
    while (this.pieces.length > 1 && this.pieces.at(-1).next - this.pieces[0].from > WINDOW) {
      this.pieces.pop().element.remove();
      this.cut = true; // what is new would not follow what is shown
    }
    this.box.scrollTop += this.box.scrollHeight - height;
    this.tell(piece.size);
  }

  // What came since; again and again while the experiment runs.
  async more() {
    await this.ready;
    clearTimeout(this.timer);
    try {
      const last = this.pieces.at(-1);
      if (!last && !this.away) await this.end();
      else if (!document.hidden && !this.away && !this.cut) {
        const piece = await getJson(`${this.url}?offset=${last.next}&limit=${PIECE}`);
        if (piece.size < last.next) await this.end();
        else if (piece.text) this.push(piece, this.box.scrollTop + this.box.clientHeight > this.box.scrollHeight - 40);
      }
    } catch {
      // the link is lost: the next look finds it again
    }
    if (this.running || !this.pieces.length) this.timer = setTimeout(() => this.more(), POLL); // where nothing came yet, it asks again
  }

  // Lines with what was typed, from a place in the file on. The server looks through a part at a time; as long as it finds
  // nothing the next part follows by itself.
  async search(from = 0) {
    const text = this.query.value;
    this.asked = text;
    if (!from) this.found.replaceChildren();
    this.found.hidden = !text;
    if (!text) {
      if (this.away) await this.end();
      this.away = false;
      return;
    }
    let found = { matches: [], next: from };
    while (!found.matches.length && found.next !== null) {
      this.close(el("p", { class: "note", "aria-busy": "true" }, found.next ? `Nothing in ${sizeText(found.next)} of ${sizeText(this.size)}, searching on…` : "Searching…"));
      try {
        found = await getJson(`${this.url}?search=${encodeURIComponent(text)}&offset=${found.next}`);
      } catch (error) {
        return this.close(el("p", { class: "reason", role: "alert" }, error.message));
      }
      if (this.asked !== text) return; // one typed on
    }
    const { matches, next } = found;
    this.found.lastElementChild.remove();
    for (const match of matches) {
      this.found.append(el("button", { type: "button", class: "hit", onclick: () => this.show(match) }, el("span", { class: "ln" }, match.line === null ? "" : String(match.line)), ...marked(match.text, text)));
    }
    if (next === null) this.found.append(el("p", { class: "note after" }, `${counted(this.found.childElementCount, "line")} found`));
    else this.found.append(el("button", { type: "button", class: "small after", onclick: () => this.search(next) }, "Search on"));
  }

  // What stands below the lines that were found.
  close(element) {
    this.found.querySelector(".after")?.remove();
    element.classList.add("after");
    this.found.append(element);
  }

  // The part of the file around a line that was found.
  async show(match) {
    this.away = true; // what is new is not appended to another part of the file
    const begin = Math.max(0, match.offset - PIECE / 4);
    const piece = await getJson(`${this.url}?offset=${begin}&limit=${PIECE}`);
    this.clear();
    this.push(piece, false);
    const walker = document.createTreeWalker(this.box, NodeFilter.SHOW_TEXT);
    const wanted = this.asked.toLowerCase();
    const skipped = piece.text.slice(0, new TextDecoder().decode(new TextEncoder().encode(piece.text).slice(0, match.offset - piece.offset)).length).toLowerCase().split(wanted).length - 1;
    let seen = 0;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      for (let at = node.data.toLowerCase().indexOf(wanted); at >= 0; at = node.data.toLowerCase().indexOf(wanted, at + 1)) {
        if (seen++ < skipped) continue;
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + wanted.length);
        const mark = el("mark");
        range.surroundContents(mark);
        this.box.scrollTop = mark.offsetTop - this.box.offsetTop - this.box.clientHeight / 3;
        return;
      }
    }
  }
}

// Lines of a megabyte would hold the page up while they are broken: a line is folded after LONG characters.
const LONG = 4000;
const TOO_LONG = new RegExp(`[^\\n]{${LONG}}(?=[^\\n])`, "g");
const folded = (text) => text.replace(TOO_LONG, "$&\n");

function marked(line, text) {
  const at = line.toLowerCase().indexOf(text.toLowerCase());
  const clean = (piece) => coloured(piece).map((node) => node.textContent).join("");
  return at < 0 ? [clean(line)] : [clean(line.slice(0, at)), el("mark", {}, clean(line.slice(at, at + text.length))), clean(line.slice(at + text.length))];
}
