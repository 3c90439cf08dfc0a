/** Where the name of a backing file leads: to a path of this host, or to what cannot be followed. */
import { printable } from './look-at-path.js';

export type BackingName =
  | {
      readonly kind: 'path';
      readonly path: string;
      readonly format?: string;
      readonly note?: string;
      /** QEMU opens it relative to where it is started, and that is taken to be here. */
      readonly fromHere?: true;
    }
  | { readonly kind: 'elsewhere'; readonly name: string; readonly why: string };

/** Drivers of QEMU that open a path of this host. */
const pathDrivers: ReadonlySet<string> = new Set(['file', 'host_device', 'host_cdrom']);
/** Drivers of QEMU that pass through what is below them and are no format. */
const filterDrivers: ReadonlySet<string> = new Set(
  'throttle copy-on-read copy-before-write blkdebug blkverify blklogwrites blkreplay preallocate compress'.split(
    ' ',
  ),
);
/** A format in a filter in a filter...: QEMU's own tools write two levels. */
const jsonDepthMax = 8;

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** `{"file.filename": "/x"}` and `{"file": {"filename": "/x"}}` are the same to QEMU. */
function nested(options: Record<string, unknown>): Record<string, unknown> {
  const root: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, value] of Object.entries(options)) {
    const dot = key.indexOf('.');
    if (dot === -1) {
      root[key] = value;
      continue;
    }
    const head = key.slice(0, dot);
    root[head] = Object.assign(Object.create(null), record(root[head]), { [key.slice(dot + 1)]: value });
  }
  return root;
}

/**
 * What QEMU opens for a name behind `file:` or in JSON: unlike a plain name, it does not start from the overlay's folder,
 * but from where QEMU is started (seen with QEMU 7.2).
 */
function openedPath(name: string): { path: string; fromHere?: true } | undefined {
  if (name === '') return undefined;
  return name.startsWith('/') ? { path: name } : { path: `${process.cwd()}/${name}`, fromHere: true };
}

function readJson(name: string, headerFormat: string | undefined): BackingName {
  const elsewhere = (why: string): BackingName => ({ kind: 'elsewhere', name: printable(name), why });
  let parsed: unknown;
  try {
    parsed = JSON.parse(name.slice('json:'.length));
  } catch {
    return elsewhere('the name is not the JSON that it says it is');
  }
  let options = record(parsed);
  let format: string | undefined;
  let note: string | undefined;
  for (let depth = 0; depth < jsonDepthMax && options !== undefined; depth++) {
    const level = nested(options);
    const driver = typeof level['driver'] === 'string' ? level['driver'] : undefined;
    const { filename } = level;
    if (typeof filename === 'string' && (driver === undefined || pathDrivers.has(driver))) {
      const path = openedPath(filename);
      if (path === undefined) return elsewhere('it has no name');
      const found = format ?? headerFormat;
      return {
        kind: 'path',
        ...path,
        ...(found === undefined ? {} : { format: found }),
        ...(note === undefined ? {} : { note }),
      };
    }
    if (driver !== undefined && !filterDrivers.has(driver)) format ??= driver;
    if (level['backing'] !== undefined && level['backing'] !== null) {
      note = 'its name says what is below it in JSON, which is not followed: what its header says is planned';
    }
    options = record(level['file']);
  }
  return elsewhere('it leads to no file of this host');
}

/**
 * What a backing name, or a data file's name, in the header of the image at `overlayPath` means. Relative names
 * start from the folder of the image's path as written (QEMU resolves no symlink there, and no `..`).
 */
export function readBackingName(name: string, overlayPath: string, headerFormat?: string): BackingName {
  const elsewhere = (why: string): BackingName => ({ kind: 'elsewhere', name: printable(name), why });
  if (name.includes('\u{fffd}')) return elsewhere('its name is not UTF-8');
  if (name.startsWith('json:')) return readJson(name, headerFormat);
  const format = headerFormat === undefined ? {} : { format: headerFormat };
  const prefix = /^([^/:]*):(.*)$/s.exec(name);
  if (prefix !== null) {
    const [, protocol = '', rest = ''] = prefix;
    const path = /^\/\/(?:localhost)?(\/.*)$/s.exec(rest)?.[1] ?? rest;
    if (!pathDrivers.has(protocol))
      return elsewhere(`it is reached by ${printable(protocol)}, not as a file`);
    const opened = openedPath(path);
    return opened === undefined ? elsewhere('it has no name') : { kind: 'path', ...opened, ...format };
  }
  if (name.startsWith('/')) return { kind: 'path', path: name, ...format };
  return {
    kind: 'path',
    path: `${overlayPath.slice(0, overlayPath.lastIndexOf('/') + 1)}${name}`,
    ...format,
  };
}
