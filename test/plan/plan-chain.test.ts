import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '../../src/errors.js';
import { makePlan } from '../../src/plan/make-plan.js';
import { chainLayersMax } from '../../src/plan/plan-chain.js';
import type { DiskDescription, ErrorCode } from '../../src/vocabulary.js';
import { needs } from '../needs.js';
import { argument, asked, disk, guest, itemOf, scratch } from './guest.js';
import { backingFormat, craftQcow2, dataFile } from './qcow2-image.js';

const qcow2 = (path: string, more: Partial<DiskDescription> = {}): DiskDescription =>
  disk(path, { format: 'qcow2', ...more });

/** An overlay on `name`, made by hand. */
function overlay(path: string, name: string, format?: string): void {
  const extensions = format === undefined ? [] : [{ type: backingFormat, data: Buffer.from(format) }];
  writeFileSync(path, craftQcow2({ name, extensions }));
}

function create(...args: string[]): void {
  execFileSync('qemu-img', ['create', '-q', ...args]);
}

async function fails(code: ErrorCode, disks: readonly DiskDescription[], text: RegExp): Promise<void> {
  await assert.rejects(makePlan(guest(disks)), (error) => {
    assert.ok(isHoldfastError(error, code), String(error));
    assert.match(error.message, text);
    return true;
  });
}

test('qcow2 on qcow2 on raw, as qemu-img writes it: bases are locked for reading', async (t) => {
  if (!needs(t, 'qemu-img')) return;
  const folder = scratch(t);
  const [base, middle, top] = ['base.raw', 'middle.qcow2', 'top.qcow2'].map((name) => join(folder, name));
  create('-f', 'raw', base ?? '', '1M');
  create('-f', 'qcow2', '-b', base ?? '', '-F', 'raw', middle ?? '');
  create('-f', 'qcow2', '-b', 'middle.qcow2', '-F', 'qcow2', top ?? '');
  const plan = await makePlan(guest([qcow2(top ?? '')]));
  assert.deepEqual(asked(plan), [`exclusive ${top}`, `read ${base}`, `read ${middle}`]);
  assert.equal(itemOf(plan, base ?? '').of, top);
  assert.equal(itemOf(plan, base ?? '').role, 'base');
  assert.deepEqual(plan.notes, []);
});

test('old qcow2 (compat 0.10) is read as well', async (t) => {
  if (!needs(t, 'qemu-img')) return;
  const folder = scratch(t);
  create('-f', 'raw', join(folder, 'b'), '1M');
  create('-f', 'qcow2', '-o', 'compat=0.10', '-b', 'b', '-F', 'raw', join(folder, 't'));
  assert.equal((await makePlan(guest([qcow2(join(folder, 't'))]))).requests.length, 2);
});

test('a relative name starts where the overlay was said to be, not where its link leads', async (t) => {
  const folder = scratch(t);
  mkdirSync(join(folder, 'images'));
  overlay(join(folder, 'images/top'), 'base', 'raw');
  writeFileSync(join(folder, 'base'), '');
  symlinkSync('images/top', join(folder, 'link'));
  assert.deepEqual(asked(await makePlan(guest([qcow2(join(folder, 'link'))]))), [
    `exclusive ${join(folder, 'link')}`,
    `read ${join(folder, 'base')}`,
  ]);
  await fails(
    'NO_SUCH_FILE',
    [qcow2(join(folder, 'images/top'))],
    /base \(the base of .*top\) does not exist/,
  );
});

test('json: names that lead to a file are followed, by the format that they say', async (t) => {
  if (!needs(t, 'qemu-img')) return;
  const folder = scratch(t);
  const [base, middle, top] = [join(folder, 'b'), join(folder, 'm'), join(folder, 't')];
  create('-f', 'raw', base, '1M');
  create('-f', 'qcow2', '-b', base, '-F', 'raw', middle);
  const name = JSON.stringify({ driver: 'qcow2', file: { driver: 'file', filename: middle } });
  create('-f', 'qcow2', '-F', 'qcow2', '-b', `json:${name}`, top);
  assert.deepEqual(asked(await makePlan(guest([qcow2(top)]))), [
    `exclusive ${top}`,
    `read ${base}`,
    `read ${middle}`,
  ]);
});

test('a base that is no file of this host is said in the plan', async (t) => {
  const top = join(scratch(t), 't');
  for (const name of ['nbd://h/export', 'json:{"driver":"nbd","host":"h"}']) {
    overlay(top, name, 'raw');
    const plan = await makePlan(guest([qcow2(top)]));
    assert.deepEqual(asked(plan), [`exclusive ${top}`]);
    assert.equal(itemOf(plan, name).verdict, 'skip');
    assert.match(itemOf(plan, name).reason ?? '', /not locked/);
  }
});

/** What QEMU opens for the base of an image, when it is started in a folder: the first bytes of it. */
function baseAsQemuReads(image: string, cwd: string): string {
  const text = execFileSync('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -v 0 512', image], {
    cwd,
    encoding: 'utf8',
  });
  return Buffer.from((/^00000000: +((?:[0-9a-f]{2} )+)/m.exec(text)?.[1] ?? '').replaceAll(' ', ''), 'hex')
    .toString()
    .replaceAll('\0', '');
}

test('a base that is named relative to where QEMU is started is the one that QEMU opens from here', async (t) => {
  if (!needs(t, 'qemu-img', 'qemu-io')) return;
  const folder = scratch(t);
  const [images, here] = [join(folder, 'images'), join(folder, 'here')];
  for (const one of [images, here]) {
    mkdirSync(one);
    writeFileSync(join(one, 'base'), `in ${basename(one)}`.padEnd(512, '\0'));
  }
  const before = process.cwd();
  t.after(() => process.chdir(before));
  for (const [name, from] of [
    ['base', images],
    ['file:base', here],
    ['json:{"driver":"raw","file":{"driver":"file","filename":"base"}}', here],
    ['json:{"file.filename":"base"}', here],
  ] as const) {
    const top = join(images, 'top.qcow2');
    create('-f', 'qcow2', '-u', '-b', name, '-F', 'raw', top, '512');
    assert.equal(baseAsQemuReads(top, here), `in ${basename(from)}`, name);
    process.chdir(here);
    const plan = await makePlan(guest([qcow2(top)]));
    assert.deepEqual(asked(plan), [`exclusive ${top}`, `read ${join(from, 'base')}`], name);
    const said = plan.notes.filter((note) => note.includes('where QEMU is started'));
    assert.equal(said.length, from === here ? 1 : 0, name);
    process.chdir(folder);
    const elsewhere = await makePlan(guest([qcow2(top)]));
    if (from === here) {
      assert.deepEqual(asked(elsewhere), [`exclusive ${top}`]);
      const skipped = elsewhere.items.find(({ role }) => role === 'base');
      assert.equal(skipped?.verdict, 'skip');
      assert.match(
        skipped.reason ?? '',
        /relative to where QEMU is started, and from here it leads to nothing/,
      );
    } else assert.deepEqual(asked(elsewhere), asked(plan));
  }
});

test('data that is named relative to where QEMU is started is locked from here, or refused', async (t) => {
  const folder = scratch(t);
  const top = join(folder, 'top.qcow2');
  writeFileSync(
    top,
    craftQcow2({ incompatible: 4n, extensions: [{ type: dataFile, data: Buffer.from('file:data') }] }),
  );
  const before = process.cwd();
  t.after(() => process.chdir(before));
  process.chdir(folder);
  const missing = await makePlan(guest([qcow2(top)]));
  assert.ok(missing.items.some(({ verdict, code }) => verdict === 'refuse' && code === 'CANNOT_LOCK'));
  writeFileSync(join(folder, 'data'), '');
  assert.deepEqual(asked(await makePlan(guest([qcow2(top)]))), [
    `exclusive ${join(folder, 'data')}`,
    `exclusive ${top}`,
  ]);
});

test('a format is never guessed', async (t) => {
  const folder = scratch(t);
  const [top, base] = [join(folder, 't'), join(folder, 'b')];
  writeFileSync(base, '');
  overlay(top, 'b', 'raw');
  for (const plain of [disk(top), disk(top, { format: 'raw' }), argument(top)]) {
    assert.deepEqual(asked(await makePlan(guest([plain]))), [`exclusive ${top}`]);
  }
});

test('a base whose format is not said counts as raw, and that is said', async (t) => {
  const folder = scratch(t);
  const [top, base] = [join(folder, 't'), join(folder, 'b')];
  overlay(top, 'b');
  overlay(base, '/etc/passwd', 'raw');
  const plan = await makePlan(guest([qcow2(top)]));
  assert.deepEqual(asked(plan), [`exclusive ${top}`, `read ${base}`]);
  assert.match(plan.notes.join(), /does not say the format of its base/);
});

test('an image that does not begin like qcow2 is locked, and said', async (t) => {
  const path = join(scratch(t), 'new');
  writeFileSync(path, '');
  const plan = await makePlan(guest([qcow2(path)]));
  assert.deepEqual(asked(plan), [`exclusive ${path}`]);
  assert.match(plan.notes.join(), /does not begin like one/);
});

test('a damaged header is refused', async (t) => {
  const path = join(scratch(t), 'bad');
  writeFileSync(path, craftQcow2({ nameOffset: 2n ** 63n, nameBytes: 9 }));
  await fails('BAD_DATA', [qcow2(path)], /header is damaged/);
});

test('a chain that is a circle is refused, also through a hard link', async (t) => {
  const folder = scratch(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  overlay(a, 'b', 'qcow2');
  overlay(b, 'c', 'qcow2');
  linkSync(a, join(folder, 'c'));
  await fails('BAD_DATA', [qcow2(a)], /is a circle/);
  overlay(join(folder, 'self'), 'self', 'qcow2');
  await fails('BAD_DATA', [qcow2(join(folder, 'self'))], /is a circle/);
});

test('a chain has a longest length', async (t) => {
  const folder = scratch(t);
  const path = (index: number): string => join(folder, `i${index}`);
  for (let index = 0; index < chainLayersMax; index++) overlay(path(index), `i${index + 1}`, 'qcow2');
  writeFileSync(path(chainLayersMax), craftQcow2());
  await fails('BAD_DATA', [qcow2(path(0))], /more than 200 images/);
  assert.equal((await makePlan(guest([qcow2(path(1))]))).requests.length, chainLayersMax);
});

test('a named pipe, a device or a socket as a base is never opened', async (t) => {
  const folder = scratch(t);
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  overlay(join(folder, 't'), 'pipe', 'qcow2');
  await fails('NOT_A_DISK', [qcow2(join(folder, 't'))], /pipe \(the base of/);
});

test('an external data file is locked as its image is', async (t) => {
  const folder = scratch(t);
  const [top, base, data] = [join(folder, 't'), join(folder, 'b'), join(folder, 'd')];
  const extensions = [{ type: dataFile, data: Buffer.from(data) }];
  writeFileSync(data, '');
  writeFileSync(base, craftQcow2({ incompatible: 4n, extensions }));
  overlay(top, 'b', 'qcow2');
  assert.deepEqual(asked(await makePlan(guest([qcow2(base)]))), [`exclusive ${base}`, `exclusive ${data}`]);
  assert.deepEqual(asked(await makePlan(guest([qcow2(top)]))), [
    `exclusive ${top}`,
    `read ${base}`,
    `read ${data}`,
  ]);
  const both = await makePlan(guest([qcow2(base), disk(data)]));
  assert.equal(both.items.filter(({ code }) => code === 'SAME_DISK_TWICE').length, 2);
  writeFileSync(
    base,
    craftQcow2({ incompatible: 4n, extensions: [{ type: dataFile, data: Buffer.from('gone') }] }),
  );
  await fails('NO_SUCH_FILE', [qcow2(base)], /holds the data of/);
  writeFileSync(
    base,
    craftQcow2({ incompatible: 4n, extensions: [{ type: dataFile, data: Buffer.from('d') }] }),
  );
  assert.deepEqual(asked(await makePlan(guest([qcow2(base)]))), [`exclusive ${base}`, `exclusive ${data}`]);
  writeFileSync(base, craftQcow2({ incompatible: 4n }));
  const unnamed = await makePlan(guest([qcow2(base)]));
  assert.match(
    unnamed.items.find(({ code }) => code === 'CANNOT_LOCK')?.reason ?? '',
    /another file that it does not name/,
  );
  const allowed = await makePlan(guest([qcow2(base)]), { allowUnlocked: true });
  assert.match(allowed.notes.join(), /NOT LOCKED: .*another file that it does not name/);
  const named = await makePlan(guest([{ ...qcow2(base), dataStore: disk(data) }]));
  assert.deepEqual(asked(named), [`exclusive ${base}`, `exclusive ${data}`]);
  const far = { type: dataFile, data: Buffer.from('nbd:host:10809') };
  writeFileSync(base, craftQcow2({ incompatible: 4n, extensions: [far] }));
  const elsewhere = await makePlan(guest([qcow2(base)]));
  assert.ok(elsewhere.items.some(({ verdict, code }) => verdict === 'refuse' && code === 'CANNOT_LOCK'));
});

test('a relative data file counts where QEMU would open it, and where libvirt would', async (t) => {
  const folder = scratch(t);
  const [images, here] = [join(folder, 'images'), join(folder, 'here')];
  mkdirSync(images);
  mkdirSync(here);
  const top = join(images, 'top');
  writeFileSync(
    top,
    craftQcow2({ incompatible: 4n, extensions: [{ type: dataFile, data: Buffer.from('d') }] }),
  );
  const before = process.cwd();
  t.after(() => process.chdir(before));
  process.chdir(here);
  const wanted: string[] = [];
  for (const data of [join(here, 'd'), join(images, 'd')]) {
    writeFileSync(data, '');
    wanted.push(`exclusive ${data}`);
    assert.deepEqual(asked(await makePlan(guest([qcow2(top)]))), [...wanted, `exclusive ${top}`].toSorted());
  }
});

test('a base of two disks is one request; a disk that is a base of another is refused', async (t) => {
  const folder = scratch(t);
  const [a, b, base] = [join(folder, 'a'), join(folder, 'b'), join(folder, 'base')];
  writeFileSync(base, '');
  overlay(a, 'base', 'raw');
  overlay(b, 'base', 'raw');
  assert.deepEqual(asked(await makePlan(guest([qcow2(a), qcow2(b)]))), [
    `exclusive ${a}`,
    `exclusive ${b}`,
    `read ${base}`,
  ]);
  const plan = await makePlan(guest([qcow2(a), disk(base)]));
  assert.deepEqual(asked(plan), [`exclusive ${a}`]);
  const [, ...refused] = plan.items;
  for (const item of refused) {
    assert.equal(item.code, 'SAME_DISK_TWICE');
    assert.match(item.remedy ?? '', /be the base of another/);
  }
  assert.deepEqual(asked(await makePlan(guest([qcow2(a), disk(base, { mode: 'read' })]))), [
    `exclusive ${a}`,
    `read ${base}`,
  ]);
});

test('an active commit writes the base, so the base is locked for writing', async (t) => {
  const folder = scratch(t);
  const [top, base] = [join(folder, 't'), join(folder, 'b')];
  writeFileSync(base, '');
  overlay(top, 'b', 'raw');
  const mirror = disk(base, { role: 'mirror', target: 'vda', format: 'raw' });
  const plan = await makePlan(guest([qcow2(top, { target: 'vda' }), mirror]));
  assert.deepEqual(asked(plan), [`exclusive ${base}`, `exclusive ${top}`]);
  // That is for the job's own two uses alone: whoever else reads the base, or writes it, is in the way.
  for (const other of [disk(base, { mode: 'read', target: 'vdb' }), disk(base, { target: 'vdb' })]) {
    const refused = await makePlan(guest([qcow2(top, { target: 'vda' }), mirror, other]));
    assert.deepEqual(asked(refused), [`exclusive ${top}`]);
    assert.equal(refused.items.filter(({ code }) => code === 'SAME_DISK_TWICE').length, 3);
  }
});

test('a chain that the XML names is planned, with its formats', async (t) => {
  const folder = scratch(t);
  const [top, base, deep] = [join(folder, 't'), join(folder, 'b'), join(folder, 'd')];
  writeFileSync(deep, '');
  overlay(base, 'd', 'raw');
  overlay(top, 'b');
  const named = await makePlan(guest([qcow2(top, { backing: [qcow2(base), disk(deep)] })]));
  assert.deepEqual(asked(named), [`exclusive ${top}`, `read ${base}`, `read ${deep}`]);
  assert.deepEqual(named.notes, []);
});

test('what a header names beside the XML is locked as well, and said', async (t) => {
  const folder = scratch(t);
  const [top, base, other] = [join(folder, 't'), join(folder, 'b'), join(folder, 'o')];
  writeFileSync(base, '');
  writeFileSync(other, '');
  overlay(top, 'o', 'raw');
  const both = await makePlan(guest([qcow2(top, { backing: [disk(base)] })]));
  assert.deepEqual(asked(both), [`exclusive ${top}`, `read ${base}`, `read ${other}`]);
  assert.match(both.notes.join(), /a base that the XML does not/);
  const ended = await makePlan(guest([qcow2(top, { backing: [] })]));
  assert.deepEqual(asked(ended), [`exclusive ${top}`, `read ${other}`]);
  overlay(top, 'gone', 'raw');
  const missing = await makePlan(guest([qcow2(top, { backing: [disk(base)] })]));
  assert.deepEqual(asked(missing), [`exclusive ${top}`, `read ${base}`]);
  assert.match(missing.notes.join(), /missing/);
  overlay(top, 'nbd://h/e', 'raw');
  const source = { type: 'network', protocol: 'nbd', name: 'e', hosts: ['h'] } as const;
  const network = await makePlan(guest([qcow2(top, { backing: [disk('x', { source })] })]));
  assert.deepEqual(asked(network), [`exclusive ${top}`, 'read x']);
});

test('an XML that leaves the end of its chain open is completed from the headers', async (t) => {
  const folder = scratch(t);
  const [top, base, deep] = [join(folder, 't'), join(folder, 'b'), join(folder, 'd')];
  overlay(top, 'b', 'qcow2');
  overlay(base, 'd', 'raw');
  await fails('NO_SUCH_FILE', [qcow2(top, { backing: [qcow2(base)] })], /the base of .*b\) does not exist/);
  writeFileSync(deep, '');
  const open = await makePlan(guest([qcow2(top, { backing: [qcow2(base)] })]));
  assert.deepEqual(asked(open), [`exclusive ${top}`, `read ${base}`, `read ${deep}`]);
  assert.deepEqual(open.notes, []);
  const ended = await makePlan(guest([qcow2(top, { backing: [qcow2(base, { backing: [] })] })]));
  assert.match(ended.notes.join(), /a base that the XML does not/);
});

test('a peeked disk has no chain', async (t) => {
  const folder = scratch(t);
  overlay(join(folder, 't'), 'gone', 'raw');
  assert.deepEqual(asked(await makePlan(guest([qcow2(join(folder, 't'), { mode: 'peek' })]))), []);
});

test('other formats are read by qemu-img: a vmdk of several files, a qed on a base', async (t) => {
  if (!needs(t, 'qemu-img')) return;
  const folder = scratch(t);
  const vmdk = join(folder, 'a.vmdk');
  create('-f', 'vmdk', '-o', 'subformat=twoGbMaxExtentFlat', vmdk, '3G');
  assert.deepEqual(asked(await makePlan(guest([disk(vmdk, { format: 'vmdk' })]))), [
    `exclusive ${join(folder, 'a-f001.vmdk')}`,
    `exclusive ${join(folder, 'a-f002.vmdk')}`,
    `exclusive ${vmdk}`,
  ]);
  const sparse = join(folder, 's.vmdk');
  create('-f', 'vmdk', sparse, '1M');
  assert.deepEqual(asked(await makePlan(guest([disk(sparse, { format: 'vmdk' })]))), [`exclusive ${sparse}`]);
  const [base, qed] = [join(folder, 'b'), join(folder, 'q')];
  // The base has a qcow2 header and its format is not said: qemu-img must not be let guess.
  overlay(base, '/etc/passwd', 'raw');
  create('-u', '-f', 'qed', '-b', base, '-F', 'qed', qed, '1M');
  assert.deepEqual(asked(await makePlan(guest([disk(qed, { format: 'qed' })]))), [
    `exclusive ${qed}`,
    `read ${base}`,
  ]);
});

test('without qemu-img, or where it fails, the plan says what it does not know', async (t) => {
  const path = join(scratch(t), 'a.vmdk');
  writeFileSync(path, 'no vmdk');
  const missing = await makePlan(guest([disk(path, { format: 'vmdk' })]), { qemuImg: '/no/such/qemu-img' });
  assert.match(missing.notes.join(), /qemu-img is not installed/);
  const failing = await makePlan(guest([disk(path, { format: 'vmdk' })]), { qemuImg: '/bin/false' });
  assert.match(failing.notes.join(), /could not read it/);
  const unknown = await makePlan(guest([disk(path, { format: 'qcow3' })]));
  assert.match(unknown.notes.join(), /could not read it: qemu-img: Could not open .*'qcow3'$/);
  const odd = await makePlan(guest([disk(path, { format: '-x; rm' })]), { qemuImg: '/bin/false' });
  assert.match(odd.notes.join(), /no such format/);
});
