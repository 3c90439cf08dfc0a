/** What the server of libvirt's lock protocol tells the daemon of. */
export interface LockdEvent {
  readonly what:
    | 'acquired'
    | 'released'
    | 'refused'
    | 'owner ended'
    | 'owner signalled'
    | 'connection refused'
    | 'connection closed for what it sent'
    /** Descriptors or memory are used up; new connections wait. */
    | 'no connections accepted'
    /** Killed by somebody. What it kept is in the hands of another one. */
    | 'keeper ended'
    /** Only the keeper outlives the daemon from now on. */
    | 'journal failed';
  readonly facts: Readonly<Record<string, unknown>>;
}
