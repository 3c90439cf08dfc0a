import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isHoldfastError } from '../../src/errors.js';
import { parseDiskArgument, parseLeaseArgument, readDomainXml } from '../../src/input/read-input.js';
import type { DiskDescription } from '../../src/vocabulary.js';

const web1 = readFileSync(new URL('fixtures/web1.xml', import.meta.url), 'utf8');

function onlyOurErrors(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!isHoldfastError(error) || error.code === 'INTERNAL') throw error;
  }
}

/** Every place has to be inside the document: a line that it has, a column of that line or just behind it. */
function readChecked(xml: string): void {
  try {
    readDomainXml(xml);
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    assert.ok(
      ['XML_', 'NOT_A', 'BAD_', 'NO_SO', 'RELAT'].some((start) => error.code.startsWith(start)),
      error.code,
    );
    const place = error.place ?? assert.fail(`no place: ${error.message}`);
    const lines = xml.replace(/^\ufeff/, '').split(/\r\n|\r|\n/);
    const line = lines[place.line - 1] ?? assert.fail(`no such line: ${error.message}`);
    assert.ok(place.column >= 1 && place.column <= Array.from(line).length + 1, error.message);
  }
}

/** Pieces of documents, so that random texts get further than their first character. */
const piece = fc.constantFrom(
  '<',
  '>',
  '/',
  '&',
  ';',
  "'",
  '"',
  '=',
  '\n',
  '\r',
  '\t',
  ' ',
  ':',
  '\ufeff',
  '\ud83d\ude00',
  '\udc00',
  ']]>',
  '<!--',
  '-->',
  '<![CDATA[',
  '<?xml ',
  '?>',
  '<!DOCTYPE a>',
  '&amp;',
  '&#10;',
  '&x;',
  '<domain>',
  '</domain>',
  '<name>g</name>',
  '<devices>',
  '</devices>',
  '<disk>',
  '</disk>',
  "<disk type='volume' device='cdrom'>",
  "<source file='/a'/>",
  '<source>',
  '</source>',
  '<backingStore>',
  '</backingStore>',
  '<mirror>',
  '</mirror>',
  '<lease>',
  '</lease>',
  '<os>',
  '</os>',
  '<nvram>',
  '</nvram>',
  '<uuid>',
  '</uuid>',
  "xmlns='u'",
  '<q:disk>',
  '</q:disk>',
  '<memory model="nvdimm">',
  '<hostdev type="scsi">',
);

describe('whatever it is given, the reader throws nothing but errors of ours, with a place in the document', () => {
  test('texts', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' })), readChecked), {
      numRuns: 500,
    });
  });

  test('texts made of pieces of documents', () => {
    const texts = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''));
    fc.assert(fc.property(texts, readChecked), { numRuns: 3_000, examples: [['<\r\n']] });
    const inside = texts.map((text) => `<domain><name>g</name><devices>${text}</devices></domain>`);
    fc.assert(fc.property(inside, readChecked), { numRuns: 3_000 });
  });

  test('a real dump with something cut out, put in or changed', () => {
    const mutations = fc.array(
      fc.tuple(
        fc.nat(web1.length),
        fc.nat(60),
        fc.oneof(fc.constant(''), piece, fc.string({ maxLength: 3 })),
      ),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(mutations, (changes) => {
        let xml = web1;
        for (const [at, cut, put] of changes) xml = xml.slice(0, at) + put + xml.slice(at + cut);
        readChecked(xml);
      }),
      { numRuns: 1_000 },
    );
  });

  test('arguments', () => {
    const text = fc.array(
      fc.oneof(fc.string({ maxLength: 5 }), fc.constantFrom(':', ':read', ':format=', '/')),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(
        text.map((parts) => parts.join('')),
        (argument) => {
          onlyOurErrors(() => parseDiskArgument(argument, { cwd: '/' }));
          onlyOurErrors(() => parseLeaseArgument(argument));
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe('what is written is what is read', () => {
  /** Characters that XML 1.0 allows, those that have to be escaped among them. */
  const character = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...Array.from('abc/.:-_ &<>\'"\n\t\r%[]äß')) },
    {
      weight: 1,
      arbitrary: fc
        .string({ unit: 'grapheme', minLength: 1, maxLength: 1 })
        .filter((text) => !/[\p{Cc}\ufffe\uffff]/u.test(text)),
    },
  );
  const word = fc.array(character, { minLength: 1, maxLength: 12 }).map((characters) => characters.join(''));
  const path = word.map((text) => `/${text}`);
  const escape = (text: string): string => text.replace(/[&<>'"\n\t\r]/g, (one) => `&#${one.charCodeAt(0)};`);

  const disk = fc.record({
    path,
    target: fc.option(word, { nil: undefined }),
    device: fc.constantFrom('disk', 'cdrom', 'floppy', 'lun'),
    flag: fc.constantFrom('', 'readonly', 'shareable'),
    format: fc.constantFrom(undefined, 'raw', 'qcow2'),
    optional: fc.boolean(),
    backing: fc.option(fc.array(path, { maxLength: 5 }), { nil: undefined }),
  });
  type Written = typeof disk extends fc.Arbitrary<infer Value> ? Value : never;

  function write(one: Written): string {
    const stores = one.backing?.reduceRight(
      (below, base) => `<backingStore type='file'><source file='${escape(base)}'/>${below}</backingStore>`,
      '<backingStore/>',
    );
    return [
      `<disk device='${one.device}'>`,
      one.format === undefined ? '' : `<driver type='${one.format}'/>`,
      `<source file="${escape(one.path)}"${one.optional ? " startupPolicy='optional'" : ''}/>`,
      one.flag === '' ? '' : `<${one.flag}/>`,
      stores ?? '',
      one.target === undefined ? '' : `<target dev='${escape(one.target)}'/>`,
      '</disk>',
    ].join('\n');
  }

  function expected(one: Written): Partial<DiskDescription> {
    const read = one.device === 'cdrom' || one.flag === 'readonly';
    return {
      label: one.path,
      source: { type: 'file', path: one.path },
      mode: read ? 'read' : one.flag === 'shareable' ? 'shared' : 'exclusive',
      optional: one.optional,
      ...(one.target === undefined ? {} : { target: one.target }),
      ...(one.format === undefined ? {} : { format: one.format }),
    };
  }

  test('disks', () => {
    fc.assert(
      fc.property(fc.array(disk, { maxLength: 6 }), word, (written, name) => {
        const xml = `<domain>\n<name>${escape(name)}</name><devices>${written.map(write).join('')}</devices></domain>`;
        const { disks, owner } = readDomainXml(xml);
        assert.equal(owner.name, name);
        const found = disks.map(({ role: _role, place: _place, backing: _backing, ...rest }) => rest);
        assert.deepEqual(found, written.map(expected));
        assert.deepEqual(
          disks.map(({ backing }) => backing?.map(({ label }) => label)),
          written.map(({ backing }) => backing),
        );
      }),
    );
  });

  test('arguments', () => {
    fc.assert(
      fc.property(
        path,
        fc.constantFrom('exclusive', 'shared', 'read', 'peek'),
        fc.option(fc.constantFrom('raw', 'qcow2')),
        (file, mode, format) => {
          const parsed = parseDiskArgument(`${file}:${mode}${format === null ? '' : `:format=${format}`}`);
          assert.deepEqual([parsed.label, parsed.mode, parsed.format ?? null], [file, mode, format]);
        },
      ),
    );
  });
});

test('places are right at the end of a very long line, too', () => {
  const [head, disk] = ['<domain><name>g</name><devices>', "<disk><source file='/a'/></disk>"];
  const { disks } = readDomainXml(`${head}${disk.repeat(20_000)}</devices></domain>`);
  assert.equal(disks.length, 20_000);
  assert.equal(disks.at(-1)?.place?.column, head.length + 19_999 * disk.length + 1);
});
