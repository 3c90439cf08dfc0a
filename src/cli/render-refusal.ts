/** A refusal for people: what, who is in the way, through what, and what to do next. */
import { causeText, isHoldfastError, type HoldfastError } from '../errors.js';
import type { Holder } from '../vocabulary.js';
import { renderSince } from './render-time.js';
import { noStyle, type Style } from './style.js';

export interface RefusalOptions {
  readonly style?: Style;
  readonly now?: Date;
  /** Said after a holder's own remedy (`or wait for it: holdfast run --wait=5m ...`). */
  readonly orElse?: string;
}

const asked: Readonly<Record<string, string>> = {
  exclusive: 'you asked for it exclusively',
  shared: 'you asked for it shared',
  read: 'you asked for it for reading',
  part: 'you asked for a part of it',
};

/** Ends with a newline. */
export function renderRefusal(error: HoldfastError, options: RefusalOptions = {}): string {
  const { style = noStyle, now = new Date(), orElse } = options;
  const line = (head: string, text: string): string => `  ${style.dim(head.padEnd(10))}${text}\n`;
  let text = `${style.bold('holdfast:')} ${headline(error)}\n`;
  for (const holder of error.holders) {
    text += line('held by', renderHolder(holder, now));
    if (holder.through.length > 0) text += line('through', enumeration(holder.through));
  }
  // A refusal that is the cause (of a TIMEOUT) is in the message already.
  if (error.cause !== undefined && !isHoldfastError(error.cause, 'IN_USE'))
    text += line('because', oneLine(causeText(error.cause)));
  return text + line('try', advice(error, orElse));
}

function headline(error: HoldfastError): string {
  if (error.code === 'IN_USE' && error.resource !== undefined && error.holders.length > 0) {
    const mode = error.mode === undefined ? undefined : asked[error.mode];
    return `${error.resource} is in use${mode === undefined ? '' : ` (${mode})`}`;
  }
  const { place, message } = error;
  if (place === undefined || message.includes(`${place.file}:${place.line}`)) return message;
  return `${place.file}:${place.line}:${place.column}: ${message}`;
}

/** `guest "web1" (qemu-system-x86_64, pid 5783) on this host since 13:18:51`, with what is known of it. */
export function renderHolder(holder: Holder, now: Date = new Date()): string {
  const { guest, program, pid, user, host, since } = holder;
  const process = [
    pid === undefined ? undefined : `pid ${pid}`,
    user === undefined ? undefined : `user ${user}`,
  ];
  const inner = (guest === undefined ? process : [program, process[0]]).filter((one) => one !== undefined);
  const name = guest === undefined ? (program ?? 'a process') : `guest "${guest}"`;
  const who = name + (inner.length === 0 ? '' : ` (${inner.join(', ')})`);
  // Nothing but the way is known of a mount or of another host: then the way is the name.
  const known = guest ?? program ?? pid;
  const subject = known === undefined ? 'someone who cannot be seen from here' : who;
  const where = host === undefined ? '' : ` on ${host}`;
  return `${subject}${where}${since === undefined ? '' : ` since ${renderSince(since, now)}`}`;
}

function advice(error: HoldfastError, orElse: string | undefined): string {
  const remedies = new Set(error.holders.map(({ remedy }) => remedy).filter((one) => one !== undefined));
  if (remedies.size === 0) return error.remedy;
  const first = [...remedies].join('; ');
  return orElse === undefined ? first : `${first}, ${orElse}`;
}

/** `a`, `a, and b`, `a, b, and c`. */
function enumeration(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')}, and ${words.at(-1)}`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
