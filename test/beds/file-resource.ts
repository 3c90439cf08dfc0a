/** Resources as the plan makes them, for tests of drivers. */
import { statSync, writeFileSync } from 'node:fs';
import { inodeOf } from '../../src/system/inode.js';
import type { Resource } from '../../src/vocabulary.js';

/** The resource of a file, which is made if it is missing. */
export function fileResource(path: string): Resource {
  writeFileSync(path, '', { flag: 'a' });
  const inode = inodeOf(statSync(path, { bigint: true }));
  return {
    kind: 'disk',
    identity: `file:test:${inode.dev}:${inode.ino}`,
    label: path,
    storage: 'file',
    scope: 'host',
    path,
    realPath: path,
    inode,
  };
}

/** A resource that is only a name. */
export function namedResource(identity: string): Resource {
  return { kind: 'domain', identity, label: identity, storage: 'name', scope: 'cluster' };
}
