/**
 * Where a key of a TOML document stands. The parser gives places only for errors of syntax, so this searches the
 * text, which is known to be well-formed by then.
 */
interface Position {
  readonly line: number;
  readonly column: number;
}

/**
 * Line and column, from 1, of a key or of its value. A key inside an inline table, or anything else that this
 * search does not find, is placed at the nearest part of its path that it does find.
 */
export function tomlPlace(text: string, path: readonly string[], part: 'key' | 'value'): Position {
  for (let length = path.length; length > 0; length -= 1) {
    const found = find(text, path.slice(0, length), part);
    if (found !== undefined) return found;
  }
  return { line: 1, column: 1 };
}

function find(text: string, path: readonly string[], part: 'key' | 'value'): Position | undefined {
  const wanted = path.join('\0');
  let table: string[] = [];
  let insideString: string | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    // A line inside a string of several lines has no keys.
    const before = insideString;
    for (const [quotes] of line.matchAll(/"""|'''/g)) {
      if (insideString === undefined) insideString = quotes;
      else if (insideString === quotes) insideString = undefined;
    }
    if (before !== undefined) continue;
    const header = /^\s*\[{1,2}(?<name>[^\]]*)\]/.exec(line);
    if (header !== null) {
      table = keyParts(header.groups?.['name'] ?? '');
      if (isWithin(table, path)) return { line: index + 1, column: line.indexOf('[') + 1 };
      continue;
    }
    const pair = /^(?<indent>\s*)(?<key>(?:"[^"]*"|'[^']*'|[A-Za-z0-9_.-]|[ \t]+(?=[.=]|\.))+?)\s*=\s*/.exec(
      line,
    );
    if (pair === null) continue;
    const full = [...table, ...keyParts(pair.groups?.['key'] ?? '')];
    if (full.join('\0') !== wanted && !isWithin(full, path)) continue;
    const column = part === 'value' ? pair[0].length : (pair.groups?.['indent'] ?? '').length;
    return { line: index + 1, column: column + 1 };
  }
  return undefined;
}

/** Whether the key that is looked for is this one or an ancestor of it (`[a.b]` is where `a` stands). */
function isWithin(full: readonly string[], path: readonly string[]): boolean {
  return path.every((one, index) => full[index] === one);
}

function keyParts(text: string): string[] {
  return [...text.matchAll(/"(?<double>[^"]*)"|'(?<single>[^']*)'|(?<bare>[A-Za-z0-9_-]+)/g)].map(
    ({ groups }) => groups?.['double'] ?? groups?.['single'] ?? groups?.['bare'] ?? '',
  );
}
