/**
 * Who may open an image beside whom: what QEMU itself decides, and what `plan` and `run` decide. The table of
 * docs/guides/qemu-locks.md is what is measured here with real QEMUs. Holdfast may be stricter, never laxer.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { call, commandFolder, endLeftProcesses, holdfast, start, type Running } from '../beds/command.js';
import { lockedBytes } from '../beds/observed-lock.js';
import { end, qcow2Disk, qemuCommand, startQemu, untilUp, type QemuDrive } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
afterEach(endLeftProcesses);

type Format = QemuDrive['format'];
type Opens = (path: string, format: Format) => Promise<Running>;

const document = readFileSync(
  fileURLToPath(new URL('../../docs/guides/qemu-locks.md', import.meta.url)),
  'utf8',
);

const qemu =
  (kind: Omit<QemuDrive, 'path' | 'format'>): Opens =>
  (path, format) =>
    startQemu('first', { path, format, ...kind });

/** Slow enough to be there until it is ended; it is up when it has its lock. */
const copyUnderWay: Opens = async (path, format) => {
  const convert = ['convert', '-U', '-r', '1k', '-f', format, '-O', 'raw', path, `${path}.copy`];
  const running = start('qemu-img', convert);
  await until(
    () => lockedBytes(path).includes(100),
    () => `qemu-img to open it: ${running.stderr}`,
  );
  return running;
};

const overlayWriter: Opens = (path, format) =>
  startQemu('first', { path: qcow2Disk(`${path}.overlay`, { path, format }), format: 'qcow2' });

/** A use of an image: QEMU's drive, the option of `qemu-img convert` that reads it so, and the mode that stands for it. */
interface Use {
  readonly name: string;
  readonly kind: Omit<QemuDrive, 'path' | 'format'>;
  readonly convert?: readonly string[];
  readonly mode: string;
}

/** In the order of the table's columns. A qcow2 reader needs its metadata to hold still, whatever its device shares. */
const usesOf = (format: Format): readonly Use[] => [
  { name: 'writer', kind: {}, mode: 'exclusive' },
  { name: 'writer, `share-rw=on`', kind: { shareRw: true }, mode: 'shared' },
  { name: 'reader', kind: { readonly: true }, convert: [], mode: 'read' },
  {
    name: 'reader, `share-rw=on`',
    kind: { readonly: true, shareRw: true },
    mode: format === 'raw' ? 'peek' : 'read',
  },
  { name: 'reader, `-U`', kind: { readonly: true, forceShare: true }, convert: ['-U'], mode: 'peek' },
];

const yesNo = (yes: boolean): string => (yes ? 'yes' : 'no');

/** Both refuse for the lock, and for nothing else. */
const lockMessage = /Failed to get .*lock[\s\S]*Is another process using the image/;

async function qemuStarts(drive: QemuDrive): Promise<boolean> {
  const [program, ...args] = qemuCommand('second', drive);
  const second = start(program, args);
  const up = await untilUp(second).then(
    () => true,
    () => false,
  );
  if (!up) assert.match((await second.ended).stderr, lockMessage);
  await end(second);
  return up;
}

async function qemuImgStarts(options: readonly string[], path: string, format: Format): Promise<boolean> {
  const convert = ['convert', ...options, '-f', format, '-O', 'raw', path, `${path}.second`];
  const { status, stderr } = await start('qemu-img', convert).ended;
  if (status !== 0) assert.match(stderr, lockMessage);
  return status === 0;
}

/** What QEMU itself says to the second one. */
async function qemuDecides({ kind, convert }: Use, path: string, format: Format): Promise<boolean> {
  const starts = await qemuStarts({ path, format, ...kind });
  if (convert !== undefined) assert.equal(await qemuImgStarts(convert, path, format), starts, 'qemu-img');
  return starts;
}

/** What `plan` and `run` say, with QEMU's locks tested and taken: all of them the same. */
async function holdfastDecides(mode: string, path: string): Promise<boolean> {
  const disk = ['--disk', `${path}:${mode}`];
  const planned = await call(['plan', ...disk]);
  const decided = planned.status === 0;
  assert.deepEqual([planned.status, decided], [decided ? 0 : 75, decided], planned.stdout + planned.stderr);
  for (const qemuLock of ['check', 'hold']) {
    const { status, stdout } = await call([
      ...['run', '-q', '--qemu-lock', qemuLock, ...disk],
      ...['--', 'echo', 'ran'],
    ]);
    assert.deepEqual([status, stdout], decided ? [0, 'ran\n'] : [75, ''], `${mode}, ${qemuLock}`);
  }
  return decided;
}

/** One row: the second ones in order. */
async function outcomes(path: string, format: Format): Promise<string[]> {
  const byMode = new Map<string, boolean>();
  const row: string[] = [];
  for (const use of usesOf(format)) {
    const fromQemu = await qemuDecides(use, path, format);
    const fromHoldfast = byMode.get(use.mode) ?? (await holdfastDecides(use.mode, path));
    byMode.set(use.mode, fromHoldfast);
    assert.ok(fromQemu || !fromHoldfast, `laxer than QEMU: ${use.name}`);
    row.push(yesNo(fromQemu) + (fromQemu === fromHoldfast ? '' : ' (Holdfast: no)'));
  }
  return row;
}

/** The rows of the document's table whose first column has this head, by their name. */
function documentedTable(head: string): Map<string, string[]> {
  const lines = document.split('\n');
  const begin = lines.findIndex((line) => line.startsWith(`| ${head}`));
  assert.notEqual(begin, -1, head);
  const after = lines.slice(begin);
  const length = after.findIndex((line) => !line.startsWith('|'));
  const rows = after.slice(0, length).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  return new Map(rows.map(([name = '', ...cells]) => [name, cells]));
}

/** With data, and larger than what one burst of a throttled copy takes: the copy has to be there for a while. */
const diskBytes = 16 << 20;

function disk(name: string, format: Format): string {
  const path = join(folder, name);
  const data = format === 'raw' ? path : `${path}.data`;
  writeFileSync(data, randomFillSync(Buffer.alloc(diskBytes)));
  if (format === 'qcow2') execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', data, path]);
  return path;
}

/** Who has it open first, by the name of the table's row. */
const firstsOf = (format: Format): ReadonlyMap<string, Opens> =>
  new Map<string, Opens>([
    ...usesOf(format).map(({ name, kind }): [string, Opens] => [name, qemu(kind)]),
    ['`qemu-img convert -U`, under way', copyUnderWay],
    ...(format === 'qcow2' ? [['writer of an overlay of it', overlayWriter] as const] : []),
  ]);

describe("QEMU's decisions and Holdfast's", { skip: lacks('qemu', 'qemu-img') }, () => {
  for (const format of ['raw', 'qcow2'] as const) {
    const table = documentedTable(`first, ${format}`);

    test(`the table of ${format} has these rows and columns`, () => {
      const columns = usesOf(format).map(({ name, mode }) => `${name}: \`${mode}\``);
      assert.deepEqual(table.get(`first, ${format}`), columns);
      const rows = [...table.keys()].slice(2);
      assert.deepEqual(rows, [...firstsOf(format).keys()]);
    });

    for (const [name, opens] of firstsOf(format)) {
      test(`${format}, first: ${name}`, async () => {
        const path = disk(`${format} ${name.replaceAll(/\W/g, '')}`, format);
        const first = await opens(path, format);
        assert.deepEqual(await outcomes(path, format), table.get(name));
        assert.notDeepEqual(lockedBytes(path), [], 'it was there all the time');
        await end(first);
        assert.deepEqual(lockedBytes(path), []);
      });
    }
  }
});

describe('a QEMU that comes after `run`', { skip: lacks('qemu', 'qemu-img') }, () => {
  const table = documentedTable('`run`');
  const documented = new Set<string>();

  for (const format of ['raw', 'qcow2'] as const) {
    for (const qemuLock of ['check', 'hold']) {
      for (const mode of ['exclusive', 'shared', 'read']) {
        const name = `${format}, \`--qemu-lock=${qemuLock}\`, ${qemuLock === 'check' ? 'any mode' : `\`${mode}\``}`;
        documented.add(name);
        test(`${format}, --qemu-lock=${qemuLock} --disk F:${mode}`, async () => {
          const path = disk(`${format}-${qemuLock}-${mode}`, format);
          const command = ['sh', '-c', 'echo started; exec sleep 1000'];
          const first = start(holdfast, [
            ...['run', '--qemu-lock', qemuLock, '--disk', `${path}:${mode}`],
            ...['--', ...command],
          ]);
          await first.says('started');
          const row: string[] = [];
          for (const use of usesOf(format)) row.push(yesNo(await qemuDecides(use, path, format)));
          assert.deepEqual(row, table.get(name));
          await end(first);
        });
      }
    }
  }

  test('the table has these rows and columns', () => {
    assert.deepEqual(
      table.get('`run`'),
      usesOf('raw').map(({ name }) => name),
    );
    assert.deepEqual([...table.keys()].slice(2), [...documented]);
  });
});
