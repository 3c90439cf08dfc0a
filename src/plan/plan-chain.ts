/** What is below a disk, from the XML and from the images' own headers. */
import { HoldfastError, isHoldfastError } from '../errors.js';
import type { DiskDescription, Mode, PlanItem } from '../vocabulary.js';
import type { BackingName } from './backing-name.js';
import { isMissing, lookAtPath, printable, type Seen } from './look-at-path.js';
import {
  ancestorItems,
  planSource,
  resourceAt,
  unlockableItem,
  whatIs,
  type PlannedSource,
} from './plan-source.js';
import type { Planner } from './planner.js';

/** The longest chain that is followed; libvirt's own limit is the same. */
export const chainLayersMax = 200;

const dataRemedy =
  'Keep the data in a file that can be named by its path, or accept the danger with --allow-unlocked.';

const nowhereFromHere = 'relative to where QEMU is started, and from here it leads to nothing';

function fromHereNote(owner: string, label: string): string {
  return `${owner} names ${label} relative to where QEMU is started: started elsewhere, it opens another file`;
}

interface Layer {
  readonly seen: Seen;
  readonly identity: string;
  readonly format: string | undefined;
  /** What a file with data of this very image is locked as. */
  readonly mode: Mode;
}

/**
 * Plans the chain of one disk. Bases are locked for reading, so that nobody writes under an overlay. Where the XML
 * names a chain it is planned, and what the headers name beside it as well: QEMU believes the one or the other.
 */
class Chain {
  readonly items: PlanItem[] = [];
  private readonly disk: DiskDescription;
  private readonly planner: Planner;
  private readonly planned = new Set<string>();
  private readonly followed = new Set<string>();
  private readonly formats = new Map<string, string>();
  /** Images of which the XML says what is below them. */
  private readonly told = new Set<string>();

  constructor(disk: DiskDescription, planner: Planner) {
    this.disk = disk;
    this.planner = planner;
  }

  async plan(top: PlannedSource, mode: Mode): Promise<void> {
    const { backing, dataStore } = this.disk;
    if (dataStore !== undefined) this.dataStore(dataStore, mode);
    const layers = [this.layer(top, this.disk.format, mode, backing !== undefined)];
    for (const base of backing ?? []) {
      const place = base.place ?? this.disk.place;
      const placed = place === undefined ? base : { ...base, place };
      const source = planSource(placed, { role: 'base', mode: 'read', of: this.disk.label }, this.planner);
      this.add(source.item);
      // An XML without an empty <backingStore/> at its end leaves open what is below the last image.
      const told = base !== backing?.at(-1) || base.backing !== undefined;
      layers.push(this.layer(source, base.format, 'read', told));
    }
    for (const layer of layers) if (layer !== undefined) await this.follow(layer);
  }

  private dataStore(store: DiskDescription, mode: Mode): void {
    if (mode === 'part') return;
    const { role, label } = this.disk;
    const { item } = planSource(store, { role, mode, of: label }, this.planner);
    this.add(item.verdict === 'lock' ? { ...item, reason: `it holds the data of ${label}` } : item);
    if (item.resource !== undefined) this.planned.add(item.resource.identity);
  }

  private layer(
    { item, seen }: PlannedSource,
    format: string | undefined,
    mode: Mode,
    told: boolean,
  ): Layer | undefined {
    if (item.resource === undefined || seen === undefined) return undefined;
    const { identity } = item.resource;
    this.planned.add(identity);
    if (format !== undefined) this.formats.set(identity, format);
    if (told) this.told.add(identity);
    return { seen, identity, format, mode };
  }

  private add(item: PlanItem): void {
    this.items.push(item, ...ancestorItems(item, this.planner));
  }

  /** Goes down from one image by what the headers say. */
  private async follow(start: Layer): Promise<void> {
    const trail = new Set<string>();
    for (let layer: Layer | undefined = start; layer !== undefined;) {
      if (this.followed.has(layer.identity)) return;
      this.followed.add(layer.identity);
      trail.add(layer.identity);
      if (this.followed.size > chainLayersMax) {
        throw this.badChain(`has more than ${chainLayersMax} images`);
      }
      const below = await this.planner.below(layer.seen, layer.format);
      this.planner.note(...below.notes);
      for (const names of below.dataFiles) this.dataFile(names, layer);
      if (below.unnamedData === true) this.unnamedData(layer);
      layer = below.backing === undefined ? undefined : this.base(below.backing, layer, trail);
    }
  }

  private badChain(why: string): HoldfastError {
    const { label, place } = this.disk;
    return new HoldfastError('BAD_DATA', `the chain below ${label} (${whatIs(this.disk)}) ${why}`, {
      resource: label,
      remedy: 'Look at it with `qemu-img info -U --backing-chain`, and mend it with `qemu-img rebase -u`.',
      ...(place === undefined ? {} : { place }),
    });
  }

  /** The image that a header names as its base; undefined: the chain ends here, or cannot be followed. */
  private base(name: BackingName, above: Layer, trail: ReadonlySet<string>): Layer | undefined {
    const of = this.disk.label;
    const overlay = printable(above.seen.path);
    if (name.kind === 'elsewhere') {
      const reason = `not locked, and what is below it is not known: ${name.why}`;
      if (!this.told.has(above.identity))
        this.items.push({ role: 'base', label: name.name, verdict: 'skip', reason, of });
      return undefined;
    }
    const label = printable(name.path);
    let seen: Seen;
    try {
      seen = lookAtPath(name.path, `the base of ${overlay}`, this.details(), this.planner.identityOnly);
    } catch (error) {
      if (name.fromHere === true && isMissing(error)) {
        const reason = `not locked, and what is below it is not known: its name is ${nowhereFromHere}`;
        if (!this.told.has(above.identity))
          this.items.push({ role: 'base', label, verdict: 'skip', reason, of });
        return undefined;
      }
      // The XML says what QEMU is to open, so what only a header names may be missing.
      if (!this.told.has(above.identity) || !isMissing(error)) throw error;
      this.planner.note(
        `${overlay}: its header names a base that the XML does not, and that is missing: ${label}`,
      );
      return undefined;
    }
    const resource = resourceAt(seen, label, this.planner);
    if (trail.has(resource.identity)) throw this.badChain(`is a circle: ${overlay} is based on ${label}`);
    const said = this.formats.get(resource.identity) ?? name.format;
    if (name.note !== undefined) this.planner.note(`${label}: ${name.note}`);
    if (name.fromHere === true) this.planner.note(fromHereNote(overlay, label));
    if (said === undefined) {
      this.planner.note(
        `${overlay} does not say the format of its base ${label}: nothing below that is planned`,
      );
    }
    if (!this.planned.has(resource.identity)) {
      this.planned.add(resource.identity);
      if (this.told.has(above.identity)) {
        this.planner.note(
          `${overlay}: its header names a base that the XML does not: ${label} is locked as well`,
        );
      }
      this.add({ role: 'base', label, verdict: 'lock', mode: 'read', resource, of });
    }
    return { seen, identity: resource.identity, format: said, mode: 'read' };
  }

  /** A file with data of the image itself: what the guest writes to the image lands there. */
  private dataFile(names: readonly BackingName[], image: Layer): void {
    const of = this.disk.label;
    const owner = printable(image.seen.path);
    const role = image.mode === 'read' && this.disk.mode !== 'read' ? 'base' : this.disk.role;
    let missing: unknown;
    let found = false;
    for (const name of names) {
      if (name.kind === 'elsewhere') {
        const reason = `it holds the data of ${owner}, and cannot be locked: ${name.why}`;
        this.items.push(unlockableItem({ role, label: name.name, of }, reason, dataRemedy, this.planner));
        return;
      }
      const label = printable(name.path);
      let seen: Seen;
      try {
        seen = lookAtPath(name.path, `holds the data of ${owner}`, this.details(), this.planner.identityOnly);
      } catch (error) {
        if (!isMissing(error)) throw error;
        if (name.fromHere === true) {
          const reason = `it holds the data of ${owner}, and cannot be locked: its name is ${nowhereFromHere}`;
          this.items.push(unlockableItem({ role, label, of }, reason, dataRemedy, this.planner));
          return;
        }
        missing ??= error;
        continue;
      }
      found = true;
      if (name.fromHere === true) this.planner.note(fromHereNote(owner, label));
      const resource = resourceAt(seen, label, this.planner);
      // A vmdk of one file names itself as its extent.
      if (resource.identity === image.identity || this.planned.has(resource.identity)) continue;
      this.planned.add(resource.identity);
      const reason = `it holds the data of ${owner}`;
      this.add({ role, label, verdict: 'lock', mode: image.mode, resource, reason, of });
    }
    if (!found) throw missing;
  }

  /** The header says that the data is elsewhere, and not where; the XML may have said it (`<dataStore>`). */
  private unnamedData(image: Layer): void {
    if (this.disk.dataStore !== undefined) return;
    const owner = printable(image.seen.path);
    const reason = `the data of ${owner} is in another file that it does not name`;
    const base = { role: this.disk.role, label: owner, of: this.disk.label };
    this.items.push(unlockableItem(base, reason, dataRemedy, this.planner));
  }

  private details(): { resource: string; place?: NonNullable<DiskDescription['place']> } {
    const { label, place } = this.disk;
    return { resource: label, ...(place === undefined ? {} : { place }) };
  }
}

/** The items of what is below a disk that is locked as `mode`. Throws `BAD_DATA`, `NO_SUCH_FILE` and the like. */
export async function planChain(
  disk: DiskDescription,
  top: PlannedSource,
  mode: Mode,
  planner: Planner,
): Promise<PlanItem[]> {
  const chain = new Chain(disk, planner);
  try {
    await chain.plan(top, mode);
  } catch (error) {
    if (!planner.identityOnly || !isHoldfastError(error)) throw error;
    planner.note(`${disk.label}: what is below it is not known as a whole: ${error.message}`);
  }
  return chain.items;
}
