/**
 * The images on the command line of a QEMU, and how it was told to lock them: qemu(1), `-drive` and `-blockdev`;
 * their options are those of the QMP type BlockdevOptionsFile (`filename`, `locking`).
 */

export interface GuestDrive {
  /** As written; may be relative to the process's folder. */
  readonly path: string;
  /** What `locking` says; `auto` is QEMU's default. */
  readonly locking: 'on' | 'off' | 'auto';
  readonly readonly: boolean;
}

/** The images of `-drive`, `-blockdev` and the short options (`-hda`, `-cdrom`, ...). */
export function drivesOf(argv: readonly string[]): GuestDrive[] {
  return argv.flatMap((argument, index) => {
    const option = /^--?([a-z]+[a-z0-9-]*)(?:=(.*))?$/s.exec(argument);
    const value = option?.[2] ?? argv[index + 1];
    if (index === 0 || option === null || value === undefined) return [];
    switch (option[1]) {
      case 'drive':
        return driveOf(keyValues(value));
      case 'blockdev':
        return driveOf(value.trimStart().startsWith('{') ? flatten(parseJson(value)) : keyValues(value));
      case 'hda':
      case 'hdb':
      case 'hdc':
      case 'hdd':
      case 'pflash':
      case 'sd':
      case 'mtdblock':
        return fileDrive(value, new Map());
      case 'cdrom':
        return fileDrive(value, new Map([['readonly', 'on']]));
      default:
        return [];
    }
  });
}

type Options = ReadonlyMap<string, string>;

function driveOf(options: Options): GuestDrive[] {
  const name = valueAt(options, 'filename') ?? options.get('file');
  return name === undefined ? [] : fileDrive(name, options);
}

function fileDrive(name: string, options: Options): GuestDrive[] {
  // A file name of its own kind: all its options as JSON.
  if (name.startsWith('json:')) {
    const inner = flatten(parseJson(name.slice('json:'.length)));
    return driveOf(new Map([...options].filter(([key]) => key !== 'file').concat([...inner])));
  }
  const path = name.startsWith('file:') ? name.slice('file:'.length) : name;
  // Servers (nbd:, rbd:, http://) have no file here; `/dev/fdset` is a descriptor that was handed over.
  if (path === '' || (path === name && /^[a-z][a-z0-9+.-]*:/.test(path)) || path.startsWith('/dev/fdset/')) {
    return [];
  }
  const locking = valueAt(options, 'locking');
  // With a snapshot of its own the image is only read.
  const readonly = ['readonly', 'read-only', 'snapshot'].some((key) => isOn(valueAt(options, key)));
  return [
    {
      path,
      locking: locking === 'on' || locking === 'off' ? locking : 'auto',
      readonly: readonly || options.get('media') === 'cdrom',
    },
  ];
}

function isOn(value: string | undefined): boolean {
  return value === 'on' || value === 'true' || value === 'yes';
}

/**
 * The value of an option at whatever depth of layers it stands: `locking`, `file.locking`, `file.file.locking`. What is
 * below an image (`backing.file.locking`) is another one, and only read.
 */
function valueAt(options: Options, name: string): string | undefined {
  return [...options].find(([key]) => key.replace(/^(?:file\.)+/, '') === name)?.[1];
}

/** `a=b,c.d=e`; a comma within a value is written twice, and a key without a value is on. */
function keyValues(text: string): Map<string, string> {
  const parts = text.replaceAll(',,', '\0').split(',');
  return new Map(
    parts.map((part): [string, string] => {
      const whole = part.replaceAll('\0', ',');
      const equals = whole.indexOf('=');
      return equals === -1 ? [whole, 'on'] : [whole.slice(0, equals), whole.slice(equals + 1)];
    }),
  );
}

/** Layers deeper than this no image has. */
const depthMax = 16;

function flatten(value: unknown, prefix = '', depth = 0): Map<string, string> {
  const found = new Map<string, string>();
  if (typeof value !== 'object' || value === null || Array.isArray(value) || depth > depthMax) return found;
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'object') {
      for (const [path, text] of flatten(inner, `${prefix}${key}.`, depth + 1)) found.set(path, text);
    } else {
      found.set(prefix + key, String(inner));
    }
  }
  return found;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // A process chooses its own arguments.
  }
}
