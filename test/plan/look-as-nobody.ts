/** Run by a test as root: looks at a path, then again as an ordinary user; prints what came of both. */
import { writeSync } from 'node:fs';
import { isHoldfastError } from '../../src/errors.js';
import { lookAtPath } from '../../src/plan/look-at-path.js';

const nobody = 65534;
const path = process.argv[2] ?? '';

function outcome(): string {
  try {
    return lookAtPath(path, 'disk').storage;
  } catch (error) {
    return isHoldfastError(error) ? error.code : String(error);
  }
}

const root = outcome();
process.setgroups?.([]);
process.setgid?.(nobody);
process.setuid?.(nobody);
writeSync(1, JSON.stringify([root, outcome()]));
