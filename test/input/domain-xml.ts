/** What the tests of this folder write domains with. */
import assert from 'node:assert/strict';
import { isHoldfastError, type HoldfastError } from '../../src/errors.js';
import { readDomainXml } from '../../src/input/read-input.js';
import type { DiskDescription, ErrorCode } from '../../src/vocabulary.js';

/** A domain of one line up to its devices, which start in line 2, column 1. */
export function domainWith(devices: string, before = ''): string {
  return `<domain><name>g</name>${before}<devices>\n${devices}\n</devices></domain>`;
}

/** The only disk that the devices make. */
export function oneDisk(devices: string, before = ''): DiskDescription {
  const { disks } = readDomainXml(domainWith(devices, before), { file: 'g.xml' });
  assert.equal(disks.length, 1, JSON.stringify(disks));
  const [disk] = disks;
  assert.ok(disk);
  return disk;
}

/** What a function throws, which has to be an error of this code and, with `at`, of this place: `line:column`. */
export function thrown(code: ErrorCode, run: () => unknown, at?: string): HoldfastError {
  try {
    run();
  } catch (error) {
    return checked(error, code, at);
  }
  return assert.fail(`nothing was thrown, expected ${code}`);
}

export async function rejected(
  code: ErrorCode,
  promise: Promise<unknown>,
  at?: string,
): Promise<HoldfastError> {
  try {
    await promise;
  } catch (error) {
    return checked(error, code, at);
  }
  return assert.fail(`nothing was thrown, expected ${code}`);
}

function checked(error: unknown, code: ErrorCode, at: string | undefined): HoldfastError {
  if (!isHoldfastError(error)) throw error;
  assert.equal(error.code, code, error.message);
  if (at !== undefined) {
    const { file, line, column } = error.place ?? assert.fail(`no place: ${error.message}`);
    assert.equal(`${line}:${column}`, at, error.message);
    assert.ok(error.message.startsWith(`${file}:${at}: `), error.message);
  }
  return error;
}
