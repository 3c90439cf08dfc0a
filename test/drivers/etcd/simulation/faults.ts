/** What befalls the hosts, the network and etcd in a schedule. Everything heals, and at the end all is well. */
import type { Ailment } from './model-etcd.js';
import type { Link, Schedule } from './run-schedule.js';

type Fault = (schedule: Schedule) => {
  readonly begin: () => void;
  readonly heal: () => void;
  readonly msMax: number;
};

function onLinks(
  links: readonly (Link | undefined)[],
  change: (link: Link) => void,
  msMax: number,
): ReturnType<Fault> {
  const all = (does: (link: Link) => void) => (): void => {
    for (const link of links) if (link !== undefined) does(link);
  };
  return {
    begin: all(change),
    heal: all((link) => Object.assign(link, { canSend: true, canReceive: true, extraMs: 0, extraBackMs: 0 })),
    msMax,
  };
}

function cut({ chance }: Schedule): (link: Link) => void {
  const way = chance.below(3);
  return (link) => {
    if (way !== 0) link.canSend = false;
    if (way !== 1) link.canReceive = false;
  };
}

function ailing(ailment: Ailment, msMax: number): Fault {
  return ({ etcd, chance }) => {
    // Mostly the leader: that is where it hurts.
    const member = chance.is(0.6) && etcd.leader !== undefined ? etcd.leader : chance.below(3);
    return { begin: () => etcd.ail(member, ailment), heal: () => etcd.ail(member, undefined), msMax };
  };
}

const oneLink: Fault = (schedule) => {
  const link = schedule.chance.oneOf(schedule.chance.oneOf(schedule.links));
  return onLinks([link], cut(schedule), 20_000);
};

const allLinksOfAHost: Fault = (schedule) =>
  onLinks(schedule.chance.oneOf(schedule.links), cut(schedule), 20_000);

/** Only one member is left to a host: the one that is stuck, if so it happens. */
const allLinksButOne: Fault = (schedule) => {
  const links = schedule.chance.oneOf(schedule.links);
  const left = schedule.chance.is(0.5) ? schedule.etcd.leader : schedule.chance.below(3);
  return onLinks(
    links.filter((_, member) => member !== left),
    cut(schedule),
    30_000,
  );
};

const slowLinks: Fault = (schedule) => {
  const extraMs = schedule.chance.between(500, 9_000);
  const links = schedule.chance.oneOf(schedule.links);
  return onLinks(links, (link) => Object.assign(link, { extraMs, extraBackMs: extraMs }), 20_000);
};

/** The ways of a host that has something to lose, if there is one. */
function linksInUse({ chance, hosts, links }: Schedule): readonly Link[] {
  const busy = links.filter((_, index) => (hosts[index]?.holds.size ?? 0) > 0);
  return chance.oneOf(busy.length > 0 ? busy : links);
}

/** A host is left with the leader, which gets stuck and recovers; and then the host reaches nobody. */
const stuckThenSilent: Fault = (schedule) => {
  const { agenda, chance, etcd } = schedule;
  const links = linksInUse(schedule);
  const leader = etcd.leader ?? 0;
  const others = links.filter((_, member) => member !== leader);
  const all = onLinks(links, cut(schedule), 30_000);
  return {
    begin: () => {
      onLinks(others, cut(schedule), 0).begin();
      etcd.ail(leader, chance.is(0.7) ? 'stuck' : 'stopped');
      agenda.after(chance.between(2_000, 9_000), () => {
        etcd.ail(leader, undefined);
        agenda.after(chance.between(0, 1_500), () => {
          all.begin();
          schedule.reconsiderHealth(false);
        });
      });
    },
    heal: all.heal,
    msMax: 40_000,
  };
};

/** Answers take long, and then no request gets through any more: the last answers come long after. */
const slowThenSilent: Fault = (schedule) => {
  const { agenda, chance } = schedule;
  const links = linksInUse(schedule);
  const extraBackMs = chance.between(500, 6_000);
  const all = onLinks(links, (link) => (link.canSend = false), 30_000);
  return {
    begin: () => {
      onLinks(links, (link) => (link.extraBackMs = extraBackMs), 0).begin();
      agenda.after(chance.between(2_000, 12_000), () => {
        all.begin();
        schedule.reconsiderHealth(false);
      });
    },
    heal: all.heal,
    msMax: 40_000,
  };
};

const stoppedProcess: Fault = ({ chance, hosts }) => {
  const host = chance.oneOf(hosts);
  return { begin: () => host.stop(true), heal: () => host.stop(false), msMax: 20_000 };
};

const suspendedHost: Fault = ({ chance, hosts }) => {
  const host = chance.oneOf(hosts);
  return { begin: () => host.suspend(true), heal: () => host.suspend(false), msMax: 30_000 };
};

const newLeader: Fault = ({ etcd }) => ({
  begin: () => etcd.changeLeader(),
  heal: () => undefined,
  msMax: 1,
});

const deletedMark: Fault = (schedule) => ({
  begin: () => schedule.deleteMark(),
  heal: () => undefined,
  msMax: 1,
});

const faults: readonly Fault[] = [
  oneLink,
  allLinksOfAHost,
  allLinksButOne,
  allLinksButOne,
  slowLinks,
  slowThenSilent,
  slowThenSilent,
  stuckThenSilent,
  stuckThenSilent,
  stoppedProcess,
  stoppedProcess,
  suspendedHost,
  newLeader,
  deletedMark,
  ailing('killed', 8_000),
  ailing('stopped', 15_000),
  ailing('stuck', 25_000),
  ailing('stuck', 25_000),
  ailing('cut off', 10_000),
];

/** Begins one after the other, some at the same time; the last is healed at `endMs`. */
export function planFaults(schedule: Schedule, endMs: number): void {
  const { agenda, chance } = schedule;
  const paceMs = chance.oneOf([1_500, 4_000, 10_000]);
  for (let atMs = chance.between(0, paceMs); atMs < endMs; atMs += chance.between(0, 2 * paceMs)) {
    agenda.at(atMs, () => {
      const { begin, heal, msMax } = chance.oneOf(faults)(schedule);
      const change = (what: () => void) => (): void => {
        what();
        schedule.reconsiderHealth(false);
      };
      change(begin)();
      agenda.at(Math.min(atMs + chance.between(50, msMax), endMs), change(heal));
    });
  }
}
