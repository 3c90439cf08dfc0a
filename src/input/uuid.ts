/**
 * An uuid as 36 lower-case characters with dashes, or undefined if it is none.
 * As libvirt does: space around it is no matter, and dashes may stand between any two bytes or nowhere.
 */
export function normaliseUuid(text: string): string | undefined {
  const trimmed = text.trim().toLowerCase();
  if (!/^(?:[0-9a-f]{2}-*){15}[0-9a-f]{2}$/.test(trimmed)) return undefined;
  const digits = trimmed.replaceAll('-', '');
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    digits.slice(12, 16),
    digits.slice(16, 20),
    digits.slice(20),
  ].join('-');
}
