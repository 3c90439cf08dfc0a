import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { dumpDomain, parseDiskArgument, readDomainXml, resolveVolumes } from '../../src/input/read-input.js';
import { xmlBytesMax } from '../../src/input/xml-tree.js';
import type { GuestDescription } from '../../src/vocabulary.js';
import { needs } from '../needs.js';
import { domainWith, rejected } from './domain-xml.js';

let folder = '';
const environment = { PATH: process.env['PATH'], LC_ALL: process.env['LC_ALL'] };

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-virsh-'));
  process.env['LC_ALL'] = 'de_DE.UTF-8';
});

afterEach(() => {
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  rmSync(folder, { recursive: true });
});

/** Puts a virsh of our own before the real one: a shell script that writes its arguments to `calls` and has the last in `$last`. */
function fakeVirsh(script: string): void {
  const path = join(folder, 'virsh');
  const head = `#!/bin/sh\nprintf '%s|' "$LC_ALL" "$@" >> ${folder}/calls; echo >> ${folder}/calls\nfor last; do :; done\n`;
  writeFileSync(path, head + script, { mode: 0o755 });
  process.env['PATH'] = `${folder}:${environment.PATH}`;
}

const calls = (): string[] => readFileSync(join(folder, 'calls'), 'utf8').trimEnd().split('\n').toSorted();

function noVirsh(): void {
  process.env['PATH'] = join(folder, 'empty');
}

describe('a dump', () => {
  test('is what virsh prints, asked in the C locale', async () => {
    fakeVirsh('echo "<domain/>"');
    assert.equal(await dumpDomain({ name: '-web1;' }), '<domain/>\n');
    assert.equal(await dumpDomain({ connect: 'qemu:///session', name: 'web1' }), '<domain/>\n');
    assert.deepEqual(calls(), ['C|-c|qemu:///session|dumpxml|--|web1|', 'C|dumpxml|--|-web1;|']);
  });

  test('of a domain that libvirt does not know', async () => {
    for (const words of [
      "error: failed to get domain 'web1'",
      "error: failed to get domain 'web1'\\nerror: Domain not found: no domain with matching name 'web1'",
    ]) {
      fakeVirsh(`printf "${words}\\n\\n" >&2; exit 1`);
      const error = await rejected('NO_SUCH_DOMAIN', dumpDomain({ name: 'web1' }));
      assert.match(error.message, /"web1"/);
      assert.equal(error.exitCode, 66);
    }
  });

  test('from a libvirt that does not answer keeps its words', async () => {
    fakeVirsh('printf "error: failed to connect to the hypervisor\\nerror: no socket\\n" >&2; exit 1');
    const error = await rejected('LIBVIRT_UNREACHABLE', dumpDomain({ name: 'web1' }));
    assert.match(error.message, /failed to connect to the hypervisor; no socket/);
    assert.ok(error.cause instanceof Error);
    fakeVirsh(`printf "error: failed to get domain 'web1'\\nerror: authentication failed\\n" >&2; exit 1`);
    await rejected('LIBVIRT_UNREACHABLE', dumpDomain({ name: 'web1' }));
    fakeVirsh('exit 3');
    await rejected('LIBVIRT_UNREACHABLE', dumpDomain({ name: 'web1' }));
  });

  test('without virsh names the package', async () => {
    noVirsh();
    const error = await rejected('LIBVIRT_UNREACHABLE', dumpDomain({ name: 'web1' }));
    assert.match(error.message, /virsh is missing/);
    assert.match(error.remedy, /libvirt-clients/);
    assert.equal(error.exitCode, 69);
  });

  test('can be given up, before and while virsh runs', async () => {
    fakeVirsh('exec sleep 60');
    const controller = new AbortController();
    const dumped = dumpDomain({ name: 'web1' }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    await rejected('ABORTED', dumped);
    await rejected('ABORTED', dumpDomain({ name: 'web1' }, { signal: AbortSignal.abort() }));
  });

  test('is bounded', async () => {
    fakeVirsh(`head -c ${xmlBytesMax} /dev/zero | tr '\\0' x`);
    assert.equal((await dumpDomain({ name: 'web1' })).length, xmlBytesMax);
    fakeVirsh(`head -c ${xmlBytesMax + 1} /dev/zero | tr '\\0' x`);
    await rejected('XML_LIMIT', dumpDomain({ name: 'web1' }));
  });

  test('needs a name', async () => {
    await rejected('USAGE', dumpDomain({ name: '' }));
    await rejected('USAGE', dumpDomain({ name: 'a\0b' }));
  });

  test("of real libvirt's own test driver", async (t) => {
    if (!needs(t, 'virsh')) return;
    const connect = 'test:///default';
    const { owner, disks } = readDomainXml(await dumpDomain({ connect, name: 'test' }));
    assert.equal(owner.name, 'test');
    assert.equal(owner.id, 1);
    assert.equal(disks[0]?.label, '/guest/diskimage1');
    assert.equal((await dumpDomain({ connect, name: owner.uuid })).includes(owner.uuid), true);
    await rejected('NO_SUCH_DOMAIN', dumpDomain({ connect, name: 'nosuch' }));
    await rejected(
      'LIBVIRT_UNREACHABLE',
      dumpDomain({ connect: 'qemu+unix:///system?socket=/nowhere', name: 'x' }),
    );
  });
});

describe('volumes', () => {
  const guestOf = (...volumes: readonly string[]): GuestDescription =>
    readDomainXml(
      domainWith(
        volumes
          .map(
            (volume) => `<disk type='volume'><source pool='p' volume='${volume}'/><target dev='vda'/></disk>`,
          )
          .join('\n'),
      ),
      { file: 'g.xml' },
    );

  test('become paths: files, folders and block devices', async () => {
    mkdirSync(join(folder, 'd'));
    // A machine without any block device still shows the other two.
    const device = readdirSync('/dev')
      .map((name) => `/dev/${name}`)
      .find((path) => statSync(path, { throwIfNoEntry: false })?.isBlockDevice());
    fakeVirsh(`case $last in
      f) echo "${folder}/f"; echo;;
      d) echo "${folder}/d";;
      *) echo "${device ?? '/dev/null'}"
    esac`);
    const { disks } = await resolveVolumes(guestOf('f', 'd', 'b'));
    assert.deepEqual(
      disks.map(({ source }) => source),
      [
        { type: 'file', path: `${folder}/f` },
        { type: 'dir', path: `${folder}/d` },
        device === undefined ? { type: 'file', path: '/dev/null' } : { type: 'block', path: device },
      ],
    );
    assert.deepEqual(
      disks.map(({ label }) => label),
      ['p/f', 'p/d', 'p/b'],
    );
  });

  test('are each asked for once, mirrors and backing stores too', async () => {
    fakeVirsh(`echo "/pool/$last"`);
    const backing =
      "<backingStore type='volume'><source pool='p' volume='b'/><backingStore type='volume'><source pool='p' volume='c'/></backingStore></backingStore>";
    const disk = `<disk type='volume'><source pool='p' volume='a'/>${backing}<mirror type='volume'><source pool='p' volume='m'/></mirror></disk>`;
    const guest = await resolveVolumes(readDomainXml(domainWith(disk + disk)), { connect: 'u' });
    const [top, mirror] = guest.disks;
    assert.deepEqual(top?.source, { type: 'file', path: '/pool/a' });
    assert.deepEqual(
      top?.backing?.map(({ source }) => source),
      [
        { type: 'file', path: '/pool/b' },
        { type: 'file', path: '/pool/c' },
      ],
    );
    assert.deepEqual(top?.backing?.[0]?.backing?.[0]?.source, { type: 'file', path: '/pool/c' });
    assert.deepEqual(mirror?.source, { type: 'file', path: '/pool/m' });
    assert.deepEqual(
      calls(),
      ['a', 'b', 'c', 'm'].map((one) => `C|-c|u|vol-path|--pool|p|--|${one}|`),
    );
  });

  test('that libvirt does not have', async () => {
    for (const what of ['pool', 'volume']) {
      fakeVirsh(
        `printf "error: failed to get ${what}\\nerror: Storage ${what} not found: no such\\n" >&2; exit 1`,
      );
      const error = await rejected('NO_SUCH_FILE', resolveVolumes(guestOf('v')), '2:1');
      assert.match(error.message, /p\/v: .*not found/);
    }
    const [optional] = (
      await resolveVolumes(
        readDomainXml(
          domainWith("<disk type='volume'><source pool='p' volume='v' startupPolicy='optional'/></disk>"),
        ),
      )
    ).disks;
    assert.match(optional?.skip ?? '', /no such volume/);
  });

  test('stay as they are where libvirt cannot say', async () => {
    const guest = guestOf('v');
    const asked = async (): Promise<string> => {
      const [disk] = (await resolveVolumes(guest)).disks;
      assert.deepEqual(disk?.source, guest.disks[0]?.source);
      return disk?.note ?? '';
    };
    fakeVirsh('echo "error: failed to connect" >&2; exit 1');
    assert.match(await asked(), /failed to connect/);
    fakeVirsh('echo "pool/image"');
    assert.match(await asked(), /pool\/image/);
    noVirsh();
    assert.match(await asked(), /virsh/);
  });

  test('cost nothing where there are none', async () => {
    noVirsh();
    const guest = {
      owner: { kind: 'command', name: 'c', uuid: '' },
      disks: [parseDiskArgument('/a')],
      leases: [],
    } as const;
    assert.equal(await resolveVolumes(guest), guest);
  });

  test('can be given up', async () => {
    fakeVirsh('exec sleep 60');
    const signal = AbortSignal.timeout(100);
    await rejected('ABORTED', resolveVolumes(guestOf('a', 'b', 'c', 'd', 'e', 'f'), {}, { signal }));
  });

  test('missing from a real pool', async (t) => {
    if (!needs(t, 'virsh')) return;
    await rejected('NO_SUCH_FILE', resolveVolumes(guestOf('v'), { connect: 'test:///default' }));
  });
});
