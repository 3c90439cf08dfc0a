/** Who holds or uses a resource, for people: in the style of a refusal. */
import type { ResourceUse } from '../index.js';
import { printable } from '../printable.js';
import type { Holder } from '../vocabulary.js';
import { enumeration, renderHolder } from './render-refusal.js';
import type { Style } from './style.js';

export interface UseOptions {
  readonly style: Style;
  readonly now?: Date;
  /** Also the identity, the raw locks and whatever else the answer stands on. */
  readonly verbose?: boolean;
}

/** A block for one resource; ends with a newline. */
export function renderUse(
  use: ResourceUse,
  { style, now = new Date(), verbose = false }: UseOptions,
): string {
  const line = (head: string, text: string): string => `  ${style.dim(head.padEnd(10))}${printable(text)}\n`;
  if (use.error !== undefined) {
    const { message, remedy } = use.error;
    return `${style.bold(printable(nameOf(use)))}: ${style.red('error')}: ${printable(message)}\n${line('try', remedy)}`;
  }
  let text = `${style.bold(printable(nameOf(use)))}: ${stateOf(use, style)}\n`;
  if (verbose) text += line('identity', use.resource.identity);
  for (const holder of use.holders) {
    const { through, does = [], refuses, remedy, evidence } = holder;
    text += line(refuses?.length === 0 ? 'used by' : 'held by', renderHolder(holder, now));
    if (through.length > 0) text += line('through', enumeration(through));
    if (does.length > 0) text += line('does', enumeration(does));
    if (refuses !== undefined) text += line('refuses', refusedModes(refuses));
    if (remedy !== undefined) text += line('try', remedy);
    if (verbose) for (const one of evidence) text += line('evidence', one);
  }
  if (use.unseen !== undefined) text += line('not seen', use.unseen);
  for (const note of use.notes) text += line('note', note);
  return text;
}

/** How a resource is called in the output. */
export function nameOf({ resource: { kind, label }, role }: ResourceUse): string {
  if (kind === 'domain') return `guest "${label}"`;
  if (kind === 'lease') return `lease ${label}`;
  if (role === 'ancestor') return `${label} (what it stands on)`;
  return role === 'disk' ? label : `${label} (${role})`;
}

function stateOf({ state }: ResourceUse, { red, green, yellow }: Style): string {
  if (state === 'in use') return red('in use');
  if (state === 'free') return green('free');
  return yellow('nobody was found, but not everything could be seen');
}

/** `part` is asked for by the plan alone; whoever refuses that refuses all else too. */
function refusedModes(refuses: NonNullable<Holder['refuses']>): string {
  if (refuses.length === 0) return 'nothing: it is only shown';
  return refuses.filter((mode) => mode !== 'part' || refuses.length === 1).join(', ');
}
