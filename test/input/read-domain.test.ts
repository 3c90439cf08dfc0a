import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { readDomainXml } from '../../src/input/read-input.js';
import { normaliseUuid } from '../../src/input/uuid.js';
import { domainWith, oneDisk, thrown } from './domain-xml.js';

const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const read = (xml: string) => readDomainXml(xml, { file: 'g.xml' });

describe('the domain of a whole dump', () => {
  const guest = readDomainXml(readFileSync(new URL('fixtures/web1.xml', import.meta.url), 'utf8'), {
    file: 'web1.xml',
  });

  test('its owner, leases and what to do on loss', () => {
    assert.deepEqual(guest.owner, { kind: 'domain', name: 'web1', uuid, id: 7 });
    assert.equal(guest.onLockFailure, 'pause');
    const [lease, ...rest] = guest.leases;
    assert.deepEqual(rest, []);
    const { place, ...what } = lease ?? assert.fail();
    assert.equal(place?.file, 'web1.xml');
    assert.deepEqual(what, {
      label: 'somearea:somekey',
      lockspace: 'somearea',
      key: 'somekey',
      path: '/some/lease/path',
      offset: 1024,
    });
  });

  test('everything that it uses, each in its mode', () => {
    const table = guest.disks.map(({ role, target, label, format, mode, optional, skip, backing }) =>
      [
        role,
        target ?? '-',
        label,
        format ?? '-',
        mode,
        ...(optional ? ['optional'] : []),
        ...(skip === undefined ? [] : [`skip: ${skip}`]),
        ...(backing === undefined ? [] : [`below: ${backing.map((base) => base.label).join(' ')}`]),
      ].join(' | '),
    );
    assert.deepEqual(table, [
      'disk | vda | /var/lib/libvirt/images/web1 & co.qcow2 | qcow2 | exclusive | below: /var/lib/libvirt/images/middle.qcow2 /var/lib/libvirt/images/debian12.img',
      'disk | sda | /dev/disk/by-id/wwn-0x5000c50015ea71ad | raw | shared',
      'disk | vdb | rbd://mon1.example.org:6321,[2001:db8::1]:6322,mon3.example.org/pool/image@snapname | raw | exclusive',
      'disk | hdb | nbd:///run/nbd.sock/ | - | read',
      'disk | vdc | blk-pool0/blk-pool0-vol0 | qcow2 | exclusive | optional',
      'disk | vdd | nvme:0000:0a:1f.7/1 | raw | exclusive',
      'disk | vde | /tmp/vhost-blk.sock | raw | exclusive',
      'disk | fda | /srv/floppy | fat | read',
      'disk | fdb | fdb | - | exclusive | skip: an empty drive',
      'disk | sdb | sdb | - | read | skip: an empty drive',
      'disk | sdc | /srv/iso/debian.iso | raw | read',
      'disk | vdf | /srv/transient.qcow2 | qcow2 | exclusive',
      'disk | vdg | /srv/shared-base.qcow2 | qcow2 | read',
      'disk | vdh | /srv/sliced.img | raw | exclusive',
      'disk | vdi | /srv/old.qcow2 | qcow2 | exclusive',
      'mirror | vdi | /srv/new.qcow2 | qcow2 | exclusive | below: ',
      'loader | - | /usr/share/OVMF/OVMF_CODE_4M.ms.fd | - | read | skip: read-only firmware, which guests have in common',
      'nvram | - | /var/lib/libvirt/qemu/nvram/web1_VARS.fd | - | exclusive | optional',
      "filesystem | - | /srv/share | - | exclusive | skip: a shared directory: the host's file system keeps order in it",
      'filesystem | /mnt | /srv/fs.img | - | exclusive',
      'disk | - | scsi_host0:0:1:2 | - | exclusive | skip: a SCSI device of the host, handed through: no lock protects it',
      'tpm | - | /srv/tpm/web1 | - | exclusive | optional',
      'pstore | - | /srv/pstore | - | exclusive | optional',
      'memory | - | /srv/nvdimm | - | exclusive | optional',
      'memory | - | /srv/pmem | - | exclusive | optional',
    ]);
  });

  test('the place of each', () => {
    assert.deepEqual(guest.disks[0]?.place, { file: 'web1.xml', line: 22, column: 5 });
    assert.deepEqual(guest.disks[0]?.backing?.[0]?.place, { file: 'web1.xml', line: 25, column: 7 });
    assert.ok(guest.disks.every(({ place }) => place?.file === 'web1.xml' && place.line > 1));
  });
});

describe('the owner', () => {
  test('gets an uuid at random where the XML has none', () => {
    const [a, b] = [read('<domain><name>g</name></domain>'), read('<domain><name>g</name></domain>')];
    assert.equal(normaliseUuid(a.owner.uuid), a.owner.uuid);
    assert.notEqual(a.owner.uuid, b.owner.uuid);
    assert.equal(a.owner.id, undefined);
  });

  test('keeps its uuid however it is written', () => {
    for (const written of [uuid, uuid.toUpperCase(), uuid.replaceAll('-', ''), `\n  ${uuid}\n`]) {
      assert.equal(read(`<domain><name>g</name><uuid>${written}</uuid></domain>`).owner.uuid, uuid);
    }
  });

  test('is refused with an uuid that is none', () => {
    for (const written of ['', 'web1', `${uuid}0`, uuid.slice(1), uuid.replace('6', 'g')]) {
      const xml = `<domain>\n <name>g</name>\n <uuid>${written}</uuid></domain>`;
      thrown('BAD_UUID', () => read(xml), '3:2');
    }
  });

  test('needs a name, which is not trimmed', () => {
    thrown('BAD_DATA', () => read('<domain/>'), '1:1');
    thrown('BAD_DATA', () => read('\n<domain><name/></domain>'), '2:1');
    assert.equal(read('<domain><name> g&lt; </name></domain>').owner.name, ' g< ');
  });

  test('has a number only while it runs', () => {
    assert.equal(read("<domain id='0'><name>g</name></domain>").owner.id, 0);
    assert.equal(read("<domain id='-1'><name>g</name></domain>").owner.id, undefined);
    thrown('BAD_DATA', () => read("<domain id='seven'><name>g</name></domain>"), '1:1');
  });

  test('says what to do on loss in one of four words', () => {
    for (const word of ['poweroff', 'restart', 'pause', 'ignore']) {
      const xml = `<domain><name>g</name><on_lockfailure>${word}</on_lockfailure></domain>`;
      assert.equal(read(xml).onLockFailure, word);
    }
    assert.equal('onLockFailure' in read('<domain><name>g</name></domain>'), false);
    const wrong = thrown(
      'BAD_DATA',
      () => read('<domain><name>g</name>\n<on_lockfailure>stop</on_lockfailure></domain>'),
      '2:1',
    );
    assert.match(wrong.remedy, /poweroff, restart, pause, ignore/);
  });
});

describe('another root', () => {
  test('is refused, and named', () => {
    for (const [xml, says] of [
      ['<network><name>n</name></network>', /<network>/],
      ['<domainsnapshot><domain/></domainsnapshot>', /<domainsnapshot>/],
      ["<q:domain xmlns:q='u'/>", /<q:domain>/],
      ["<domain xmlns='u'><name>g</name></domain>", /xmlns="u"/],
    ] as const) {
      assert.match(thrown('NOT_A_DOMAIN', () => read(`\n${xml}`), '2:1').message, says);
    }
  });

  test('the document is called XML where it has no file', () => {
    assert.match(thrown('NOT_A_DOMAIN', () => readDomainXml('<a/>')).message, /^XML:1:1: /);
  });
});

describe('leases', () => {
  const lease = (inside: string) => read(domainWith(`<lease>\n${inside}</lease>`)).leases[0];

  test('may lack a path and an offset', () => {
    const { place: _, ...bare } = lease('<lockspace>a</lockspace><key>b</key>') ?? assert.fail();
    assert.deepEqual(bare, { label: 'a:b', lockspace: 'a', key: 'b', offset: 0 });
    assert.equal(lease("<lockspace>a</lockspace><key>b</key><target path='/l'/>")?.path, '/l');
  });

  test('are refused where something is wrong', () => {
    const named = '<lockspace>a</lockspace><key>b</key>\n';
    thrown('BAD_DATA', () => lease('<key>b</key>'), '2:1');
    thrown('BAD_DATA', () => lease('<lockspace>a</lockspace>'), '2:1');
    thrown('RELATIVE_PATH', () => lease(`${named}<target path='l'/>`), '4:1');
    for (const offset of ['', '-1', '0x10', '1.5', 'one', '9007199254740992']) {
      thrown('BAD_DATA', () => lease(`${named}<target path='/l' offset='${offset}'/>`), '4:1');
    }
    assert.equal(lease(`${named}<target path='/l' offset='9007199254740991'/>`)?.offset, 9007199254740991);
  });

  test('cannot lead out of their lockspace', () => {
    for (const name of ['..', '.', '../x', '/etc/passwd', 'a/b']) {
      thrown('BAD_DATA', () => lease(`<lockspace>a</lockspace>\n<key>${name}</key>`), '4:1');
      thrown('BAD_DATA', () => lease(`<lockspace>${name}</lockspace><key>b</key>`), '3:1');
    }
  });
});

describe('firmware', () => {
  const os = (inside: string) => oneDisk('', `<os>${inside}</os>`);

  test('a loader is locked only if the guest can write it', () => {
    assert.equal(os("<loader readonly='no' type='pflash'>/fw</loader>").mode, 'exclusive');
    assert.equal(os("<loader type='pflash' format='qcow2'>/fw</loader>").format, 'qcow2');
    assert.equal(os("<loader type='pflash'>/fw</loader>").skip, undefined);
    for (const skipped of ["readonly='yes' type='pflash'", "type='rom'", "readonly='no' type='rom'", '']) {
      assert.match(os(`<loader ${skipped}>/fw</loader>`).skip ?? '', /read-only/);
    }
    thrown('RELATIVE_PATH', () => os("\n<loader type='pflash'>fw</loader>"), '2:1');
    assert.deepEqual(read("<domain><name>g</name><os><loader secure='yes'/></os></domain>").disks, []);
  });

  test('NVRAM in both forms, which may not exist yet', () => {
    for (const [xml, label, source] of [
      ['<nvram>/nv</nvram>', '/nv', { type: 'file', path: '/nv' }],
      ["<nvram type='file'><source file='/nv'/></nvram>", '/nv', { type: 'file', path: '/nv' }],
      [
        "<nvram type='block'>\n <source dev='/dev/nv'/></nvram>",
        '/dev/nv',
        { type: 'block', path: '/dev/nv' },
      ],
      [
        "<nvram type='network'><source protocol='iscsi' name='iqn.x:y/0'><host name='h' port='6000'/></source></nvram>",
        'iscsi://h:6000/iqn.x:y/0',
        { type: 'network', protocol: 'iscsi', name: 'iqn.x:y/0', hosts: ['h:6000'] },
      ],
    ] as const) {
      const nvram = os(xml);
      assert.equal(nvram.role, 'nvram');
      assert.equal(nvram.label, label);
      assert.deepEqual(nvram.source, source);
      assert.equal(nvram.mode, 'exclusive');
      assert.equal(nvram.optional, true);
      assert.equal(nvram.skip, undefined);
    }
    assert.equal(os("<nvram format='qcow2'>/nv</nvram>").format, 'qcow2');
    assert.match(os("<nvram template='/t'/>").skip ?? '', /libvirt chooses/);
    thrown('RELATIVE_PATH', () => os('<nvram>nv</nvram>'), '1:27');
    // libvirt trims no path, so this one starts with a line feed.
    thrown('RELATIVE_PATH', () => os('<nvram>\n/nv</nvram>'), '1:27');
  });

  test('a variable store', () => {
    const store = os("<varstore template='/t' path='/vars.json'/>");
    assert.deepEqual(
      [store.role, store.label, store.mode, store.optional],
      ['nvram', '/vars.json', 'exclusive', true],
    );
  });
});

describe('other devices', () => {
  test('a TPM', () => {
    const tpm = (inside: string) => oneDisk(`<tpm>${inside}</tpm>`);
    assert.equal(
      tpm("<backend type='emulator'><source type='file' path='/t'/></backend>").source.type,
      'file',
    );
    assert.equal(tpm("<backend type='emulator'><source type='dir' path='/t'/></backend>").source.type, 'dir');
    assert.match(tpm("<backend type='emulator'/>").skip ?? '', /uuid/);
    assert.match(tpm("<backend type='passthrough'><device path='/dev/tpm1'/></backend>").skip ?? '', /host/);
    assert.equal(tpm("<backend type='passthrough'/>").label, '/dev/tpm0');
    assert.match(
      tpm("<backend type='external'><source type='unix' path='/s'/></backend>").skip ?? '',
      /does not start/,
    );
    thrown('RELATIVE_PATH', () => tpm("\n<backend type='emulator'><source path='t'/></backend>"), '3:26');
  });

  test('file systems', () => {
    const block = oneDisk(
      "<filesystem type='block'><source dev='/dev/x'/><target dir='/'/><readonly/></filesystem>",
    );
    assert.deepEqual(block.source, { type: 'block', path: '/dev/x' });
    assert.equal(block.mode, 'read');
    assert.equal(oneDisk("<filesystem><source dir='/d'/></filesystem>").label, '/d');
    assert.match(oneDisk("<filesystem type='ram'><source usage='1'/></filesystem>").skip ?? '', /memory/);
    assert.equal(
      oneDisk("<filesystem type='volume'><source pool='p' volume='v'/></filesystem>").label,
      'p/v',
    );
    assert.equal(oneDisk("<filesystem><source socket='/s'/></filesystem>").label, '/s');
    thrown('RELATIVE_PATH', () => oneDisk("<filesystem type='file'><source file='x'/></filesystem>"), '2:25');
  });

  test('memory that is a file', () => {
    const memory = (attributes: string, target = '') =>
      oneDisk(`<memory ${attributes}><source><path>/m</path></source><target>${target}</target></memory>`);
    assert.equal(memory("model='nvdimm'").mode, 'exclusive');
    assert.equal(memory("model='virtio-pmem'").mode, 'exclusive');
    const readOnly = memory("model='nvdimm'", '<readonly/>');
    assert.deepEqual([readOnly.mode, readOnly.optional], ['read', false]);
    const copied = memory("model='nvdimm' access='private'");
    assert.deepEqual([copied.mode, copied.optional], ['read', false]);
    assert.match(copied.note ?? '', /private/);
    assert.deepEqual(read(domainWith("<memory model='dimm'><source/></memory>")).disks, []);
  });

  test('a block device handed to a container', () => {
    const disk = oneDisk(
      "<hostdev mode='capabilities' type='storage'><source><block>/dev/x</block></source></hostdev>",
    );
    assert.deepEqual([disk.source, disk.mode], [{ type: 'block', path: '/dev/x' }, 'exclusive']);
  });

  test('what keeps nothing is not described', () => {
    const none =
      "<interface type='bridge'><source bridge='b'/></interface><hostdev type='pci'><source/></hostdev><tpm/><pstore/>";
    assert.deepEqual(read(domainWith(none)).disks, []);
  });
});

describe('a device alone, where one may stand for a domain', () => {
  const disk = "<disk type='file'><source file='/a.img'/><target dev='vdb'/></disk>";

  test('is read as it is inside a domain', () => {
    const { owner, disks, leases } = readDomainXml(disk, { orDevice: true });
    const [inside] = readDomainXml(domainWith(disk)).disks;
    assert.equal(owner.kind, 'command');
    assert.deepEqual(leases, []);
    const [{ place, ...alone } = assert.fail()] = disks;
    const { place: _, ...same } = inside ?? assert.fail();
    assert.deepEqual(alone, same);
    assert.deepEqual(place, { file: 'XML', line: 1, column: 1 });
  });

  test('may be a lease, but nothing without storage', () => {
    const lease = '<lease><lockspace>space</lockspace><key>key</key></lease>';
    assert.deepEqual(
      readDomainXml(lease, { orDevice: true }).leases.map(({ label }) => label),
      ['space:key'],
    );
    const network = "<interface type='network'/>";
    const error = thrown('NOT_A_DOMAIN', () => readDomainXml(network, { orDevice: true }));
    assert.match(error.message, /<interface>, neither a device with storage nor the <domain>/);
    thrown('NOT_A_DOMAIN', () => readDomainXml(disk));
  });
});
