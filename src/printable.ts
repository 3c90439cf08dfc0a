/**
 * Text for people out of what others chose: file names, names of programs and guests, headers of images.
 * Nothing in it moves a terminal's cursor, breaks a line or turns the direction of what follows.
 */
export function printable(text: string): string {
  // Nearly always; the classes of Unicode take half a millisecond to compile.
  if (/^[ -~]*$/.test(text)) return text;
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  );
}
