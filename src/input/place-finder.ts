import type { Place } from '../vocabulary.js';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/**
 * Gives lines and columns (both from 1, columns in characters) for offsets into a text.
 * The offsets of one document come in rising order, so the text is walked once in all: counting each line
 * from its start would be quadratic in a document that is one long line. An offset further back starts over.
 */
export function placeFinder(text: string, file: string): (offset: number) => Place {
  let scanned = 0;
  let line = 1;
  let lineStart = 0;
  let secondHalves = 0;
  return (given) => {
    // A line ends with \r\n as one: what points at its second half means the first.
    const inLineEnd = text.charCodeAt(given) === lineFeed && text.charCodeAt(given - 1) === carriageReturn;
    const offset = inLineEnd ? given - 1 : given;
    if (offset < scanned) {
      scanned = lineStart = secondHalves = 0;
      line = 1;
    }
    const end = Math.min(offset, text.length);
    for (; scanned < end; scanned += 1) {
      const code = text.charCodeAt(scanned);
      if (code === lineFeed || (code === carriageReturn && text.charCodeAt(scanned + 1) !== lineFeed)) {
        line += 1;
        lineStart = scanned + 1;
        secondHalves = 0;
      } else if (code >= 0xdc00 && code <= 0xdfff) {
        secondHalves += 1;
      }
    }
    return { file, line, column: end - lineStart - secondHalves + 1 };
  };
}
