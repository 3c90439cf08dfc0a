/** A folder of the test's own, removed after it; Holdfast's runtime directory can be put into it. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

/** Makes a folder that is removed when the tests of the file are over. */
export function privateFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'holdfast-test-')));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * The same, and this process and what it starts use it as their runtime directory. HOLDFAST_TEST says whose they are, also where
 * a test gives one of them another runtime directory.
 */
export function privateRuntime(): string {
  const folder = privateFolder();
  process.env['HOLDFAST_RUNTIME_DIR'] = join(folder, 'run');
  process.env['HOLDFAST_TEST'] = process.env['HOLDFAST_RUNTIME_DIR'];
  return folder;
}
