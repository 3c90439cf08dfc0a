/**
 * A path, or a word that begins with one, for whoever is in another folder. Not tidied beyond its beginning: `..` behind a
 * symlink leads where the kernel goes.
 */
export function inCurrentFolder(word: string): string {
  if (word.startsWith('/')) return word;
  const folder = process.cwd();
  return `${folder === '/' ? '' : folder}/${word.replace(/^(?:\.\/+)+/, '') || '.'}`;
}
