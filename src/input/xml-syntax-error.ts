/** Words the parser's complaints for people, and points at where the mistake is rather than where it was noticed. */
import type { HoldfastError } from '../errors.js';
import type { Place } from '../vocabulary.js';
import { inputError } from './input-error.js';

/** Where the parser was when it complained. */
export interface ParserState {
  readonly text: string;
  readonly placeOf: (offset: number) => Place;
  /** Behind the last character that was read. */
  readonly position: number;
  /** Behind the last markup that was read to its end. */
  readonly eventEnd: number;
  /** The innermost element that is open. */
  readonly open: NamedElement | undefined;
  /** The element that was closed last. */
  readonly closed: NamedElement | undefined;
}

interface NamedElement {
  readonly name: string;
  readonly place: Place;
}

export function syntaxError(message: string, state: ParserState): HoldfastError {
  const { text, placeOf, position, eventEnd, open, closed } = state;
  const syntax = (offset: number, what: string): HoldfastError =>
    inputError('XML_SYNTAX', placeOf(offset), `not well-formed XML: ${what}`);
  const ampersandAfter = (semicolon: number): number => text.indexOf('&', Math.max(eventEnd, semicolon + 1));

  if (message.includes('entity')) {
    // It is noticed at the semicolon, which for a bare ampersand may be many lines further down.
    const start = ampersandAfter(text.lastIndexOf(';', position - 2));
    if (message.startsWith('undefined entity')) {
      return inputError(
        'XML_FORBIDDEN',
        placeOf(start),
        "an entity that is none of XML's own five is never read",
        { remedy: 'Write the character itself, or its number (&#38;).' },
      );
    }
    return syntax(start, message.startsWith('malformed') ? 'no such character' : 'a bare & (write &amp;)');
  }
  if (/^unclosed tag|^unexpected end/.test(message)) {
    // An ampersand without a semicolon takes the rest of the document for the name of an entity.
    const start = ampersandAfter(text.lastIndexOf(';'));
    if (start !== -1) return syntax(start, 'a bare & (write &amp;)');
    const unclosed =
      open === undefined ? '' : `: the <${open.name}> of line ${open.place.line} is not closed`;
    return syntax(text.length, `it ends too early${unclosed}`);
  }
  if (message.startsWith('unexpected close tag') && closed !== undefined) {
    const { name, place } = closed;
    return syntax(position - 1, `another element ends before the <${name}> of line ${place.line}`);
  }
  // The parser counts the end of the text as one more character.
  return syntax(Math.min(position, text.length) - 1, message.replace(/\.$/, ''));
}
