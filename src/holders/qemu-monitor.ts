/** Where a QEMU listens for QMP, from its command line: qemu(1), `-qmp`, `-mon` and `-chardev`. */

/**
 * The path of the first unix socket on which it speaks QMP, as written; undefined: there is none, or it is somebody else's to
 * connect to (a socket that was handed to it, as libvirt does).
 */
export function qmpSocket(argv: readonly string[]): string | undefined {
  const chardevs = new Map<string, string>();
  const monitors: string[] = [];
  for (const [index, argument] of argv.entries()) {
    const value = argv[index + 1];
    if (value === undefined) continue;
    switch (argument.replace(/^--?/, '')) {
      case 'qmp':
      case 'qmp-pretty': {
        const path = /^unix:(?<path>.*)$/.exec(firstPart(value))?.groups?.['path'];
        if (path !== undefined && listens(value)) return path;
        if (value.startsWith('chardev:')) monitors.push(value.slice('chardev:'.length));
        break;
      }
      case 'mon': {
        const { mode, chardev, '': first } = optionsOf(value);
        const id = chardev ?? first;
        if (mode === 'control' && id !== undefined) monitors.push(id);
        break;
      }
      case 'chardev': {
        const { '': kind, id, path } = optionsOf(value);
        if (kind === 'socket' && id !== undefined && path !== undefined && listens(value))
          chardevs.set(id, path);
        break;
      }
    }
  }
  return monitors.map((id) => chardevs.get(id)).find((path) => path !== undefined);
}

function listens(value: string): boolean {
  const { server } = optionsOf(value);
  return server !== undefined && server !== 'off';
}

/** `KIND,key=value,flag`: a comma within a value is written twice. The part without a key stands under `''`. */
function optionsOf(value: string): Readonly<Record<string, string | undefined>> {
  const options: Record<string, string> = {};
  for (const [index, part] of partsOf(value).entries()) {
    const at = part.indexOf('=');
    if (at !== -1) options[part.slice(0, at)] = part.slice(at + 1);
    else if (index === 0) options[''] = part;
    else options[part] = 'on';
  }
  return options;
}

function firstPart(value: string): string {
  return partsOf(value)[0] ?? '';
}

function partsOf(value: string): readonly string[] {
  return value
    .replaceAll(',,', '\0')
    .split(',')
    .map((part) => part.replaceAll('\0', ','));
}
