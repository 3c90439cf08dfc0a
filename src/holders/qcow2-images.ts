/**
 * The images that a QEMU was told are qcow2: qemu(1), `-drive` and `-blockdev`; qemu-img(1) and qemu-nbd(8), `-f`. Only
 * where the command line says so, for a guest can write that header into any raw disk.
 */

/** Deeper than filter on filter on format nobody goes. */
const depthMax = 8;

/** Paths as written; those that are no file of this host are left out. */
export function qcow2Images(argv: readonly string[]): string[] {
  const nodes: Options[] = [];
  const paths: string[] = [];
  for (const [index, argument] of argv.entries()) {
    const [, name, own] = /^--?(drive|blockdev|f|format)(?:=(.*))?$/s.exec(argument) ?? [];
    const value = own ?? argv[index + 1];
    if (index === 0 || name === undefined || value === undefined) continue;
    if (name === 'blockdev') nodes.push(readOptions(value));
    else if (name === 'drive') paths.push(...drivePath(readOptions(value)));
    // The tools take their image as a word of its own; which word that is, what they have open tells.
    else if (value === 'qcow2') paths.push(...argv.slice(1).filter((word) => !word.startsWith('-')));
  }
  const byName = new Map(nodes.map((node) => [node['node-name'], node]));
  for (const node of nodes) {
    if (node['driver'] === 'qcow2') paths.push(...nodePath(node['file'], byName));
  }
  return [...new Set(paths.map(plainPath).filter((path) => path !== undefined))];
}

type Options = Readonly<Record<string, unknown>>;

function drivePath({ file, format, driver }: Options): string[] {
  if ((format ?? driver) !== 'qcow2') return [];
  return typeof file === 'string' ? [file] : nodePath(file, new Map());
}

/** Down from a format to the file: by the names of nodes, or in place. */
function nodePath(start: unknown, byName: ReadonlyMap<unknown, Options>): string[] {
  let node = start;
  for (let depth = 0; depth < depthMax; depth++) {
    const options = typeof node === 'string' ? byName.get(node) : record(node);
    if (options === undefined) return [];
    const { filename } = options;
    if (typeof filename === 'string') return [filename];
    node = options['file'];
  }
  return [];
}

function plainPath(path: string): string | undefined {
  if (path.startsWith('file:')) return path.slice('file:'.length);
  // `nbd:...`, `json:{...}`, and descriptors that were handed over.
  return path === '' || /^[a-z][a-z0-9+.-]*:/.test(path) || path.startsWith('/dev/fdset/') ? undefined : path;
}

/** JSON, or `a=b,c.d=e`; a comma within a value is written twice. */
function readOptions(text: string): Options {
  const options: Record<string, unknown> = emptyRecord();
  if (text.trimStart().startsWith('{')) {
    try {
      return nested(Object.entries(record(JSON.parse(text)) ?? {}));
    } catch {
      return options; // A process chooses its own arguments.
    }
  }
  const parts = text.replaceAll(',,', '\0').split(',');
  return nested(
    parts.map((part): [string, string] => {
      const [key = '', ...value] = part.replaceAll('\0', ',').split('=');
      return [key, value.join('=')];
    }),
  );
}

/** `file.filename` and `filename` in `file` are the same to QEMU. */
function nested(entries: readonly (readonly [string, unknown])[]): Options {
  const root = emptyRecord();
  for (const [key, value] of entries) {
    const steps = key.split('.').slice(0, depthMax);
    const last = steps.pop() ?? '';
    let place = root;
    for (const step of steps) {
      const next = record(place[step]) ?? emptyRecord();
      place[step] = next;
      place = next;
    }
    place[last] = value;
  }
  return root;
}

function emptyRecord(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>;
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}
