/** A part of an identity that was free text: the separator in it is written otherwise. */
export function escaped(text: string): string {
  return text.replace(/[%:]/g, (c) => (c === '%' ? '%25' : '%3A'));
}
