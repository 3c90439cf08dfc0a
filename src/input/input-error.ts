/** How every complaint about an input is worded: `guest.xml:12:5: what is wrong`. */
import { HoldfastError, type ErrorDetails } from '../errors.js';
import type { ErrorCode, Place } from '../vocabulary.js';

/** A path can be 4,096 bytes long, what a hostile document says in its place 16 MiB. */
const messageCharactersMax = 8_192;

/** An error that points at a place in an input; the place is in the message and in `place`. */
export function inputError(
  code: ErrorCode,
  place: Place,
  message: string,
  details: Omit<ErrorDetails, 'place'> = {},
): HoldfastError {
  const text =
    message.length > messageCharactersMax ? `${message.slice(0, messageCharactersMax)}...` : message;
  return new HoldfastError(code, `${place.file}:${place.line}:${place.column}: ${text}`, {
    ...details,
    place,
  });
}
