/** A refusal for people: what, who is in the way, through what, and what to do next. */
import { causeText, isHoldfastError, type HoldfastError } from '../errors.js';
import { printable } from '../printable.js';
import type { Holder } from '../vocabulary.js';
import { renderSince } from './render-time.js';
import { noStyle, type Style } from './style.js';

export interface RefusalOptions {
  readonly style?: Style;
  readonly now?: Date;
  /** How to wait instead, said after a holder's own remedy (`holdfast run --wait=5m ...`). */
  readonly waitCommand?: string;
}

/** Ends with a newline. */
export function renderRefusal(error: HoldfastError, options: RefusalOptions = {}): string {
  const { style = noStyle, now = new Date(), waitCommand } = options;
  const line = (head: string, text: string): string => `  ${style.dim(head.padEnd(10))}${printable(text)}\n`;
  let text = `${style.bold('holdfast:')} ${printable(headline(error))}\n`;
  for (const holder of error.holders) {
    text += line('held by', renderHolder(holder, now));
    if (holder.through.length > 0) text += line('through', enumeration(holder.through));
  }
  const reason = reasonBelow(error);
  if (reason !== undefined) text += line('because', reason);
  return text + line('try', advice(error, waitCommand));
}

function headline(error: HoldfastError): string {
  const { place, message } = error;
  if (place === undefined || message.includes(`${place.file}:${place.line}`)) return message;
  return `${place.file}:${place.line}:${place.column}: ${message}`;
}

/** `guest "web1" (qemu-system-x86_64, pid 5783) on this host since 13:18:51`, with what is known of it. */
export function renderHolder(holder: Holder, now: Date = new Date()): string {
  const { guest, name, program, pid, user, host, container, since } = holder;
  const process = [
    pid === undefined ? undefined : `pid ${pid}`,
    user === undefined ? undefined : `user ${user}`,
  ];
  const details =
    guest !== undefined ? [program, process[0]] : name === undefined ? process : [program, ...process];
  const inner = details.filter((one) => one !== undefined);
  const called = guest === undefined ? (name ?? program ?? 'a process') : `guest "${guest}"`;
  const who = called + (inner.length === 0 ? '' : ` (${inner.join(', ')})`);
  // Nothing but the way is known of a mount or of another host: then the way is the name.
  const known = guest ?? name ?? program ?? pid;
  const subject = known === undefined ? 'someone who cannot be seen from here' : who;
  const where =
    (host === undefined ? '' : ` on ${host}`) + (container === undefined ? '' : ` in ${container}`);
  return `${subject}${where}${since === undefined ? '' : ` since ${renderSince(since, now)}`}`;
}

/** The cause, if it says what the message does not; under a refusal is the driver's own, which says less. */
function reasonBelow({ cause, message }: HoldfastError): string | undefined {
  if (cause === undefined || isHoldfastError(cause, 'IN_USE')) return undefined;
  const text = oneLine(causeText(cause));
  if (oneLine(message).includes(text)) return undefined;
  // A system error says its code first, and then nothing more than where it came from.
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  return code !== undefined && text.startsWith(`${code}:`) && message.includes(code) ? undefined : text;
}

const waiting = ', or wait for it';

function advice(error: HoldfastError, waitCommand: string | undefined): string {
  const remedies = new Set(error.holders.map(({ remedy }) => remedy).filter((one) => one !== undefined));
  const text = remedies.size === 0 ? error.remedy : [...remedies].join('; ');
  if (remedies.size === 0 || waitCommand === undefined) return text;
  return `${text.endsWith(waiting) ? text : text + waiting}: ${waitCommand}`;
}

/** `a`, `a, and b`, `a, b, and c`. */
export function enumeration(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')}, and ${words.at(-1)}`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
