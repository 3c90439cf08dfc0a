/** Manual pages in man(7), out of plain text. */

/** A line of text: no word of it is taken for a request, and each hyphen is one that can be copied. */
export function escaped(text) {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replaceAll(/^\./gm, '\\&.');
}

export const bold = (text) => `\\fB${escaped(text)}\\fR`;
export const italic = (text) => `\\fI${escaped(text)}\\fR`;

/** What stands between backquotes is bold. */
export function prose(text) {
  return text
    .split('`')
    .map((part, index) => (index % 2 === 1 ? bold(part) : escaped(part)))
    .join('');
}

/** `--disk=PATH[:MODE]`: what is typed is bold, what stands for something is italic. */
export function spelled(text) {
  return text
    .split(/(\b[A-Z][A-Z|]+\b)/)
    .filter((part) => part !== '')
    .map((part, index, all) => (/^[A-Z][A-Z|]+$/.test(part) && all.length > 1 ? italic(part) : bold(part)))
    .join('');
}

export const heading = (name) => `.SH ${name.toUpperCase()}\n`;
export const subheading = (name) => `.SS ${name}\n`;
export const paragraph = (text) => `.PP\n${prose(text)}\n`;
/** `head` is escaped already. */
export const item = (head, text) => `.TP\n${head}\n${prose(text)}\n`;
export const example = (says, line) => `.PP\n${prose(says)}\n.PP\n.RS 4\n.nf\n${escaped(line)}\n.fi\n.RE\n`;

/** The first lines of a page. `date`: as 2026-01-31. */
export function title(name, section, date, source, summary) {
  return `.TH ${name.toUpperCase()} ${section} ${date} "${source}"\n.SH NAME\n${escaped(name)} \\- ${prose(summary)}\n`;
}

const columns = 78;

/** Lines that every reader of man(7) takes: short ones, none that begins as a request does, no paragraph behind a heading. */
export function page(...parts) {
  let filled = true;
  return parts
    .join('')
    .replaceAll(/^(\.S[HS] .*\n)\.PP\n/gm, '$1')
    .split('\n')
    .flatMap((line) => {
      if (line === '.nf' || line === '.fi') filled = line === '.fi';
      return line.startsWith('.') || !filled ? [line] : wrapped(line);
    })
    .join('\n');
}

function wrapped(line) {
  const [first = '', ...words] = line.split(' ');
  const lines = [first];
  for (const word of words) {
    const longer = `${lines.at(-1)} ${word}`;
    if (longer.length <= columns) lines[lines.length - 1] = longer;
    else lines.push(word.replace(/^\./, '\\&.'));
  }
  return lines;
}
