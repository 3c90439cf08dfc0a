/** Names as /proc has them: whatever bytes a program chose. */
import { isUtf8 } from 'node:buffer';

/**
 * A name for people. A byte that is no UTF-8 is shown as `\xff`: with U+FFFD many names would look like one. Nothing is
 * ever opened by such a text, so that a backslash of the name itself stays as it is does no harm.
 */
export function nameText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const length = characterLength(bytes, at);
    text +=
      length === 0 ? `\\x${bytes.toString('hex', at, at + 1)}` : bytes.toString('utf8', at, at + length);
    at += Math.max(1, length);
  }
  return text;
}

/** Bytes of the character at an offset, 1 to 4; 0: there is none. */
function characterLength(bytes: Buffer, at: number): number {
  return [1, 2, 3, 4].find((length) => isUtf8(bytes.subarray(at, at + length))) ?? 0;
}
