// The query box: `lr < 1e-3 and optimizer = adam`, as a function of a row.
//
//   query  = all { "or" all }          all = one { "and" one }      one = "not" one | "(" query ")" | test
//   test   = NAME OPERATOR VALUE | WORD                             operators: = != < <= > >= ~ (contains)
//
// A word alone is looked for in the texts of a row. Names and values with blanks stand in quotes.

const TOKEN = /\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(<=|>=|!=|==|≤|≥|≠|[<>=~()])|([^\s<>=!~()≤≥≠"']+))/y;
const SAME = { "==": "=", "≤": "<=", "≥": ">=", "≠": "!=" };
const OPERATORS = new Set(["=", "!=", "<", "<=", ">", ">=", "~"]);

export class QueryError extends Error {}

// What a column gives where the value is yet to come: every test of it may still hold.
export const PENDING = Symbol("pending");

// `columns` maps a name to a function of a row that gives a number, a text or null; `texts` gives all texts of a row. Where such
// a function has `words`, a Map of all words for its values, no others may be asked for.
export function parseQuery(text, columns, texts) {
  const tokens = tokenize(text);
  let at = 0;
  const word = () => (tokens[at]?.kind === "word" ? tokens[at].text.toLowerCase() : null);

  function any() {
    const parts = [all()];
    while (word() === "or") {
      at += 1;
      parts.push(all());
    }
    return parts.length === 1 ? parts[0] : (row) => parts.some((part) => part(row));
  }

  function all() {
    const parts = [one()];
    while (at < tokens.length && tokens[at].text !== ")" && word() !== "or") {
      if (word() === "and") at += 1;
      parts.push(one());
    }
    return parts.length === 1 ? parts[0] : (row) => parts.every((part) => part(row));
  }

  function one() {
    const token = tokens[at];
    if (!token) throw new QueryError("The query ends too early.");
    if (word() === "not") {
      at += 1;
      const part = one();
      return (row) => !part(row);
    }
    if (token.text === "(" && token.kind === "sign") {
      at += 1;
      const part = any();
      if (tokens[at]?.text !== ")") throw new QueryError("A closing ) is missing.");
      at += 1;
      return part;
    }
    if (token.kind === "sign") throw new QueryError(`A name is missing before ${token.text}`);
    at += 1;
    const operator = tokens[at]?.kind === "sign" && OPERATORS.has(tokens[at].text) ? tokens[at].text : null;
    if (!operator && /^#\d+$/.test(token.text)) return test("number", "=", token.text.slice(1), columns); // one experiment, not all with a 5
    if (!operator) return contains(token.text, texts);
    const value = tokens[at + 1];
    if (!value || value.kind === "sign") throw new QueryError(`A value is missing after ${token.text} ${operator}`);
    at += 2;
    return test(token.text, operator, value.text, columns);
  }

  const found = any();
  if (at < tokens.length) throw new QueryError(`${tokens[at].text} has no place here.`);
  return found;
}

function tokenize(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new QueryError(`${text.slice(start).trim()} is not a name, operator or value.`);
    const [, quoted, sign, word] = match;
    if (quoted) tokens.push({ kind: "text", text: quoted.slice(1, -1).replace(/\\(.)/g, "$1") });
    else if (sign) tokens.push({ kind: "sign", text: SAME[sign] ?? sign });
    else tokens.push({ kind: "word", text: word });
  }
  return tokens;
}

function contains(text, texts) {
  const wanted = text.toLowerCase();
  return (row) => texts(row).some((found) => found.toLowerCase().includes(wanted));
}

function test(name, operator, value, columns) {
  const column = columns.get(name) ?? columns.get(name.toLowerCase());
  if (!column) throw new QueryError(`No column is called ${name}.`);
  const number = value.trim() === "" ? NaN : Number(value);
  const text = value.toLowerCase();
  const compare = {
    "=": (x) => (typeof x === "number" ? x === number : String(x).toLowerCase() === text),
    "!=": (x) => (typeof x === "number" ? x !== number : String(x).toLowerCase() !== text),
    "<": (x) => x < number,
    "<=": (x) => x <= number,
    ">": (x) => x > number,
    ">=": (x) => x >= number,
    "~": (x) => String(x).toLowerCase().includes(text),
  }[operator];
  if ("<>".includes(operator[0]) && Number.isNaN(number)) throw new QueryError(`${operator} needs a number, not ${value}.`);
  if (column.words) {
    const meant = new Set([...column.words].filter(([word]) => (operator === "~" ? word.includes(text) : word === text)).map(([, each]) => each));
    if (!meant.size) throw new QueryError(`${value} is not a ${name}; there are ${[...column.words.keys()].join(", ")}.`);
    return (row) => meant.has(column(row)) !== (operator === "!=");
  }
  // A missing value matches no condition, not even !=
  return (row) => {
    const found = column(row);
    return found === PENDING || (found !== null && found !== undefined && compare(found));
  };
}
