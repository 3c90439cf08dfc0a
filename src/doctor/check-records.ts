/** The runtime directory: whose it is, and what dead holds have left in it. */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { causeText, isHoldfastError } from '../errors.js';
import { findDeadRecords } from '../manager/hold-record.js';
import { privateDirectory } from '../system/runtime-directory.js';
import { finding, type Finding } from './finding.js';
import type { Host } from './host.js';

/** More paths would say nothing more. */
const shownMax = 10;

export function checkRecords({ runtimeDirectory: directory }: Pick<Host, 'runtimeDirectory'>): Finding[] {
  if (lstatSync(directory, { throwIfNoEntry: false }) === undefined) {
    const what = 'the runtime directory is not there yet';
    return [finding('runtime-directory-safe', { subject: directory, what })];
  }
  try {
    // It is there, so nothing is made.
    privateDirectory(directory);
  } catch (error) {
    if (!isHoldfastError(error, 'NOT_PERMITTED')) throw error;
    return [
      finding('runtime-directory-unsafe', {
        subject: directory,
        what: error.message,
        evidence: evidenceOf(directory),
      }),
    ];
  }
  return [
    finding('runtime-directory-safe', {
      subject: directory,
      what: 'the runtime directory is yours alone',
      evidence: evidenceOf(directory),
    }),
    lookForDead(join(directory, 'holds')),
  ];
}

function evidenceOf(directory: string): string[] {
  try {
    const { uid, mode } = lstatSync(directory);
    return [`owner ${uid}, mode ${(mode & 0o7777).toString(8).padStart(4, '0')}`];
  } catch (error) {
    return [causeText(error)];
  }
}

function lookForDead(holds: string): Finding {
  const dead = findDeadRecords(holds);
  if (dead.length === 0) return finding('records-alive', { what: 'no hold has left a record behind' });
  const what =
    dead.length === 1
      ? 'one hold that ended left its record'
      : `${dead.length} holds that ended left records`;
  return finding('dead-records', { subject: holds, what, evidence: dead.slice(0, shownMax) });
}
