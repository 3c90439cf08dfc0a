/**
 * A small tree of an XML document: the elements that are in no namespace, as all of libvirt's own are.
 *
 * Namespaces are not tracked: an element is in none exactly if its name has no prefix and no default
 * namespace is in force ("Namespaces in XML 1.0", section 6.2). Everything else (`<qemu:commandline>`, a
 * management program's `<metadata>`) is checked for well-formedness and left out with all that is in it.
 */
import { SaxesParser } from 'saxes';
import type { HoldfastError } from '../errors.js';
import type { Place } from '../vocabulary.js';
import { inputError } from './input-error.js';
import { placeFinder } from './place-finder.js';
import { syntaxError } from './xml-syntax-error.js';

/** A domain of 1,000 disks takes half a MiB; libvirt's own RPC carries strings of at most 16 MiB. */
export const xmlBytesMax = 16 * 1024 * 1024;

/**
 * A chain of backing stores nests two deep for each image; domains seldom pass 10. Every reader below may
 * recurse, and anything that looks up through the open elements stays linear.
 */
export const xmlDepthMax = 64;

/**
 * Elements and attributes together: 16 MiB of `<a/>` would become more than a GiB of objects. A domain of
 * 1,000 disks has about 20,000.
 */
export const xmlNodesMax = 500_000;

export interface XmlElement {
  readonly name: string;
  /** Without a prototype: a name from the document finds nothing but an attribute. */
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly children: readonly XmlElement[];
  /** The text directly in it, not that of its children; untrimmed. */
  readonly text: string;
  /** Of its `<`. */
  readonly place: Place;
}

/** The version is forced: libvirt's parser knows only 1.0; under 1.1 other characters would end lines. */
const parserOptions = {
  xmlns: false,
  position: false,
  forceXMLVersion: true,
  defaultXMLVersion: '1.0',
} as const;

interface OpenElement extends XmlElement {
  readonly children: XmlElement[];
  text: string;
}

/** The first child of that name. */
export function child(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((one) => one.name === name);
}

/** All children of that name, in order. */
export function children(element: XmlElement, name: string): XmlElement[] {
  return element.children.filter((one) => one.name === name);
}

/**
 * Parses a document.
 * @param file what messages call the document
 * @throws HoldfastError XML_SYNTAX, XML_FORBIDDEN (a document type, an entity of its own), XML_LIMIT
 */
export function parseXml(xml: string, file: string): XmlElement {
  const text = xml.charCodeAt(0) === 0xfeff ? xml.slice(1) : xml;
  const placeOf = placeFinder(text, file);
  checkText(text, placeOf);

  const parser = new SaxesParser(parserOptions);
  const open: OpenElement[] = [];
  let root: OpenElement | undefined;
  let start: Place = placeOf(0);
  /** Behind the last markup that was read to its end. */
  let eventEnd = 0;
  let depth = 0;
  let nodes = 0;
  /** How many of the open elements are inside something foreign, itself included. */
  let foreign = 0;
  /** The last element whose end was seen, or was missing where another one ended. */
  let closed: XmlElement | undefined;

  const limit = (what: string): HoldfastError => inputError('XML_LIMIT', start, what);
  const addText = (part: string): void => {
    const top = open.at(-1);
    if (foreign === 0 && top !== undefined) top.text += part;
  };
  const count = (): void => {
    nodes += 1;
    if (nodes > xmlNodesMax) throw limit(`the XML has more than ${xmlNodesMax} elements and attributes`);
  };
  const rememberEnd = (): void => {
    eventEnd = parser.position;
  };

  parser.on('error', (error) => {
    throw syntaxError(error.message, {
      text,
      placeOf,
      position: parser.position,
      eventEnd,
      open: open.at(-1),
      closed,
    });
  });
  parser.on('doctype', () => {
    throw inputError(
      'XML_FORBIDDEN',
      placeOf(text.indexOf('<!DOCTYPE', eventEnd)),
      'the XML has a document type (<!DOCTYPE>), which is never read',
    );
  });
  parser.on('xmldecl', ({ encoding }) => checkEncoding(encoding, text, placeOf));
  parser.on('comment', rememberEnd);
  parser.on('processinginstruction', rememberEnd);
  parser.on('attribute', count);
  parser.on('opentagstart', () => {
    start = placeOf(text.lastIndexOf('<', parser.position - 2));
    depth += 1;
    if (depth > xmlDepthMax) throw limit(`the XML is deeper than ${xmlDepthMax} elements`);
    count();
  });
  parser.on('opentag', ({ name, attributes }) => {
    rememberEnd();
    const element: OpenElement = { name, attributes, children: [], text: '', place: start };
    const isForeign = foreign > 0 || name.includes(':') || (attributes['xmlns'] ?? '') !== '';
    root ??= element;
    if (isForeign) {
      foreign += 1;
      return;
    }
    open.at(-1)?.children.push(element);
    open.push(element);
  });
  parser.on('text', addText);
  parser.on('cdata', (part) => {
    rememberEnd();
    addText(part);
  });
  parser.on('closetag', () => {
    rememberEnd();
    depth -= 1;
    closed = foreign > 0 ? undefined : open.pop();
    if (foreign > 0) foreign -= 1;
  });

  parser.write(text).close();
  // The parser complains of a document without a root, so this is a bug if it is ever seen.
  if (root === undefined) throw inputError('XML_SYNTAX', placeOf(0), 'not XML: there is no element');
  return root;
}

/** What has to hold before a parser may see the text at all. */
function checkText(text: string, placeOf: (offset: number) => Place): void {
  if (text.length > xmlBytesMax || Buffer.byteLength(text) > xmlBytesMax) {
    throw inputError('XML_LIMIT', placeOf(0), `the XML is larger than ${xmlBytesMax / 1024 / 1024} MiB`);
  }
  if (text.trim() === '') throw inputError('XML_SYNTAX', placeOf(0), 'not XML: the input is empty');
  // Half a surrogate pair is no character, and the parser takes what follows it for the other half.
  const half = text.search(/\p{Surrogate}/u);
  if (half !== -1) throw inputError('XML_SYNTAX', placeOf(half), 'not XML: half of a surrogate pair');
}

/** The text was decoded as UTF-8; under another encoding the same bytes would be other paths. */
function checkEncoding(encoding: string | undefined, text: string, placeOf: (offset: number) => Place): void {
  if (encoding === undefined || /^utf-?8$/i.test(encoding)) return;
  if (Buffer.byteLength(text) === text.length) return;
  throw inputError('XML_SYNTAX', placeOf(0), `the XML says that it is ${encoding}; only UTF-8 is read`, {
    remedy: 'Convert it to UTF-8 (iconv) and say so in its first line.',
  });
}
