import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  child,
  children,
  parseXml,
  xmlBytesMax,
  xmlDepthMax,
  xmlNodesMax,
} from '../../src/input/xml-tree.js';
import { thrown } from './domain-xml.js';

const parse = (xml: string) => parseXml(xml, 'g.xml');

describe('the tree', () => {
  test('has elements, attributes, text and places', () => {
    const root = parse(
      `<?xml version="1.0" encoding="UTF-8"?>\r\n<!-- c -->\n<a\n x='1 &amp; &#x32;'\n><b/>t<!-- -->u<![CDATA[<v>]]>\n  <c\r\n/></a>`,
    );
    assert.equal(root.name, 'a');
    assert.equal(root.attributes['x'], '1 & 2');
    assert.equal(root.attributes['constructor'], undefined);
    assert.equal(root.text, 'tu<v>\n  ');
    assert.deepEqual(root.place, { file: 'g.xml', line: 3, column: 1 });
    assert.deepEqual(child(root, 'b')?.place, { file: 'g.xml', line: 5, column: 2 });
    assert.deepEqual(child(root, 'c')?.place, { file: 'g.xml', line: 6, column: 3 });
  });

  test('counts columns in characters, and a byte order mark as none', () => {
    const root = parse('\ufeff<a>ä😀😀<b/></a>');
    assert.deepEqual(child(root, 'b')?.place, { file: 'g.xml', line: 1, column: 7 });
  });

  test('takes a lone carriage return for the end of a line', () => {
    assert.deepEqual(child(parse('<a>\r\r\n<b/></a>'), 'b')?.place, { file: 'g.xml', line: 3, column: 1 });
  });

  test('leaves out what is in a namespace, with all that is in it', () => {
    const root = parse(
      `<a xmlns:q='u'><q:b><b/></q:b><b xmlns='v'><b xmlns=''/>t</b><b y='1'>u<r:c>v</r:c></b></a>`,
    );
    assert.equal(children(root, 'b').length, 1);
    assert.equal(child(root, 'b')?.attributes['y'], '1');
    assert.equal(child(root, 'b')?.text, 'u');
    assert.equal(root.children.length, 1);
  });
});

describe('not well-formed', () => {
  const cases: readonly (readonly [what: string, xml: string, at: string, says: RegExp])[] = [
    ['nothing', '', '1:1', /empty/],
    ['white space', ' \n\t', '1:1', /empty/],
    ['text', 'guest', '1:5', /outside of root/],
    [
      'an element that is not closed',
      '<a>\n<b>\n</a>',
      '3:4',
      /another element ends before the <b> of line 2/,
    ],
    ['an end before its time', '<a>\n  <b>', '2:6', /ends too early: the <b> of line 2 is not closed/],
    ['two roots', '<a/><b/>', '1:7', /only one root/],
    ['an attribute twice', "<a x='1' x='2'/>", '1:16', /duplicate attribute/],
    ['an attribute without quotes', '<a x=1/>', '1:6', /unquoted/],
    ['a tag that is not finished', '<a><b', '1:6', /ends too early: the <a> of line 1/],
    ['a comment that is not finished', '<a><!-- </a>', '1:13', /ends too early/],
    ['a bare ampersand', '<a>a & b</a>', '1:6', /bare &/],
    ['one far before a semicolon', "<a>&amp;<!-- & --><b x='1&2'/>\n;</a>", '1:26', /bare &/],
    ['an end after an ampersand that is none', '<a>&lt;<!-- & -->', '1:18', /the <a> of line 1/],
    ['an empty entity', '<a>&;</a>', '1:4', /bare &/],
    ['a zero', '<a>&#0;</a>', '1:4', /no such character/],
    ['half a surrogate pair', '<a>\n\ud800<b></b></a>', '2:1', /surrogate/],
    ['another encoding', "<?xml version='1.0' encoding='ISO-8859-1'?><a>ä</a>", '1:1', /ISO-8859-1/],
  ];
  for (const [what, xml, at, says] of cases) {
    test(what, () => assert.match(thrown('XML_SYNTAX', () => parse(xml), at).message, says));
  }

  test('another encoding is no matter while all is ASCII', () => {
    assert.equal(parse("<?xml version='1.0' encoding='ISO-8859-1'?><a/>").name, 'a');
  });
});

describe('forbidden', () => {
  const doctypes: readonly (readonly [what: string, xml: string, at: string])[] = [
    ['a document type', '<!DOCTYPE a><a/>', '1:1'],
    ['one with entities', `<?xml version='1.0'?>\n<!DOCTYPE a [<!ENTITY e "x">]>\n<a>&e;</a>`, '2:1'],
    ['one outside', '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', '1:1'],
    ['one behind a comment that talks of another', '<!-- <!DOCTYPE b> -->\n <!DOCTYPE a><a/>', '2:2'],
  ];
  for (const [what, xml, at] of doctypes) {
    test(what, () => assert.match(thrown('XML_FORBIDDEN', () => parse(xml), at).message, /DOCTYPE/));
  }

  for (const entity of ['nbsp', 'constructor', '__proto__', 'toString']) {
    test(`the entity ${entity}`, () => {
      thrown('XML_FORBIDDEN', () => parse(`<a>\n&${entity};</a>`), '2:1');
      thrown('XML_FORBIDDEN', () => parse(`<a x='&${entity};'/>`));
    });
  }
});

describe('limits, at their edges', () => {
  const nested = (depth: number): string => '<a>'.repeat(depth) + '</a>'.repeat(depth);

  test('depth', () => {
    assert.equal(parse(nested(xmlDepthMax)).name, 'a');
    thrown('XML_LIMIT', () => parse(nested(xmlDepthMax + 1)), `1:${xmlDepthMax * 3 + 1}`);
    const foreign = `<a>${nested(xmlDepthMax).replaceAll('a>', 'q:a>')}</a>`;
    assert.match(thrown('XML_LIMIT', () => parse(foreign)).message, /64/);
  });

  test('size, in bytes', () => {
    const sized = (bytes: number): string => `<a>${'x'.repeat(bytes - 7)}</a>`;
    assert.equal(parse(sized(xmlBytesMax)).text.length, xmlBytesMax - 7);
    assert.match(thrown('XML_LIMIT', () => parse(sized(xmlBytesMax + 1)), '1:1').message, /16 MiB/);
    // Fewer characters than the limit, more bytes.
    thrown('XML_LIMIT', () => parse(`<a>${'ä'.repeat(xmlBytesMax / 2)}</a>`), '1:1');
  });

  test('elements and attributes', () => {
    const many = (nodes: number): string => `<a>${"<b x=''/>".repeat((nodes - 2) / 2)}<c/></a>`;
    assert.equal(parse(many(xmlNodesMax)).children.length, xmlNodesMax / 2);
    thrown('XML_LIMIT', () => parse(many(xmlNodesMax).replace('<c/>', '<c/><c/>')));
    const attributes = Array.from({ length: xmlNodesMax }, (_, i) => `a${i}=''`).join(' ');
    thrown('XML_LIMIT', () => parse(`<a ${attributes}/>`), '1:1');
  });
});
