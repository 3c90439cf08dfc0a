import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readDomainXml } from '../../src/input/read-input.js';
import type { Source } from '../../src/vocabulary.js';
import { domainWith, oneDisk, thrown } from './domain-xml.js';

const target = "<target dev='vda'/>";

describe('modes', () => {
  const mode = (attributes: string, inside: string) =>
    oneDisk(`<disk ${attributes}><source file='/a'/>${target}${inside}</disk>`);

  for (const [attributes, inside, expected] of [
    ['', '', 'exclusive'],
    ["device='disk'", '', 'exclusive'],
    ["device='lun'", '', 'exclusive'],
    ["device='floppy'", '', 'exclusive'],
    ["device='cdrom'", '', 'read'],
    ["device='cdrom'", '<shareable/>', 'read'],
    ["device='floppy'", '<readonly/>', 'read'],
    ['', '<readonly/>', 'read'],
    ['', '<shareable/>', 'shared'],
    ['', '<shareable/><readonly/>', 'read'],
    ['', '<transient/>', 'exclusive'],
    ['', "<transient shareBacking='no'/>", 'exclusive'],
    ['', "<transient shareBacking='yes'/>", 'read'],
    ['', '<q:readonly xmlns:q="u"/>', 'exclusive'],
  ] as const) {
    test(`${attributes} ${inside} is ${expected}`, () =>
      assert.equal(mode(attributes, inside).mode, expected));
  }

  test('a transient disk and a slice say so', () => {
    assert.match(mode('', '<transient/>').note ?? '', /transient/);
    assert.match(mode('', "<transient shareBacking='yes'/>").note ?? '', /transient/);
    assert.equal('note' in mode('', '<readonly/>'), false);
    const sliced = "<source file='/a'><slices><slice type='storage' offset='0' size='1'/></slices></source>";
    assert.match(oneDisk(`<disk>${sliced}</disk>`).note ?? '', /slice/);
  });

  test('an unknown device is refused', () => {
    thrown('BAD_DATA', () => mode("device='tape'", ''), '2:1');
  });
});

describe('sources', () => {
  const source = (type: string, inside: string) =>
    oneDisk(`<disk type='${type}'>\n${inside}\n${target}</disk>`);

  test('of every type', () => {
    const cases: readonly (readonly [string, string, Source, string])[] = [
      ['file', "<source file='/a'/>", { type: 'file', path: '/a' }, '/a'],
      ['block', "<source dev='/dev/a'/>", { type: 'block', path: '/dev/a' }, '/dev/a'],
      ['dir', "<source dir='/d'/>", { type: 'dir', path: '/d' }, '/d'],
      ['volume', "<source pool='p' volume='v'/>", { type: 'volume', pool: 'p', volume: 'v' }, 'p/v'],
      [
        'network',
        "<source protocol='rbd' name='p/i'/>",
        { type: 'network', protocol: 'rbd', name: 'p/i', hosts: [] },
        'rbd:p/i',
      ],
      [
        'network',
        "<source protocol='rbd' name='p/i'><snapshot name='s1'/></source>",
        { type: 'network', protocol: 'rbd', name: 'p/i@s1', hosts: [] },
        'rbd:p/i@s1',
      ],
      [
        'network',
        "<source protocol='https' name='a.iso' query='v=1'><host name='h'/></source>",
        { type: 'network', protocol: 'https', name: 'a.iso?v=1', hosts: ['h'] },
        'https://h/a.iso?v=1',
      ],
      [
        'network',
        "<source protocol='nbd' name='e'><host name='h' port='10809'/></source>",
        { type: 'network', protocol: 'nbd', name: 'e', hosts: ['h:10809'] },
        'nbd://h:10809/e',
      ],
      [
        'network',
        "<source protocol='gluster' name='v/i'><host name='::1'/><host transport='unix' socket='/s'/></source>",
        { type: 'network', protocol: 'gluster', name: 'v/i', hosts: ['::1', '/s'] },
        'gluster://::1,/s/v/i',
      ],
      [
        'nvme',
        "<source type='pci' namespace='2'><address domain='0' bus='1' slot='0x2' function='3'/></source>",
        { type: 'nvme', address: '0000:01:02.3', namespace: 2 },
        'nvme:0000:01:02.3/2',
      ],
      ['vhostuser', "<source type='unix' path='/s'/>", { type: 'vhostuser', path: '/s' }, '/s'],
      [
        'vhostvdpa',
        "<source dev='/dev/vhost-vdpa-0'/>",
        { type: 'vhostuser', path: '/dev/vhost-vdpa-0' },
        '/dev/vhost-vdpa-0',
      ],
    ];
    for (const [type, xml, expected, label] of cases) {
      const disk = source(type, xml);
      assert.deepEqual(disk.source, expected);
      assert.equal(disk.label, label);
      assert.equal(disk.target, 'vda');
      assert.deepEqual(disk.place, { file: 'g.xml', line: 2, column: 1 });
    }
  });

  test('a type is file where none is given', () => {
    assert.deepEqual(oneDisk("<disk><source file='/a'/></disk>").source, { type: 'file', path: '/a' });
  });

  test('a path is kept as it is, escapes undone', () => {
    assert.equal(source('file', "<source file='/a&amp;b &lt;&#x27;&#10; '/>").label, "/a&b <'\n ");
    assert.equal(source('file', "<source file='/../a//b/.'/>").label, '/../a//b/.');
  });

  test('a relative path is refused where it stands', () => {
    assert.match(
      thrown('RELATIVE_PATH', () => source('file', "  <source file='a.img'/>"), '3:3').message,
      /"a.img" of disk vda/,
    );
    thrown('RELATIVE_PATH', () => source('file', "<source file=' /a.img'/>"), '3:1');
    thrown('RELATIVE_PATH', () => source('block', "<source dev='sda'/>"), '3:1');
    thrown('RELATIVE_PATH', () => source('dir', "<source dir='.'/>"), '3:1');
    thrown('RELATIVE_PATH', () => source('vhostuser', "<source path='s'/>"), '3:1');
    const unix = "<source protocol='nbd'>\n<host transport='unix' socket='s'/></source>";
    thrown('RELATIVE_PATH', () => source('network', unix), '4:1');
  });

  test('a missing one is refused, save in a drive', () => {
    for (const type of ['file', 'block', 'dir', 'network', 'volume', 'nvme', 'vhostuser']) {
      for (const inside of [
        '',
        '<source/>',
        "<source file='' dev='' dir='' path=''/>",
        "<source startupPolicy='optional'/>",
      ]) {
        assert.match(
          thrown('NO_SOURCE', () => source(type, inside), '2:1').message,
          /disk vda has no source/,
        );
        for (const device of ['cdrom', 'floppy']) {
          const drive = oneDisk(`<disk type='${type}' device='${device}'>${inside}${target}</disk>`);
          assert.deepEqual([drive.source.type, drive.skip, drive.label], ['none', 'an empty drive', 'vda']);
        }
      }
    }
    thrown('NO_SOURCE', () => oneDisk("<disk device='lun' type='block'/>"), '2:1');
    assert.equal(oneDisk("<disk device='cdrom'/>").label, 'cdrom');
  });

  test('half of one is refused', () => {
    thrown('NO_SOURCE', () => source('volume', "<source pool='p'/>"), '3:1');
    thrown('NO_SOURCE', () => source('volume', "<source volume='v'/>"), '3:1');
    thrown('NO_SOURCE', () => source('network', "<source protocol='rbd'/>"), '3:1');
    thrown('NO_SOURCE', () => source('network', "<source protocol='nbd'><host/></source>"), '3:24');
    thrown(
      'NO_SOURCE',
      () => source('network', "<source protocol='nbd'><host transport='unix'/></source>"),
      '3:24',
    );
    const address = (attributes: string) => `<source namespace='1'>\n<address ${attributes}/></source>`;
    for (const wrong of [
      "domain='0x10000'",
      "bus='0x100'",
      "slot='0x20'",
      "function='8'",
      "bus='x'",
      "bus='-1'",
    ]) {
      thrown('BAD_DATA', () => source('nvme', address(wrong)), '4:1');
    }
    for (const namespace of ['', "namespace='0'", "namespace='x'", "namespace='4294967296'"]) {
      thrown('BAD_DATA', () => source('nvme', `<source ${namespace}><address/></source>`), '3:1');
    }
  });

  test('an unknown type is refused', () => {
    const error = thrown('BAD_DATA', () => source('tape', "<source file='/a'/>"), '2:1');
    assert.match(error.message, /"tape"/);
    assert.match(error.remedy, /file, block, dir, network, volume, nvme, vhostuser/);
  });

  test('only an optional one may be missing', () => {
    const policy = (word: string) => source('file', `<source file='/a' startupPolicy='${word}'/>`).optional;
    assert.deepEqual(['optional', 'requisite', 'mandatory'].map(policy), [true, false, false]);
  });

  test('a format is only what the XML says', () => {
    assert.equal('format' in source('file', "<source file='/a.qcow2'/>"), false);
    assert.equal('format' in source('file', "<driver name='qemu'/><source file='/a.qcow2'/>"), false);
    assert.equal(source('file', "<driver type='qcow2'/><source file='/a'/>").format, 'qcow2');
  });
});

describe('backing stores', () => {
  const chain = (store: string) => oneDisk(`<disk><source file='/top'/>${target}\n${store}</disk>`);

  test('none is said, or none is there', () => {
    assert.equal('backing' in chain(''), false);
    assert.deepEqual(chain('<backingStore/>').backing, []);
  });

  test('each knows what is below it', () => {
    const { backing } = chain(
      `<backingStore type='file'><format type='qcow2'/><source file='/b'/>
         <backingStore type='block'><source dev='/dev/c'/><backingStore/></backingStore></backingStore>`,
    );
    const [b, c] = backing ?? [];
    assert.deepEqual(backing?.length, 2);
    assert.deepEqual([b?.role, b?.label, b?.mode, b?.format], ['base', '/b', 'read', 'qcow2']);
    assert.deepEqual([c?.role, c?.source, c?.mode], ['base', { type: 'block', path: '/dev/c' }, 'read']);
    assert.deepEqual(b?.backing, [c]);
    assert.deepEqual(c?.backing, []);
    assert.equal(c !== undefined && 'format' in c, false);
  });

  test('a chain that is not said to end is left open', () => {
    const [b] = chain("<backingStore type='file'><source file='/b'/></backingStore>").backing ?? [];
    assert.ok(b);
    assert.equal('backing' in b, false);
  });

  test('one without a source, or with a bad one, is refused', () => {
    assert.match(
      thrown('NO_SOURCE', () => chain("<backingStore type='file'/>"), '3:1').message,
      /a backing store of disk vda has no source/,
    );
    thrown(
      'RELATIVE_PATH',
      () => chain("<backingStore type='file'>\n<source file='b'/></backingStore>"),
      '4:1',
    );
    thrown('NO_SOURCE', () => chain('<backingStore><source/></backingStore>'), '3:1');
  });
});

describe('mirrors', () => {
  const mirrored = (mirror: string) => {
    const xml = domainWith(`<disk><source file='/old'/>${target}\n${mirror}</disk>`);
    const { disks } = readDomainXml(xml, { file: 'g.xml' });
    assert.equal(disks.length, 2);
    return disks[1] ?? assert.fail();
  };

  test('in all forms', () => {
    for (const form of [
      "<mirror file='/new' format='qcow2' ready='yes'/>",
      "<mirror type='file' job='copy'><format type='qcow2'/><source file='/new'/></mirror>",
      "<mirror type='file' file='/new' format='qcow2' job='copy'><format type='qcow2'/><source file='/new'/></mirror>",
    ]) {
      const mirror = mirrored(form);
      assert.deepEqual(
        [
          mirror.role,
          mirror.label,
          mirror.source,
          mirror.mode,
          mirror.format,
          mirror.target,
          mirror.place?.line,
        ],
        ['mirror', '/new', { type: 'file', path: '/new' }, 'exclusive', 'qcow2', 'vda', 3],
      );
    }
    const block = mirrored("<mirror type='block' job='copy'><source dev='/dev/new'/></mirror>");
    assert.deepEqual(block.source, { type: 'block', path: '/dev/new' });
    assert.match(
      mirrored("<mirror type='file' job='active-commit'><source file='/b'/></mirror>").note ?? '',
      /base/,
    );
  });

  test('without a source is refused', () => {
    assert.match(
      thrown('NO_SOURCE', () => mirrored("<mirror type='file'/>"), '3:1').message,
      /mirror of disk vda/,
    );
    thrown('RELATIVE_PATH', () => mirrored("<mirror file='new'/>"), '3:1');
  });
});

test('a data store is the disk\u2019s own, in its mode', () => {
  const xml = `<domain><name>g</name><devices><disk type='file'><driver type='qcow2'/>
    <source file='/a.qcow2'><dataStore type='file'><format type='raw'/><source file='/a.raw'/></dataStore></source>
    <target dev='vda'/></disk></devices></domain>`;
  const [only, ...others] = readDomainXml(xml).disks;
  assert.deepEqual(others, []);
  assert.deepEqual(
    [only?.dataStore?.label, only?.dataStore?.mode, only?.dataStore?.format],
    ['/a.raw', 'exclusive', 'raw'],
  );
  assert.throws(
    () => readDomainXml(xml.replace("<source file='/a.raw'/>", '')),
    /the data store of disk vda has no source/,
  );
});
